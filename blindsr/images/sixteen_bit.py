"""16-bit files that Pillow reads at 8 bits or not at all: colour and gray-with-alpha PNG, and every 16-bit TIFF.

Arrays are (H, W, S) uint16 with S = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; alpha is not premultiplied.
Sources: PNG (third edition) section 11, TIFF 6.0 sections 8, 18 and 20.
"""

from __future__ import annotations

import io
import logging
import struct
from typing import IO

import numpy as np
from PIL import Image

from blindsr.images import containers, metadata
from blindsr.images.containers import PNG_SIGNATURE

_LZW = 5
_DEEP_PHOTOMETRIC = (0, 1, 2)  # white is zero, black is zero, RGB
_RAW_PHOTOMETRIC = (32803, 34892)  # colour filter array, linear raw
_DNG_VERSION = 50706  # the tag that every DNG has


def png_needs_this(header: bytes) -> bool:
    """Whether a PNG's first 26 bytes announce 16-bit samples with colour or alpha."""
    return header[24] == 16 and header[25] != 0


def read_png(data: bytes) -> np.ndarray:
    """Decode a whole 16-bit PNG file; raises ValueError. OpenCV says why only on stderr: verify the file before."""
    import cv2  # a heavy import that 8-bit photos can do without

    found = cv2.imdecode(np.frombuffer(_pixel_chunks(data), np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16:
        raise ValueError("no 16-bit pixels in it")
    found = _to_rgb(found)
    return found[..., (0, 3)] if data[25] == 4 else found  # OpenCV repeats gray three times when there is alpha


def _pixel_chunks(data: bytes) -> bytes:
    """A PNG without its metadata, of which libpng prints its opinion on stderr."""
    parts, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] in (b"IHDR", b"tRNS", b"IDAT", b"IEND"):
            parts.append(data[at:end])
        at = end
    return b"".join(parts)


class TiffSource:
    """The first page of a TIFF file that is open as ``stream``: what it holds, and its pixels when they are 16-bit.

    Raises ValueError (or what tifffile raises) for a damaged file and for samples that are no photo."""

    def __init__(self, stream: IO[bytes]) -> None:
        import tifffile

        # Without any handler, logging would print the library's remarks on damaged files beside our own error.
        logging.getLogger("tifffile").addHandler(logging.NullHandler())
        stream.seek(0)
        self._stream = stream
        self._file = tifffile.TiffFile(stream)
        if not len(self._file.pages):
            raise ValueError("it has no pages, or is cut off")
        self._page = page = self._file.pages[0]
        if page.subfiletype & 1 or page.photometric in _RAW_PHOTOMETRIC or _DNG_VERSION in page.tags:
            raise ValueError("it is a camera's raw file, or begins with a preview")
        self.width, self.height = page.imagewidth, page.imagelength
        self.icc: bytes | None = page.iccprofile
        self.bits: int = page.bitspersample
        if page.sampleformat != 1 or page.bitspersample > 16:
            kind = {1: "unsigned", 2: "signed", 3: "float"}.get(page.sampleformat, "other")
            raise ValueError(f"its samples are {page.bitspersample}-bit {kind}, not 8- or 16-bit unsigned")
        end = stream.seek(0, io.SEEK_END)
        if any(start + size > end for start, size in zip(page.dataoffsets, page.databytecounts)):
            raise ValueError("it is cut off")

    @property
    def exif(self) -> Image.Exif:
        """Main directory of the page, to be read from while the stream is open; where it cannot be read, the orientation
        alone."""
        exif = Image.Exif()
        self._stream.seek(0)
        try:
            if self._file.is_bigtiff:  # of which Pillow's reader of directories alone knows nothing
                return containers.open_with_pillow("TIFF", self._stream).getexif()
            exif.load_from_fp(self._stream)
        except Exception:  # nearly anything on malformed EXIF, which is no reason to refuse a photo
            exif = Image.Exif()
            if tag := self._page.tags.get(metadata.ORIENTATION):
                exif[metadata.ORIENTATION] = tag.value
        return exif

    @property
    def deep(self) -> bool:
        """Whether :meth:`read` serves it; other TIFF files are Pillow's."""
        return self.bits == 16 and self._page.photometric in _DEEP_PHOTOMETRIC

    def read(self) -> np.ndarray:
        """(H, W, S) uint16, not yet turned by the orientation tag."""
        page = self._page
        colours = 3 if page.photometric == 2 else 1
        if page.compression == _LZW and page.planarconfig == 1 and page.samplesperpixel in (1, 3, 4):
            samples = self._read_lzw()
        else:  # tifffile has LZW only together with the optional imagecodecs, and OpenCV misreads separate planes
            samples = page.asarray()
            if page.planarconfig == 2 and samples.ndim == 3:
                samples = samples.transpose(1, 2, 0)
        samples = samples.reshape(samples.shape[0], samples.shape[1], -1)
        if samples.shape[:2] != (self.height, self.width) or samples.shape[2] < colours:
            raise ValueError(f"its first page is an array of shape {samples.shape}")
        if page.photometric == 0:
            samples = np.concatenate([65535 - samples[..., :1], samples[..., 1:]], axis=2)
        # An extra sample is alpha when it is called so or when nothing is said of it at all.
        extra = page.extrasamples[0] if page.extrasamples else 2
        if samples.shape[2] == colours or extra not in (1, 2):
            return samples[..., :colours]
        samples = samples[..., : colours + 1]
        return _unmultiply(samples) if extra == 1 else samples

    def _read_lzw(self) -> np.ndarray:
        import cv2

        self._stream.seek(0)
        data = bytearray(self._stream.read())
        if tag := self._page.tags.get(metadata.ORIENTATION):  # OpenCV would turn the picture, or fail on 5 to 8
            struct.pack_into(self._file.byteorder + "H", data, tag.valueoffset, 1)
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if found is None or found.dtype != np.uint16:
            raise ValueError("its LZW data is damaged")
        return _to_rgb(found)


def _to_rgb(array: np.ndarray) -> np.ndarray:
    """OpenCV's (H, W), BGR or BGRA as (H, W, S) gray, RGB or RGBA."""
    if array.ndim == 2:
        return array[..., None]
    return array[..., [2, 1, 0, 3][: array.shape[2]]]


def _unmultiply(samples: np.ndarray) -> np.ndarray:
    """Divide colours by alpha, which is the last sample."""
    alpha = samples[..., -1:].astype(np.float64)
    colours = samples[..., :-1] * (65535 / np.maximum(alpha, 1))
    return np.concatenate([np.rint(colours.clip(0, 65535)).astype(np.uint16), samples[..., -1:]], axis=2)
