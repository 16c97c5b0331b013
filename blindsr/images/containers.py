"""Image files by their first bytes: which kind they are, how large, and Pillow's decoder for them.

Sources: PNG (third edition) section 5.2, JPEG (ITU-T T.81) annex B, TIFF 6.0 section 2, WebP (RFC 9649) section 2.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import IO

from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
    ".bmp": "BMP",
}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = 32  # what the functions here need to see of a file

# Opened by class and not with Image.open, which would apply Pillow's own limit of pixels, a global.
_PLUGINS = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
_pillow_limit_lock = threading.RLock()


def kind_of(header: bytes) -> str | None:
    """One of the values of FORMATS, or None for anything else; the file's name plays no part."""
    if header.startswith(PNG_SIGNATURE):
        return "PNG"
    if header.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if header[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if header[:4] == b"RIFF" and header[8:12] == b"WEBP":
        return "WebP"
    return "BMP" if header.startswith(b"BM") else None


def webp_size(header: bytes) -> tuple[int, int]:
    """Width and height that a WebP file's header states."""
    if header[12:16] == b"VP8X":
        return 1 + int.from_bytes(header[24:27], "little"), 1 + int.from_bytes(header[27:30], "little")
    if header[12:16] == b"VP8L":
        bits = int.from_bytes(header[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(header[26:28], "little") & 0x3FFF, int.from_bytes(header[28:30], "little") & 0x3FFF


def open_with_pillow(kind: str, stream: IO[bytes]) -> Image.Image:
    """The file as a Pillow image whose pixels are not decoded yet.

    Its ``size`` is to be checked before :func:`load`; a WebP file's :func:`webp_size` even before it is opened,
    since its decoder allocates the whole canvas at once."""
    stream.seek(0)
    header = stream.read(HEADER_BYTES)
    width, height = webp_size(header) if kind == "WebP" else (0, 0)
    stream.seek(0)
    with _pillow_limit_lifted(width * height), _large_texts_let_in(kind):
        image = _PLUGINS[kind](stream)
    key = image.info.get("transparency")
    if kind == "PNG" and image.mode == "L" and isinstance(key, int):  # Pillow spreads 2 and 4 bits over 8, but not this level
        image.info["transparency"] = key * (255 // (2 ** min(header[24], 8) - 1))
    return image


def load(image: Image.Image) -> None:
    """Decode the pixels; raises when data are missing or damaged."""
    if image.format == "PNG":
        read_rest = image.load_end  # by which Pillow reads what stands behind the pixels

        def load_end() -> None:
            with _large_texts_let_in("PNG"):
                read_rest()

        image.load_end = load_end
    with _pillow_limit_lifted(image.width * image.height):
        image.load()


def jpeg_step(image: JpegImagePlugin.JpegImageFile) -> float:
    """The mean quantisation step of the 4×4 lowest frequencies of a JPEG file's brightness, in levels of 8 bits; higher ones
    hold next to nothing of most photos."""
    table = image.quantization[image.layer[0][3]]
    steps = [table[8 * row + col] for row in range(4) for col in range(4)]
    return sum(steps) / len(steps)


def _large_texts_let_in(kind: str) -> AbstractContextManager[None]:
    """Colour profiles and texts in PNG files up to Pillow's limit for all of them together (64 MiB), not for one (1 MiB): some
    are so large, before the pixels or behind them, and we write such profiles."""
    if kind != "PNG":
        return nullcontext()
    return _pillow_set(PngImagePlugin, "MAX_TEXT_CHUNK", PngImagePlugin.MAX_TEXT_MEMORY)


def _pillow_limit_lifted(pixels: int) -> AbstractContextManager[None]:
    """Lift Pillow's own limit while a photo above it is decoded; the caller has checked the size.

    Ordinary photos leave it alone; while one of the few huge ones is decoded other users of Pillow in this process are
    without the limit."""
    if pixels <= (Image.MAX_IMAGE_PIXELS or 0):
        return nullcontext()
    return _pillow_set(Image, "MAX_IMAGE_PIXELS", None)


@contextmanager
def _pillow_set(module: ModuleType, name: str, value: int | None) -> Iterator[None]:
    """One of Pillow's limits at another ``value`` for a while. They are variables of the whole process: photos that need
    that take turns."""
    with _pillow_limit_lock:
        before = getattr(module, name)
        setattr(module, name, value)
        try:
            yield
        finally:
            setattr(module, name, before)
