"""The width of a kernel: one number that people can read."""

from __future__ import annotations

import numpy as np


def kernel_width(kernel: np.ndarray) -> float:
    """Root mean square radius per direction of a kernel (h, w), in pixels: the width of a Gaussian kernel, 0 for
    a Dirac. Negative taps count as zero."""
    weights = np.clip(np.asarray(kernel, np.float64), 0, None)
    weights = weights / weights.sum()
    rows, cols = np.indices(weights.shape)
    variance = sum(
        (weights * (axis - (weights * axis).sum()) ** 2).sum() for axis in (rows.astype(float), cols.astype(float))
    )
    return float(np.sqrt(variance / 2))
