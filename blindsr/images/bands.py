"""PNG and tiled TIFF, of 8 and 16 bits, written band by band: the whole picture need never be in memory.

A band is an array (h, W, S) of the picture's next rows, S = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
Sources: PNG (third edition) sections 9 and 11; TIFF 6.0 section 15.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
from PIL import Image, TiffImagePlugin

from blindsr.images import metadata
from blindsr.images.containers import PNG_SIGNATURE

_PNG_COLOUR_TYPE = {1: 0, 3: 2, 2: 4, 4: 6}  # samples a pixel -> colour type
_BYTES_AT_ONCE = 8_000_000  # filtered and compressed at a time
_TILE = 256
_BIG = 4_000_000_000  # bytes from which a classic TIFF might not reach all of its data


def write_png(
    stream: IO[bytes],
    bands: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    icc: bytes | None,
    exif: Image.Exif | None,
) -> None:
    """Write the ``bands`` of a picture of ``shape`` (H, W, S), uint8 or uint16, to ``stream``."""
    height, width, count = shape
    stream.write(PNG_SIGNATURE)
    depth = 8 * dtype.itemsize
    stream.write(_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, _PNG_COLOUR_TYPE[count], 0, 0, 0)))
    if icc:
        stream.write(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if exif:
        stream.write(_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    compressor = zlib.compressobj(3 if depth == 16 else 6)  # higher levels gain nothing on noisy low bytes
    above = np.zeros((1, width * count * dtype.itemsize), np.uint8)
    for band in bands:
        step = max(1, _BYTES_AT_ONCE // above.size)
        for top in range(0, len(band), step):
            rows = np.ascontiguousarray(band[top : top + step], dtype.newbyteorder(">"))
            rows = rows.reshape(len(rows), -1).view(np.uint8)
            data = compressor.compress(_filtered(rows, above, count * dtype.itemsize))
            above = rows[-1:]
            if data:
                stream.write(_chunk(b"IDAT", data))
    stream.write(_chunk(b"IDAT", compressor.flush()))
    stream.write(_chunk(b"IEND", b""))


def _filtered(rows: np.ndarray, above: np.ndarray, step: int) -> bytes:
    """Rows of bytes as differences, each with the filter (left, above or Paeth's) that leaves the smallest ones.

    ``step`` is the number of bytes of a pixel."""
    up = np.concatenate([above, rows[:-1]])
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], corner[:, step:] = rows[:, :-step], up[:, :-step]
    a, b, c = left.astype(np.int16), up.astype(np.int16), corner.astype(np.int16)
    pa, pb, pc = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    paeth = np.where((pa <= pb) & (pa <= pc), left, np.where(pb <= pc, up, corner))
    best, least = np.empty((len(rows), 1 + rows.shape[1]), np.uint8), np.full(len(rows), np.inf)
    for number, guess in ((1, left), (2, up), (4, paeth)):
        rest = rows - guess
        size = np.abs(rest.view(np.int8).astype(np.int16)).sum(1)
        better = size < least
        best[better, 0], best[better, 1:], least[better] = number, rest[better], size[better]
    return best.tobytes()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def write_tiff(
    stream: IO[bytes],
    bands: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    icc: bytes | None,
    exif: Image.Exif | None,
) -> None:
    """The same as deflated TIFF in tiles of 256×256, with EXIF; a BigTIFF, without EXIF's other directories, where it
    could grow beyond 4 GB. ``stream`` must be readable too."""
    import tifffile

    height, width, count = shape
    exif = exif or Image.Exif()
    density = [exif.get(tag) for tag in (metadata.X_RESOLUTION, metadata.Y_RESOLUTION)]
    unit = exif.get(metadata.RESOLUTION_UNIT, 2)  # inches, where nothing is said
    with tifffile.TiffWriter(stream, bigtiff=height * width * count * dtype.itemsize > _BIG, byteorder="<") as file:
        file.write(
            _tiles(bands, shape, dtype),
            shape=shape if count > 1 else shape[:2],
            dtype=dtype,
            tile=(_TILE, _TILE),
            photometric="rgb" if count > 2 else "minisblack",
            planarconfig="contig" if count > 1 else None,
            extrasamples=["unassalpha"] if count in (2, 4) else None,
            compression="zlib",
            predictor=True,
            metadata=None,
            software=False,
            iccprofile=icc,
            resolution=None if None in density else tuple(map(float, density)),
            resolutionunit=None if None in density else unit,
            extratags=list(_tags(exif)),
        )
    _add_directories(stream, {tag: exif[tag] for tag in (metadata.EXIF_IFD, metadata.GPS_IFD) if tag in exif})


def _tags(exif: Image.Exif) -> Iterator[tuple[int, str, int, Any, bool]]:
    """The texts and ratings of the main directory, as tifffile takes them."""
    for tag, value in exif.items():
        if isinstance(value, str):
            text = value.encode("utf-8", "replace")
            yield tag, "s", len(text) + 1, text + b"\0", True
        elif isinstance(value, bytes):
            yield tag, "B", len(value), value, True
        elif tag in metadata.RATINGS:
            yield tag, "H", 1, value, True


def _tiles(bands: Iterable[np.ndarray], shape: tuple[int, int, int], dtype: np.dtype) -> Iterator[np.ndarray]:
    """The picture in tiles, row by row of them; what lies outside of it is zero."""
    _, width, count = shape
    for rows in _regrouped(bands, _TILE):
        for left in range(0, width, _TILE):
            tile = np.zeros((_TILE, _TILE, count), dtype)
            piece = rows[:, left : left + _TILE]
            tile[: piece.shape[0], : piece.shape[1]] = piece
            yield tile if count > 1 else tile[..., 0]


def _regrouped(bands: Iterable[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """The same rows in bands of ``height``; the last may have fewer."""
    kept: list[np.ndarray] = []
    have = 0
    for band in bands:
        kept.append(band)
        have += len(band)
        if have >= height:
            rows = np.concatenate(kept) if len(kept) > 1 else kept[0]
            whole = have // height * height
            yield from (rows[top : top + height] for top in range(0, whole, height))
            kept, have = [rows[whole:]], have - whole
    if have:
        yield np.concatenate(kept)


def _add_directories(stream: IO[bytes], directories: dict[int, dict[int, Any]]) -> None:
    """Append EXIF and GPS directories to a little-endian TIFF, and a main directory that points to them.

    tifffile writes no such directories. A BigTIFF, laid out differently, stays as it is."""
    stream.seek(0)
    head = stream.read(8)
    if not directories or head[:4] != b"II*\0":
        return
    stream.seek(struct.unpack("<I", head[4:])[0])
    (count,) = struct.unpack("<H", stream.read(2))
    entries = [stream.read(12) for _ in range(count)]
    at = stream.seek(0, io.SEEK_END)
    for tag, content in directories.items():
        at += stream.write(bytes(at % 2))
        entries.append(struct.pack("<HHII", tag, 4, 1, at))
        directory = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\x08\0\0\0", group=tag)
        for key, value in content.items():
            directory[key] = value
        at += stream.write(directory.tobytes(at))
    at += stream.write(bytes(at % 2))
    entries.sort(key=lambda entry: entry[0] | entry[1] << 8)
    stream.write(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
    stream.seek(4)
    stream.write(struct.pack("<I", at))
