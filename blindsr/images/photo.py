"""What a photo is here, and its pixels as numbers in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blindsr.interfaces import BlindSRError


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


def to_8_bits(array: np.ndarray) -> np.ndarray:
    """uint16 as uint8, each value the nearest of its 256 levels; anything else as it is."""
    return np.rint(array / 257).astype(np.uint8) if array.dtype == np.uint16 else array


def rounding_noise(dtype: np.dtype | type) -> float:
    """Standard deviation, in [0, 1], of the error that rounding to the whole levels of ``dtype`` makes: a twelfth of a level,
    under the root."""
    return 1 / (_largest(np.dtype(dtype)) * 12**0.5)


def _largest(dtype: np.dtype) -> int:
    if dtype not in (np.uint8, np.uint16):
        raise ImageError(f"pixels are uint8 or uint16, not {dtype}; convert them first")
    return int(np.iinfo(dtype).max)
