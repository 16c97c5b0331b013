"""Blur out of focus: a lens images a point as an even disk (geometric optics, an open aperture)."""

from __future__ import annotations

import numpy as np

from blindsr.limits import check_odd

_FINE = 16  # samples across a pixel


def disk(size: int, radius: float) -> np.ndarray:
    """An even disk of ``radius`` pixels, (size, size) float64 with sum 1; border pixels count by the area covered.

    Raises ValueError for a radius below 0.1, and for one that does not fit.
    """
    check_odd(size=size)
    if radius < 0.1:
        raise ValueError("the radius of a disk must be at least 0.1")
    if radius > size / 2:
        raise ValueError(f"a disk of radius {radius:g} does not fit a kernel of {size}×{size}")
    at = (np.arange(size * _FINE) + 0.5) / _FINE - size / 2
    inside = at[:, None] ** 2 + at**2 <= radius**2
    covered = inside.reshape(size, _FINE, size, _FINE).mean((1, 3))
    return covered / covered.sum()
