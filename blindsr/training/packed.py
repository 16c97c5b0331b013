"""Packed photos: decoded pixels in HDF5 files, from which a patch is read without decoding the whole photo.

A store is a folder of files 00000.h5, 00001.h5, …, the shards; a shard alone is a store too. In a shard dataset "0",
"1", … is a photo: (H, W, 1) or (H, W, 3) uint8 or uint16 in chunks of 128×128 pixels, losslessly compressed by gzip,
which every HDF5 reader knows and whose checksum tells damage. Dataset "index" is a JSON list with an entry for each.

A shard appears complete or not at all and is never changed again, and the shards alone say what is packed. So packing
may be killed at any moment: it loses the shard under way and goes on behind the last whole one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from blindsr import images
from blindsr.atomic import whole_file
from blindsr.interfaces import BlindSRError
from blindsr.locking import only_writer

SUFFIXES = (".h5", ".hdf5")
FORMAT, VERSION = "blindsr photos", 1
CHUNK = 128  # pixels a side; with 256 a patch of 72 takes twice as long
SHARD_BYTES = 256 * 1024**2  # of decoded pixels, at which a shard is full: what a kill may cost, and memory
MAX_OPEN = 128  # files, of the 256 to 1024 that a process commonly may open


def library() -> Any:
    """The package, which only packed photos need. Raises BlindSRError where it is not installed."""
    try:
        import h5py
    except ImportError:
        raise BlindSRError("packed photos need h5py, which is not installed: pip install 'blindsr[pack]'") from None
    return h5py


@dataclass(frozen=True)
class Entry:
    """What the index says of a photo. ``stamp`` is a hash of path, size and time of the file that it came from,
    ``digest`` one of its content."""

    name: str
    height: int
    width: int
    stamp: str
    digest: str


def shards_of(path: Path) -> list[Path]:
    """The shards of a store, in order; none where ``path`` is neither a file with such a suffix nor has them."""
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and not p.name.startswith(".") and p.is_file())
    return [path] if path.suffix in SUFFIXES and path.is_file() else []


def read_index(shard: Path) -> list[Entry]:
    """The photos of a shard. Raises BlindSRError for one that is damaged, cut off, empty or of another kind."""
    hdf5 = library()
    try:
        with hdf5.File(shard, "r") as file:
            kind, version = file.attrs.get("format"), int(file.attrs.get("version", 0))
            if kind == FORMAT and version == VERSION:
                return [Entry(**entry) for entry in json.loads(file["index"][()].tobytes())]
    except (OSError, KeyError, TypeError, ValueError, RuntimeError):
        cure = "delete it and run 'blindsr pack' again"
        raise BlindSRError(f"{shard}: cut off, damaged or no store of photos; {cure}") from None
    if kind == FORMAT:
        raise BlindSRError(f"{shard}: a store of version {version}, this blindsr reads {VERSION}; pack the photos anew")
    raise BlindSRError(f"{shard}: HDF5, but no store of photos; make one with 'blindsr pack'")


class PackedPhotos:
    """The photos of a store. May be pickled and forked: every process opens the shards for itself, and late."""

    def __init__(self, shards: Sequence[Path]):
        self.shards = list(shards)
        self._photos = [(n, i, entry) for n, s in enumerate(shards) for i, entry in enumerate(read_index(s))]
        self._files: OrderedDict[int, Any] = OrderedDict()  # by number of the shard, the last used at the end
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self._photos)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": OrderedDict()}

    def name(self, i: int) -> str:
        return self._photos[i][2].name

    def size(self, i: int) -> tuple[int, int]:
        """(H, W)"""
        return self._photos[i][2].height, self._photos[i][2].width

    def pixels(self, i: int) -> np.ndarray:
        """(H, W, C) uint8 or uint16. Raises BlindSRError where the shard is damaged or gone."""
        return self._read(i, ...)

    def patch(self, i: int, top: int, left: int, side: int) -> np.ndarray:
        """(side, side, C) of the pixels; only the chunks that it lies in are read."""
        return self._read(i, np.s_[top : top + side, left : left + side])

    def _read(self, i: int, where: Any) -> np.ndarray:
        shard, position, entry = self._photos[i]
        try:
            return self._file(shard)[str(position)][where]
        except (OSError, KeyError, RuntimeError):
            path = self.shards[shard]
            raise BlindSRError(f"{path}: damaged at {entry.name}; delete it and run 'blindsr pack' again") from None

    def _file(self, shard: int) -> Any:
        if self._process != os.getpid():  # forked: the parent's files are not shared, HDF5 does not know of forks
            while self._files:
                self._files.popitem()[1].close()
            self._process = os.getpid()
        if shard not in self._files:
            if len(self._files) >= MAX_OPEN:
                self._files.popitem(last=False)[1].close()
            self._files[shard] = library().File(self.shards[shard], "r")
        self._files.move_to_end(shard)
        return self._files[shard]


class Packer:
    """Adds photos to the store ``folder``, which is made when there is something to put into it.

    A photo that is there already, by path, size and time of its file or else by its content, is not added again.
    Raises BlindSRError for a folder that holds other things and for a damaged shard.
    """

    def __init__(self, folder: Path):
        library()
        self.folder = folder
        if folder.exists() and not folder.is_dir():
            raise BlindSRError(f"{folder}: this is a file, a store is a folder; choose another --out")
        self._shards = shards = shards_of(folder)
        visible = {p for p in folder.iterdir() if not p.name.startswith(".")} if folder.is_dir() else set()
        if others := visible - set(shards):
            raise BlindSRError(f"{folder}: holds other things ({min(others).name}); choose another --out")
        entries = [entry for shard in shards for entry in read_index(shard)]
        self._stamps = {entry.stamp for entry in entries}
        self._digests = {entry.digest for entry in entries}

    def missing(self, sources: Iterable[Path]) -> list[Path]:
        """The sources whose files were not packed yet, as they are now."""
        return [source for source in sources if _stamp(source) not in self._stamps]

    def add(self, sources: Iterable[Path], fail: Callable[[Path, Exception], None], max_pixels: int) -> int:
        """Pack the sources and answer how many were added; ``fail`` is told of those that cannot be read."""
        photos = self._load(sources, fail, max_pixels)
        first = next(photos, None)
        if first is None:  # and no folder is made
            return 0
        photos, added = chain([first], photos), 0
        with only_writer(self.folder, "wait for it, then run the same command again"):
            if shards_of(self.folder) != self._shards:  # what was to be added may be there by now
                raise BlindSRError(f"{self.folder}: another process has added to it; run the same command again")
            for left in self.folder.glob(".*.h5.*.part"):  # by a pack that was killed
                left.unlink(missing_ok=True)
            while n := self._write_shard(photos):
                added += n
            self._shards = shards_of(self.folder)
        return added

    def _load(
        self, sources: Iterable[Path], fail: Callable[[Path, Exception], None], max_pixels: int
    ) -> Iterator[tuple[Entry, np.ndarray]]:
        for source in sources:
            try:
                stamp = _stamp(source)
                digest = _hash(source.read_bytes()) if source.is_file() else ""
                if digest in self._digests:
                    continue
                pixels = images.read(source, max_pixels).pixels
            except Exception as error:  # the other photos still get packed
                fail(source, error)
                continue
            self._digests.add(digest)
            yield Entry(source.name, *pixels.shape[:2], stamp, digest), pixels

    def _write_shard(self, photos: Iterator[tuple[Entry, np.ndarray]]) -> int:
        """A new shard with photos until it is full or there are no more; how many they are. No photos, no shard."""
        entries, room = [], SHARD_BYTES
        # Made in memory: where the disk is full, HDF5 does not tell of all that it failed to write, and crashes.
        with library().File("shard", "w", driver="core", backing_store=False, block_size=16 * 1024**2) as file:
            for entry, pixels in photos:
                chunks = (*(min(CHUNK, n) for n in pixels.shape[:2]), pixels.shape[2])
                compression = {"compression": "gzip", "compression_opts": 1, "shuffle": pixels.itemsize > 1}
                file.create_dataset(str(len(entries)), data=pixels, chunks=chunks, **compression)
                entries.append(entry)
                room -= pixels.nbytes
                if room <= 0:
                    break
            if not entries:
                return 0
            index = json.dumps([asdict(entry) for entry in entries]).encode()
            file.create_dataset("index", data=np.frombuffer(index, np.uint8))
            file.attrs.update({"format": FORMAT, "version": VERSION})
            file.flush()
            data = file.id.get_file_image()
        last = max((int(p.stem) for p in shards_of(self.folder) if p.stem.isdecimal()), default=-1)
        try:
            with whole_file(self.folder / f"{last + 1:05d}.h5") as part:
                part.write_bytes(data)
        except OSError as error:
            cure = "free some space, or choose another --out; the same command goes on"
            raise BlindSRError(f"{self.folder}: cannot be written ({error.strerror}); {cure}") from None
        return len(entries)


def _stamp(source: Path) -> str:
    """A hash of path, size and time of a file; "" where there is none."""
    with suppress(OSError):
        stat = source.stat()
        return _hash(os.fsencode(os.path.abspath(source)) + f"\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
    return ""


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
