"""Gaussian blur of a photo that was then reduced.

A photo on the centre grid went through a resize, most often a bicubic one, and what made it soft are both, the blur and the
filter of the resize. An estimator that knows no such filter takes the two for one Gaussian. To a restorer that trusts its
kernel the difference tells: a Gaussian falls to nothing where the filter of a resize still passes half.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from blindsr.kernels.bicubic import bicubic_kernel
from blindsr.kernels.gaussian import gaussians
from blindsr.kernels.gaussian_fit import nearest_gaussian
from blindsr.ops.filtering import blur
from blindsr.ops.fourier import grid_shift, move

STEPS = 8  # after which widths stay the same to a hundredth of a pixel
NARROWEST = 1e-2  # pixels


def resized(k: Tensor, scale: int) -> Tensor:
    """What the Gaussians ``k`` (B, 1, h, h) stand for on the centre grid, centred as they are: Gaussians, and then bicubic
    reduction by ``scale``, to which they are nearest. Where they are narrower than the reduction alone, it is the answer.
    Taps may be negative, their sum is 1.

    The covariance of the first Gaussian is corrected by what the second one's lacks, until they agree."""
    found, filter_ = _covariance(k.cpu().double()), _reduction(scale, k.shape[-1])
    own, made = found, k.cpu().double()
    for _ in range(STEPS):
        own = own + found - _covariance(nearest_gaussian(made.clamp_min(0)))
        widths, axes = torch.linalg.eigh(own)
        widths = widths.clamp_min(NARROWEST**2)
        own = axes @ torch.diag_embed(widths) @ axes.mT
        angles = torch.atan2(axes[:, 0, 0], axes[:, 1, 0])  # of the first axis, from the columns to the rows
        first = gaussians(k.shape[-1], *widths.sqrt().T.numpy(), angles.numpy())
        made = blur(filter_.expand(len(k), -1, -1, -1), torch.from_numpy(first)[:, None])
    return made.to(k)


def _covariance(k: Tensor) -> Tensor:
    """Of kernels (B, 1, h, h) around their middle, rows first: (B, 2, 2)."""
    at = torch.arange(k.shape[-1], dtype=k.dtype) - k.shape[-1] // 2
    rows = (k * (at * at)[:, None]).sum((1, 2, 3))
    cols = (k * (at * at)).sum((1, 2, 3))
    both = (k * at[:, None] * at).sum((1, 2, 3))
    return torch.stack([rows, both, both, cols], dim=1).view(-1, 2, 2)


@cache
@torch.inference_mode(False)
def _reduction(scale: int, size: int) -> Tensor:
    """The kernel of bicubic reduction, centred, (1, 1, size, size) float64."""
    k = move(torch.from_numpy(bicubic_kernel(scale))[None, None], -grid_shift("centre", scale))
    k = F.pad(k, ((size - k.shape[-1]) // 2,) * 4)  # or cut
    return k / k.sum()
