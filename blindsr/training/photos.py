"""Where training photos come from: folders of image files, and stores that ``blindsr pack`` made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from blindsr import images
from blindsr.images import ImageError
from blindsr.interfaces import BlindSRError
from blindsr.training.packed import PackedPhotos, shards_of

CURE = "set data.folders to folders of sharp photos, or to stores that 'blindsr pack' made"
CACHE_BYTES = 2 * 1024**3  # of decoded image files that a process keeps


class Source(Protocol):
    """Photos by number. Pixels are uint8 or uint16 of one or three channels C; a photo that cannot be read raises
    BlindSRError. Must live through pickling and forking, for loader processes."""

    def name(self, i: int) -> str: ...

    def size(self, i: int) -> tuple[int, int]:
        """(H, W)"""

    def pixels(self, i: int) -> np.ndarray:
        """(H, W, C)"""

    def patch(self, i: int, top: int, left: int, side: int) -> np.ndarray:
        """(side, side, C), a piece of the pixels"""


class ImageFiles:
    """Image files, decoded on first use; those that come first are kept, up to 2 GiB."""

    def __init__(self, paths: Sequence[Path] = ()):
        self.paths = list(paths)
        self._sizes: dict[int, tuple[int, int]] = {}  # one that is too small need not be decoded for it again
        self._kept: dict[int, np.ndarray] = {}
        self._bytes = 0
        self._last: tuple[int, np.ndarray] | None = None  # asked for its size, a photo is about to give a patch

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}, "_bytes": 0, "_last": None}

    def name(self, i: int) -> str:
        return self.paths[i].name

    def size(self, i: int) -> tuple[int, int]:
        if i not in self._sizes:
            height, width = self.pixels(i).shape[:2]
            self._sizes[i] = height, width
        return self._sizes[i]

    def pixels(self, i: int) -> np.ndarray:
        if i in self._kept:
            return self._kept[i]
        if self._last is None or self._last[0] != i:
            self._last = i, images.read(self.paths[i]).pixels
            if self._bytes + self._last[1].nbytes <= CACHE_BYTES:
                self._kept[i] = self._last[1]
                self._bytes += self._last[1].nbytes
        return self._last[1]

    def patch(self, i: int, top: int, left: int, side: int) -> np.ndarray:
        return self.pixels(i)[top : top + side, left : left + side]


class Photos:
    """Photos of any sources, in colour. One that cannot be read is told to ``report`` once (by each process) and is
    None from then on."""

    def __init__(self, entries: Sequence[tuple[Source, int]], report: Callable[[str], Any] = print):
        self._entries = list(entries)
        self._report = report
        self._unreadable: set[int] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def name(self, i: int) -> str:
        """The name of its file, without folder."""
        source, at = self._entries[i]
        return source.name(at)

    def size(self, i: int) -> tuple[int, int] | None:
        """(H, W) in pixels, or None"""
        return self._ask(i, lambda source, at: source.size(at))

    def pixels(self, i: int) -> np.ndarray | None:
        """(H, W, 3) uint8 or uint16, gray repeated, or None"""
        return self._ask(i, lambda source, at: _colour(source.pixels(at)))

    def patch(self, i: int, top: int, left: int, side: int) -> np.ndarray | None:
        """``pixels(i)[top : top + side, left : left + side]``, or None; of a store only this piece is read."""
        return self._ask(i, lambda source, at: _colour(source.patch(at, top, left, side)))

    def subset(self, indices: Iterable[int]) -> Photos:
        """The photos of these numbers, in this order."""
        return Photos([self._entries[i] for i in indices], self._report)

    def _ask(self, i: int, question: Callable[[Source, int], Any]) -> Any:
        if i in self._unreadable:
            return None
        try:
            return question(*self._entries[i])
        except BlindSRError as error:
            self._unreadable.add(i)
            self._report(f"skipped: {error}")
            return None


def open_photos(sources: Sequence[str], exclude: Sequence[str] = (), report: Callable[[str], Any] = print) -> Photos:
    """The photos of folders (the images and the stores directly in them) and of stores (.h5 files), in this order,
    without those whose names match a pattern of ``exclude``.

    Raises BlindSRError for a source that is missing or has no photos, a damaged store, and a store without h5py.
    """
    files = ImageFiles()  # one for all folders: together they may keep so much in memory
    entries: list[tuple[Source, int]] = []
    for name in sources:
        path, before = Path(name).expanduser(), len(entries)
        if not path.is_dir() and not path.is_file():
            raise BlindSRError(f"{name}: no such folder or store; {CURE}")
        if path.is_dir():
            with suppress(ImageError):  # no image there
                found = images.find([path])
                entries += ((files, len(files.paths) + i) for i in range(len(found)))
                files.paths += found
        if shards := shards_of(path):
            store = PackedPhotos(shards)
            entries += ((store, i) for i in range(len(store)))
        if len(entries) == before:
            raise BlindSRError(f"{name}: holds no photos; {CURE}")
    return Photos([e for e in entries if not any(fnmatch(e[0].name(e[1]), pattern) for pattern in exclude)], report)


def _colour(pixels: np.ndarray) -> np.ndarray:
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
