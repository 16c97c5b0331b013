"""Decimation, its adjoint, and cubic resampling on a stated grid."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from blindsr.interfaces import Grid


def decimate(x: Tensor, scale: int) -> Tensor:
    """Keep the upper-left pixel of every scale×scale block: (…, H, W) -> (…, ⌈H/s⌉, ⌈W/s⌉)."""
    return x[..., ::scale, ::scale]


def keys_cubic(t: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel with a = −1/2 (Keys, 1981), as MATLAB's imresize uses it."""
    t = np.abs(t)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


@lru_cache(maxsize=16)
def cubic_matrix(n_in: int, n_out: int, ratio: float, offset: float) -> np.ndarray:
    """Weights (n_out, n_in) of a cubic resampling that reads output sample i at i/ratio + offset.

    A ``ratio`` below 1 stretches the cubic, which antialiases as MATLAB's imresize does; samples
    beyond the border are mirrored with the edge repeated, as there.
    """
    stretch = min(ratio, 1.0)
    centres = np.arange(n_out) / ratio + offset
    reach = int(np.ceil(2 / stretch)) + 1
    taps = np.floor(centres)[:, None] + np.arange(-reach, reach + 1)
    weights = keys_cubic((centres[:, None] - taps) * stretch)
    weights /= weights.sum(1, keepdims=True)
    period = 2 * n_in
    mirrored = taps.astype(int) % period
    mirrored = np.where(mirrored >= n_in, period - 1 - mirrored, mirrored)
    matrix = np.zeros((n_out, n_in))
    np.add.at(matrix, (np.arange(n_out)[:, None].repeat(taps.shape[1], 1), mirrored), weights)
    return matrix


def _apply(x: Tensor, size: tuple[int, int], ratio: float, offset: float) -> Tensor:
    rows = torch.as_tensor(cubic_matrix(x.shape[-2], size[0], ratio, offset), dtype=x.dtype, device=x.device)
    cols = torch.as_tensor(cubic_matrix(x.shape[-1], size[1], ratio, offset), dtype=x.dtype, device=x.device)
    with torch.autocast(x.device.type, enabled=False):  # a resampled picture bears no bfloat16
        return rows @ x @ cols.T


def bicubic_enlarge(y: Tensor, scale: int, grid: Grid) -> Tensor:
    """Cubic enlargement of ``y`` (…, H, W) to (…, s·H, s·W), sampled on ``grid``.

    On the corner grid high-resolution pixel j lies at j/s among the low-resolution ones; on the centre
    grid at (j + 1/2)/s − 1/2, as in any ordinary resize. A corner-grid image enlarged on the centre
    grid lies (s−1)/2 pixels off and loses 2–8 dB by that alone.
    """
    offset = 0.0 if grid == "corner" else 0.5 / scale - 0.5
    return _apply(y, (y.shape[-2] * scale, y.shape[-1] * scale), float(scale), offset)


def bicubic_shrink(x: Tensor, scale: int) -> Tensor:
    """Antialiased cubic reduction by an integer (MATLAB's imresize): (…, H, W) -> (…, ⌈H/s⌉, ⌈W/s⌉), centre grid."""
    size = (-(-x.shape[-2] // scale), -(-x.shape[-1] // scale))
    return _apply(x, size, 1 / scale, scale / 2 - 0.5)


def nearest_enlarge(y: Tensor, scale: int) -> Tensor:
    """Repeat every pixel scale×scale times."""
    return F.interpolate(y, scale_factor=scale, mode="nearest")
