"""Photos: from a file to arrays and back.

PNG, JPEG, TIFF, WebP and BMP, told apart by their content. :func:`read` gives upright gray or RGB pixels of the
file's own depth (8 or 16 bits), with alpha, ICC profile and EXIF apart; :func:`write` puts them together again.
Pillow decodes; :mod:`blindsr.images.sixteen_bit` serves the files that Pillow would cut down to 8 bits.
:func:`write_bands` takes a picture piece by piece, so that a large one need never be in memory.

What a format cannot hold: JPEG, WebP and BMP have no 16 bits, JPEG and BMP no alpha (errors of :func:`write`);
BMP has no metadata; WebP has no gray (it comes back as RGB) and drops an alpha that is opaque everywhere; a 16-bit
CMYK file is read at 8 bits.
"""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from blindsr.atomic import whole_file
from blindsr.images import bands as bands_of
from blindsr.images import containers, history, metadata, sixteen_bit, webp
from blindsr.images.containers import FORMATS
from blindsr.interfaces import BlindSRError

MAX_PIXELS = 500_000_000
# Levels that brightness is off at a step of 1, more with the root of the step: on photos 0.5 to 0.9 and 0.3 to 0.9. WebP
# smooths its blocks, and is told more than the middle of that: with 0.45 0.2 to 1 dB were lost (docs/experiments.md).
CODING_NOISE = {"JPEG": 0.75, "WebP": 0.65}
_LONGEST_SIDE = {"JPEG": 65_500, "WebP": 16_383}


class ImageError(BlindSRError):
    """A photo that cannot be read, written or found."""


@dataclass(frozen=True)
class Photo:
    """An upright photo. ``pixels`` is (H, W, C) uint8 or uint16, gray (C = 1) or RGB (C = 3); ``alpha`` is (H, W)
    of the same dtype, not premultiplied, or None. ``icc`` is the colour profile; ``exif`` begins with
    ``Exif\\0\\0`` and says orientation 1. Both are bytes or None. ``coding_noise`` is how much of the brightness JPEG or
    lossy WebP left out, as a standard deviation in levels of 8 bits, by the steps that the file was stored with; None where
    the file does not tell, 0 where its pixels do not either (:func:`with_history`). Raises ImageError when the arrays
    disagree."""

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    coding_noise: float | None = None

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] not in (1, 3) or 0 in shape or dtype not in (np.uint8, np.uint16):
            raise ImageError(f"a photo is (H, W, 1) or (H, W, 3) uint8 or uint16, not {shape} {dtype}")
        if self.alpha is not None and (self.alpha.shape != shape[:2] or self.alpha.dtype != dtype):
            raise ImageError(f"alpha {self.alpha.shape} {self.alpha.dtype} does not fit pixels {shape} {dtype}")

    @property
    def coded(self) -> bool:
        """Whether it is known to have been stored with loss."""
        return bool(self.coding_noise)

    @property
    def rounding(self) -> float:
        """Standard deviation, in [0, 1], of the error that rounding made of brightness, to whole levels or to the steps of
        lossy coding."""
        return self.coding_noise / 255 if self.coded else rounding_noise(self.pixels.dtype)


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


def find(inputs: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The photos that files, folders and patterns name, in that order, each once.

    A folder stands for the images directly in it, a pattern (``*``, ``?``, ``[…]``, ``**``) for the images that it
    matches, both by suffix, sorted, without hidden files; ``~`` is the home folder. A file that is named is taken
    as it is, even when missing: :func:`read` says so. Raises ImageError for a folder or pattern without images."""
    found: dict[str, Path] = {}
    for name in map(os.path.expanduser, map(os.fspath, inputs)):
        if os.path.isdir(name):
            try:
                matches = _images(os.path.join(name, entry) for entry in os.listdir(name))
            except OSError as error:
                raise ImageError(f"{name}: cannot be listed ({error.strerror}); change its permissions") from None
        elif glob.has_magic(name) and not os.path.lexists(name):
            matches = _images(glob.iglob(name, recursive=True))
        else:
            matches = [Path(name)]
        if not matches:
            raise ImageError(f"{name}: no image there; looked for {', '.join(FORMATS)}")
        for path in matches:
            found.setdefault(os.path.abspath(path), path)
    return list(found.values())


def _images(names: Iterator[str]) -> list[Path]:
    paths = sorted(map(Path, names))
    return [p for p in paths if p.suffix.lower() in FORMATS and not p.name.startswith(".") and p.is_file()]


def to_float(array: np.ndarray) -> np.ndarray:
    """uint8 or uint16 of any shape as float32 in [0, 1]; the depth is that of the dtype. Else ImageError."""
    return array.astype(np.float32) / np.float32(_largest(array.dtype))


def from_float(array: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Floats as uint8 or uint16: [0, 1] onto the whole range, rounded, clipped. ImageError for NaN and other dtypes."""
    largest = _largest(np.dtype(dtype))
    scaled = array * np.float32(largest)
    if scaled.size and np.isnan(scaled.max()):  # one pass, and no mask of the size of the picture
        raise ImageError("the image holds NaN; nothing sensible can be written")
    return np.rint(np.clip(scaled, 0, largest, out=scaled), out=scaled).astype(dtype)


def rounding_noise(dtype: np.dtype | type) -> float:
    """Standard deviation, in [0, 1], of the error that rounding to the whole levels of ``dtype`` makes: a twelfth of a level,
    under the root."""
    return 1 / (_largest(np.dtype(dtype)) * 12**0.5)


def _largest(dtype: np.dtype) -> int:
    if dtype not in (np.uint8, np.uint16):
        raise ImageError(f"pixels are uint8 or uint16, not {dtype}; convert them first")
    return int(np.iinfo(dtype).max)
