"""From what a user has in hand to tensors, and back: photos, arrays, numbers, each checked."""

from __future__ import annotations

import os

import cv2
import numpy as np
import torch
from torch import Tensor

from blindsr import images
from blindsr.interfaces import SCALES, BlindSRError, Grid
from blindsr.ops.resize import bicubic_enlarge

Source = str | os.PathLike[str] | np.ndarray | images.Photo

MAX_SIGMA = 100 / 255  # beyond what any of the models was made for
BLOCK = 16  # pixels a side that count together in the search for texture
STRIP = 512  # rows of alpha, or of a result, that are worked on at once
CUBIC_REACH = 3  # rows on either side that a cubic enlargement reads
SUPPORT = 0.999  # share of a kernel that counts when its size is compared with the photo's


def check_scale(scale: int) -> int:
    """Raises BlindSRError for anything but 1, 2, 3 and 4."""
    if scale not in SCALES:
        raise BlindSRError(f"scale {scale!r} is out of range; use one of {', '.join(map(str, SCALES))}")
    return int(scale)


def check_sigma(sigma: float) -> float:
    """Raises BlindSRError outside [0, ``MAX_SIGMA``], and for NaN and what is no number."""
    limit = f"[0, {MAX_SIGMA:.3f}], that is 0-{255 * MAX_SIGMA:.0f} of 255"
    try:
        level = float(sigma)
    except (TypeError, ValueError):
        raise BlindSRError(f"noise level {sigma!r} is no number; sigma lies in {limit}") from None
    if not 0 <= level <= MAX_SIGMA:  # NaN fails too
        raise BlindSRError(f"noise level {level:g} ({255 * level:g} of 255) is out of range; sigma lies in {limit}")
    return level


def as_photo(source: Source) -> images.Photo:
    """Read a file, or take an array apart. Raises BlindSRError for what is neither."""
    if isinstance(source, images.Photo):
        return source
    if isinstance(source, (str, os.PathLike)):
        return images.read(source)
    array = np.asarray(source)
    if array.dtype not in (np.uint8, np.uint16) or array.ndim not in (2, 3) or 0 in array.shape:
        cure = "; from [0, 1], give (255 * x).round().astype(numpy.uint8)" if array.dtype.kind == "f" else ""
        raise BlindSRError(f"a source array is (H, W[, C]) uint8 or uint16, not {array.shape} {array.dtype}{cure}")
    array = array if array.ndim == 3 else array[..., None]
    if array.shape[2] > 4:
        raise BlindSRError(f"a source array has 1 to 4 channels, not {array.shape[2]}; give (H, W[, C])")
    colours = 3 if array.shape[2] > 2 else 1
    return images.Photo(array[..., :colours], array[..., colours] if array.shape[2] > colours else None)


def dimensions(source: Source) -> int:
    """How many axes the answer's array should have."""
    return source.ndim if isinstance(source, np.ndarray) else 3


def as_array(pixels: np.ndarray, alpha: np.ndarray | None, axes: int) -> np.ndarray:
    """Pixels (H, W, C) and alpha (H, W) as one array, (H, W) where ``axes`` is 2."""
    if alpha is not None:
        pixels = np.concatenate([pixels, alpha[..., None]], axis=2)
    return pixels if axes == 3 else pixels[..., 0]


def to_tensor(pixels: np.ndarray, device: torch.device) -> Tensor:
    """(H, W, 1 or 3) uint8 or uint16 as (1, 3, H, W) float32 in [0, 1]; gray is repeated. They travel as they are."""
    samples = torch.tensor(np.ascontiguousarray(pixels))  # torch takes no picture that is turned or mirrored by strides
    if device.type == "mps":  # it has no uint16
        samples = samples.float()
    y = samples.to(device).permute(2, 0, 1)[None].float() / np.iinfo(pixels.dtype).max
    return y.expand(-1, 3, -1, -1).contiguous()


