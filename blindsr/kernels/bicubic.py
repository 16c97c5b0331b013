"""Kernels that stand for bicubic reduction: ``(x ⊗ k)↓s`` equals what imresize makes of ``x``.

Decimation keeps the upper-left pixel of every block while a resize reads the middle of it, so these
kernels lie (s−1)/2 pixels off their centre, towards the upper left; and they have negative taps.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from blindsr.interfaces import SCALES, BlindSRError
from blindsr.ops.resize import bicubic_shrink, keys_cubic

SIZE = 25


def _check_scale(scale: int) -> None:
    if scale not in SCALES:
        raise BlindSRError(f"no bicubic kernel for scale {scale}; choose one of {', '.join(map(str, SCALES))}")


@cache
def _exact(scale: int) -> np.ndarray:
    offsets = np.arange(SIZE) - SIZE // 2
    # Output i reads x at i·s + (s−1)/2; a convolution fetches x at i·s − offset.
    taps = keys_cubic((offsets + (scale - 1) / 2) / scale)
    taps /= taps.sum()
    kernel = np.outer(taps, taps)
    kernel.setflags(write=False)
    return kernel


def bicubic_kernel(scale: int) -> np.ndarray:
    """The kernel of antialiased bicubic reduction (MATLAB's imresize) by ``scale``: (25, 25) float64, sum 1.

    It may be negative and lies off centre (see above). Exact: the stretched cubic of Keys, sampled where
    imresize samples it; :func:`fit_bicubic_kernel` finds the same from data. At scale 1 it is a Dirac.

    Raises BlindSRError for a scale other than 1, 2, 3 and 4.
    """
    _check_scale(scale)
    return _exact(scale).copy()


def _random_field(side: int, rng: np.random.Generator) -> np.ndarray:
    """A periodic random image (side, side) whose amplitude falls as 1/f, as that of natural images does."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = np.inf
    return np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) / frequency, s=(side, side))


def fit_bicubic_kernel(scale: int, images: list[np.ndarray] | None = None, seed: int = 0) -> np.ndarray:
    """The same kernel found from data: the minimiser of ``‖(x ⊗ k)↓s − y‖²``, y being the bicubic reduction of x.

    This is the data-driven fit of Zhang et al. (CVPR 2020), section 3.1, solved as one linear least-squares
    problem for the 625 taps. ``images`` are gray (H, W) arrays in [0, 1]; None takes random
    fields with a 1/f spectrum made from ``seed``. Only outputs that no border touches are used.

    Returns (25, 25) float64. Raises BlindSRError for a wrong scale or images too small to determine the kernel.
    """
    _check_scale(scale)
    if images is None:
        rng = np.random.default_rng(seed)
        images = [_random_field(48 * scale + 2 * SIZE, rng) for _ in range(2)]
    normal, right, rows = np.zeros((SIZE**2, SIZE**2)), np.zeros(SIZE**2), 0
    for image in images:
        x = np.asarray(image, np.float64)
        y = bicubic_shrink(torch.from_numpy(x)[None, None], scale)[0, 0].numpy()
        margin = -(-SIZE // scale)
        inner = y[margin:-margin, margin:-margin]
        if inner.size == 0:
            raise BlindSRError(f"an image of {x.shape[0]}×{x.shape[1]} is too small for the fit; use larger ones")
        patches = np.lib.stride_tricks.sliding_window_view(x, (SIZE, SIZE))
        first = margin * scale - SIZE // 2
        patches = patches[first::scale, first::scale][: inner.shape[0], : inner.shape[1]]
        # A convolution meets its patch turned by half a turn.
        design = patches[..., ::-1, ::-1].reshape(-1, SIZE**2)
        normal += design.T @ design
        right += design.T @ inner.ravel()
        rows += len(design)
    if rows < SIZE**2:
        raise BlindSRError(f"{rows} pixels cannot determine a kernel of {SIZE}×{SIZE}; use more or larger images")
    return np.linalg.solve(normal, right).reshape(SIZE, SIZE)
