"""From a photo, whole or in bands, to a file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from blindsr.atomic import claim, whole_file
from blindsr.images import bands as bands_of
from blindsr.images import metadata
from blindsr.images.containers import FORMATS
from blindsr.images.photo import ImageError, Photo

_LONGEST_SIDE = {"JPEG": 65_500, "WebP": 16_383}


def write(path: str | os.PathLike[str], photo: Photo, overwrite: bool = False) -> None:
    """Write a photo in the format that the suffix of ``path`` names; missing parent folders are made.

    Depth, alpha, ICC profile and EXIF are kept; a profile for another kind of pixels (of RGB on gray, say) is left
    out. Lossless but for JPEG (quality 95, 4:4:4). The file appears complete or not at all. Raises ImageError for
    an unknown suffix, a format that cannot hold the photo, an existing file unless ``overwrite``, and when the
    folder or the disk refuses."""
    samples = photo.pixels
    if photo.alpha is not None:
        samples = np.concatenate([samples, photo.alpha[..., None]], axis=2)
    write_bands(path, [samples], samples.shape, samples.dtype, photo.icc, photo.exif, overwrite)


def write_bands(
    path: str | os.PathLike[str],
    bands: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    icc: bytes | None = None,
    exif: bytes | None = None,
    overwrite: bool = False,
) -> None:
    """The same for a picture that comes in ``bands`` (h, W, S), from top to bottom, of samples S: gray, gray and alpha,
    RGB, RGB and alpha. ``shape`` (H, W, S) and ``dtype`` are those of the whole. A PNG or TIFF is written as the bands
    come and needs the memory of one; other formats collect them. An error in making the bands passes through, and
    leaves no file."""
    path = Path(path)
    kind = check_writable(path, shape, dtype, overwrite)
    icc = icc if icc and metadata.profile_fits(icc, 1 if shape[2] < 3 else 3) else None
    parsed = metadata.parse(exif, *shape[:2])
    came = _Source(bands)
    try:
        with whole_file(path) as part, part.open("w+b") as stream:
            claim(stream)  # it may take minutes
            if kind == "TIFF":  # of any depth: Pillow's libtiff cannot both compress and write EXIF
                bands_of.write_tiff(stream, came, shape, dtype, icc, parsed)
            elif kind == "PNG" and (dtype == np.uint16 or not isinstance(bands, list)):
                bands_of.write_png(stream, came, shape, dtype, icc, parsed)
            else:
                stream.write(_encode(np.concatenate(list(came)), kind, icc, parsed))
    except OSError as error:
        if came.failed:
            raise
        cure = "free some space, or write to another folder where you may write"
        raise ImageError(f"{path}: cannot be written ({error.strerror or error}); {cure}") from None


class _Source:
    """Bands as they come; remembers whether making them failed, which is no fault of the disk."""

    def __init__(self, bands: Iterable[np.ndarray]):
        self.bands, self.failed = bands, False

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            yield from self.bands
        except Exception:
            self.failed = True
            raise


def check_writable(path: Path, shape: tuple[int, int, int], dtype: np.dtype, overwrite: bool) -> str:
    """The format to write a picture of ``shape`` (H, W, S) in; raises ImageError when there is a reason not to, before
    anything is done."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ImageError(f"{path}: no image suffix; end the name in one of {', '.join(FORMATS)}")
    if os.path.isdir(path):
        raise ImageError(f"{path}: this is a folder; choose another name")
    if os.path.lexists(path) and not overwrite:
        raise ImageError(f"{path}: exists already; choose another name, or allow it to be replaced (--overwrite, overwrite=True)")
    if dtype == np.uint16 and kind not in ("PNG", "TIFF"):
        raise ImageError(f"{path}: {kind} holds only 8 bits and the photo has 16; use .png or .tif")
    if shape[2] in (2, 4) and kind in ("JPEG", "BMP"):
        raise ImageError(f"{path}: {kind} holds no alpha and the photo has it; use .png, .tif or .webp")
    if max(shape) > _LONGEST_SIDE.get(kind, 2**31 - 1):
        raise ImageError(f"{path}: {kind} holds at most {_LONGEST_SIDE[kind]} pixels a side; use .png or .tif")
    return kind


def _encode(samples: np.ndarray, kind: str, icc: bytes | None, exif: Image.Exif | None) -> bytes:
    """8-bit samples (H, W, S) by Pillow."""
    image = Image.fromarray(np.ascontiguousarray(samples if samples.shape[2] > 1 else samples[..., 0]))
    buffer = io.BytesIO()
    carried = {"icc_profile": icc, "exif": exif.tobytes() if exif else b""}
    if kind == "JPEG":
        carried["exif"] = metadata.jpeg_exif(exif) or b"" if exif else b""
        image.save(buffer, "JPEG", quality=95, subsampling="4:4:4", **carried)
    elif kind == "WebP":
        image.save(buffer, "WEBP", lossless=True, exact=True, method=1, quality=20, **carried)  # quality: effort
    else:
        image.save(buffer, kind, **(carried if kind == "PNG" else {}))
    return buffer.getvalue()