def to_pixels(x: Tensor, dtype: np.dtype) -> np.ndarray:
    """What :func:`blindsr.images.from_float` makes of ``x`` (H, W, C), made where it lies: bytes travel faster. On a CPU some
    rows at a time, for the memory's sake."""
    if x.device.type == "cpu":
        pixels = np.empty(x.shape, dtype)
        for top in range(0, len(x), STRIP):
            pixels[top : top + STRIP] = images.from_float(x[top : top + STRIP].numpy(), dtype)
        return pixels
    largest = np.iinfo(dtype).max
    levels = x * largest
    if torch.isnan(levels.max()):
        raise images.ImageError("the image holds NaN; nothing sensible can be written")
    levels = levels.clamp_(0, largest).round_()
    if x.device.type == "mps":
        levels = levels.cpu()
    levels = levels.to(torch.uint8 if dtype == np.uint8 else torch.uint16)
    if x.device.type == "cuda":  # through page-locked memory
        return torch.empty(levels.shape, dtype=levels.dtype, pin_memory=True).copy_(levels).numpy()
    return levels.contiguous().cpu().numpy()


def window_of(pixels: np.ndarray, side: int) -> tuple[slice, slice]:
    """Rows and columns of the most textured part of a photo (H, W, C), at most ``side`` pixels high and wide: that with
    the largest gradient energy, to the nearest block of 16 pixels. Needs little memory beside the photo."""
    height, width = pixels.shape[:2]
    if max(height, width) <= side:
        return slice(0, height), slice(0, width)
    bands = []
    for top in range(0, height, BLOCK):
        gray = images.to_float(pixels[top : top + BLOCK + 1]).mean(2)
        across, down = np.square(np.diff(gray, axis=1)), np.square(np.diff(gray, axis=0))
        energy = np.zeros(-(-width // BLOCK) * BLOCK, np.float64)
        energy[: width - 1] += across[:BLOCK].sum(0)
        energy[:width] += down.sum(0)
        bands.append(energy.reshape(-1, BLOCK).sum(1))
    total = np.pad(np.stack(bands), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    rows, cols = (min(max(side // BLOCK, 1), n - 1) for n in total.shape)
    sums = total[rows:, cols:] - total[:-rows, cols:] - total[rows:, :-cols] + total[:-rows, :-cols]
    corner = np.unravel_index(int(sums.argmax()), sums.shape)
    top, left = (max(min(int(at) * BLOCK, n - side), 0) for at, n in zip(corner, (height, width)))
    return slice(top, min(top + side, height)), slice(left, min(left + side, width))


def enlarge_alpha(alpha: np.ndarray, scale: int, grid: Grid, rows: slice | None = None) -> np.ndarray:
    """Cubic enlargement of (H, W) uint8 or uint16 to (s·H, s·W) on ``grid``, or those ``rows`` of it alone: transparency is
    not a photo."""
    if rows is not None:
        first = max(rows.start // scale - CUBIC_REACH, 0)
        band = enlarge_alpha(alpha[first : -(-rows.stop // scale) + CUBIC_REACH], scale, grid)
        return band[rows.start - first * scale : rows.stop - first * scale]
    height, width = alpha.shape
    if grid == "centre":
        return cv2.resize(alpha, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC)
    if height > STRIP + 2 * CUBIC_REACH:  # the weights of a long side would take a gigabyte
        bands = [slice(top * scale, min(top + STRIP, height) * scale) for top in range(0, height, STRIP)]
        return np.concatenate([enlarge_alpha(alpha, scale, grid, band) for band in bands])
    if width > STRIP + 2 * CUBIC_REACH:
        return np.ascontiguousarray(enlarge_alpha(alpha.T, scale, grid).T)
    y = torch.from_numpy(np.ascontiguousarray(images.to_float(alpha)))[None, None]
    return images.from_float(bicubic_enlarge(y, scale, grid)[0, 0].numpy(), alpha.dtype)


def support(kernel: np.ndarray) -> tuple[int, int]:
    """Size of the centred box of odd sides that holds nearly all of a kernel (h, w), in absolute value."""
    mass = np.abs(kernel)
    mass = mass / mass.sum()
    sides = []
    for profile in (mass.sum(1), mass.sum(0)):
        centre = len(profile) // 2
        distance = np.abs(np.arange(len(profile)) - centre)
        inside = [profile[distance <= r].sum() for r in range(centre + 1)]
        sides.append(2 * next((r for r, share in enumerate(inside) if share >= SUPPORT), centre) + 1)
    return sides[0], sides[1]
