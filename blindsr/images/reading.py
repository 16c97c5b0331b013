"""From a file to a :class:`~blindsr.images.photo.Photo`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from blindsr.images import containers, history, metadata, sixteen_bit, webp
from blindsr.images.photo import ImageError, Photo

MAX_PIXELS = 500_000_000
# Levels that brightness is off at a step of 1, more with the root of the step: on photos 0.5 to 0.9 and 0.3 to 0.9. WebP
# smooths its blocks, and is told more than the middle of that: with 0.45 0.2 to 1 dB were lost (docs/experiments.md).
CODING_NOISE = {"JPEG": 0.75, "WebP": 0.65}


def read(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo, turned upright; the first frame or page where there are several.

    Palette, 1-bit and CMYK pictures become 8-bit RGB or gray; CMYK goes through its ICC profile to sRGB and loses
    it. The size is checked against ``max_pixels`` before anything is decoded. Raises ImageError, one line with the
    file and the cure, for a file that is missing, no file, unreadable, empty, of another kind, damaged, truncated
    or too large, and for float, signed and 32-bit samples."""
    path = Path(path)
    try:
        if os.path.isdir(path):
            raise ImageError(f"{path}: this is a folder; name a photo in it")
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe or device would be waited for
            raise ImageError(f"{path}: this is no ordinary file; save the photo to one first")
        with path.open("rb") as stream:
            return _read(path, stream, max_pixels)
    except ImageError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(f"{path}: no such file; check its name and folder") from None
    except PermissionError:
        raise ImageError(f"{path}: you may not read this file; change its permissions or copy it") from None
    except MemoryError:
        raise ImageError(f"{path}: too large for this machine's memory; reduce or crop it first") from None
    except Exception as error:  # decoders raise nearly anything on malformed bytes
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if isinstance(error, OSError) and error.errno:  # the system's complaint, not a decoder's
            raise ImageError(f"{path}: cannot be read ({error.strerror}); check the disk and the name") from None
        cure = "get a fresh copy of it, or convert it to an 8- or 16-bit PNG"
        raise ImageError(f"{path}: damaged, incomplete or of an unusual kind ({reason}); {cure}") from error


def _read(path: Path, stream: IO[bytes], max_pixels: int) -> Photo:
    header = stream.read(containers.HEADER_BYTES)
    if not header:
        raise ImageError(f"{path}: the file is empty (0 bytes); get a fresh copy of it")
    kind = containers.kind_of(header)
    if kind is None:
        raise ImageError(f"{path}: not a PNG, JPEG, TIFF, WebP or BMP image; convert it to PNG first")

    tiff = sixteen_bit.TiffSource(stream) if kind == "TIFF" else None
    if tiff:
        _check_size(path, tiff.width, tiff.height, max_pixels)
        if tiff.deep:
            return _photo(tiff.read(), tiff.exif, tiff.icc)
    if kind == "WebP":
        _check_size(path, *containers.webp_size(header), max_pixels)
    image = containers.open_with_pillow(kind, stream)
    _check_size(path, *image.size, max_pixels)
    containers.load(image)  # also the check that nothing is missing in a file that OpenCV decodes below
    exif = metadata.exif_of(image)  # after loading: a PNG may hold it behind its pixels, a TIFF is then upright already

    if kind == "PNG" and sixteen_bit.png_needs_this(header):
        stream.seek(0)
        return _photo(sixteen_bit.read_png(stream.read()), exif, image.info.get("icc_profile"))
    samples = _samples(image)
    if tiff and tiff.bits == 12:  # Pillow leaves 12 bits at the lower end of 16
        samples = samples << 4 | samples >> 8
    icc = None if image.mode == "CMYK" else image.info.get("icc_profile")
    return _photo(samples, exif, icc, _coding_noise(kind, image, stream))


def with_history(photo: Photo) -> Photo:
    """``photo`` with the ``coding_noise`` of a JPEG that it once was, or 0, as its pixels show (:mod:`blindsr.images.history`),
    where its file does not tell. Takes a quarter of a second at most."""
    if photo.coding_noise is not None or photo.pixels.dtype != np.uint8:
        return photo
    step = history.past_step(photo.pixels)
    return replace(photo, coding_noise=0.0 if step is None else CODING_NOISE["JPEG"] * step**0.5)


def _coding_noise(kind: str, image: Image.Image, stream: IO[bytes]) -> float | None:
    step = None
    if kind == "JPEG":
        step = containers.jpeg_step(image)
    elif kind == "WebP":
        step = webp.quantiser_step(stream)
    return None if step is None else CODING_NOISE[kind] * step**0.5


def _photo(samples: np.ndarray, exif: Image.Exif, icc: bytes | None, coding_noise: float | None = None) -> Photo:
    samples = metadata.upright(samples, metadata.orientation_of(exif))
    colours = 3 if samples.shape[2] > 2 else 1
    alpha = np.ascontiguousarray(samples[..., colours]) if samples.shape[2] > colours else None
    pixels = np.ascontiguousarray(samples[..., :colours])
    return Photo(pixels, alpha, icc or None, metadata.describe(exif), coding_noise)


def _samples(image: Image.Image) -> np.ndarray:
    """The pixels of a loaded Pillow image as (H, W, S): gray, gray and alpha, RGB or RGBA."""
    if image.mode == "CMYK":
        image = metadata.cmyk_to_srgb(image)
    elif image.mode.startswith("I;16"):
        samples = np.array(image, dtype=np.uint16)[..., None]
        key = image.info.get("transparency")
        if key is None:
            return samples
        return np.concatenate([samples, np.where(samples == key, 0, 65535).astype(np.uint16)], axis=2)
    elif image.mode in ("1", "L", "LA", "La"):
        image = image.convert("LA" if image.has_transparency_data else "L")
    elif image.mode in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    else:
        raise ValueError(f"colour mode {image.mode}")
    samples = np.array(image)
    return samples[..., None] if samples.ndim == 2 else samples


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{path}: damaged, its size is {width}x{height}; get a fresh copy of it")
    if width * height > max_pixels:
        size = f"{width}x{height} is {width * height / 1e6:,.6g} megapixels, the limit {max_pixels / 1e6:,.6g}"
        raise ImageError(f"{path}: {size}; crop or reduce it, or raise --max-pixels if you trust it")
