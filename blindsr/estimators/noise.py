"""The classical estimate of the noise level, from the finest diagonal wavelet coefficients.

It needs no training: it serves published weights, which know no noise level of their own, and stands
beside the learned estimate in tables.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Daubechies' high-pass filter with two vanishing moments, of unit norm: ramps vanish, white noise keeps its level.
_ROOT3 = 3**0.5
DB2_HIGH = tuple(v / (4 * 2**0.5) for v in (1 - _ROOT3, _ROOT3 - 3, 3 + _ROOT3, -1 - _ROOT3))

NORMAL_MAD = 0.6745  # median of |n| for a standard normal n
ENOUGH = 64  # fewer usable coefficients than this say nothing


def diagonal_details(y: Tensor) -> Tensor:
    """Finest diagonal (HH) coefficients, at every position: (B, C, H, W) -> (B, C, H−3, W−3)."""
    high = y.new_tensor(DB2_HIGH)
    channels = y.shape[1]
    rows = high.view(1, 1, 4, 1).expand(channels, 1, 4, 1)
    cols = high.view(1, 1, 1, 4).expand(channels, 1, 1, 4)
    return F.conv2d(F.conv2d(y, rows, groups=channels), cols, groups=channels)


def estimate_noise(y: Tensor) -> Tensor:
    """Standard deviation of white Gaussian noise in ``y`` (B, C, H, W) in [0, 1]: ``sigma`` (B,), same scale.

    ``median |d| / 0.6745`` over the finest diagonal coefficients ``d`` of all channels (Donoho and
    Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994, section 4.2).
    Coefficients that touch a clipped pixel (exactly 0 or 1) carry no noise and are left out where
    enough others remain. Texture raises the estimate; 8-bit rounding alone gives about 0.3/255.
    A picture smaller than 4×4 gives 0.
    """
    if min(y.shape[-2:]) < 4:
        return y.new_zeros(y.shape[0])
    y = y if y.dtype == torch.float64 else y.float()
    with torch.autocast(y.device.type, enabled=False):  # bfloat16 is coarser than the noise
        details = diagonal_details(y).abs()
    clipped = ((y == 0) | (y == 1)).to(y.dtype)
    usable = F.max_pool2d(clipped, 4, stride=1) == 0
    return torch.stack([_median(d, u) for d, u in zip(details, usable)]) / NORMAL_MAD


def _median(details: Tensor, usable: Tensor) -> Tensor:
    kept = details[usable]
    return (kept if kept.numel() >= max(ENOUGH, details.numel() // 20) else details).median()
