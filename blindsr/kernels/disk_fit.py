"""Disks as tensors, and the one that a kernel nearly is."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from blindsr.kernels.defocus import disk

SMALLEST, STEP = 0.8, 0.1  # radii that are tried, in pixels


def disks(radii: Tensor, size: int) -> Tensor:
    """Disks of these ``radii`` (B,) in pixels, (B, 1, size, size) with sum 1, as :func:`blindsr.kernels.defocus.disk` makes
    them; the largest that fits for one that does not."""
    made = [disk(size, min(max(float(radius), SMALLEST), size / 2)) for radius in radii]
    return torch.from_numpy(np.stack(made)).to(radii)[:, None]


@cache
def all_disks(size: int) -> tuple[Tensor, Tensor]:
    """The radii (R,) that are tried, and disks of them, (R, 1, size, size) float64."""
    radii = torch.from_numpy(np.arange(SMALLEST, size / 2, STEP))
    return radii, disks(radii, size)


def nearest_disk(k: Tensor) -> tuple[Tensor, Tensor]:
    """The radius (B,) in pixels of the centred disk d that is nearest to each kernel ``k`` (B, 1, size, size), and how far
    that is, ``min ‖k − A d‖ / ‖k‖`` (B,): 0 for a disk, 0.2 to 0.4 for a Gaussian, near 1 for a long path. The amplitude A
    takes up what lies outside. On the CPU and in float64, wherever ``k`` lies."""
    radii, row = all_disks(k.shape[-1])
    row, target = F.normalize(row.flatten(1)), k.flatten(1).cpu().double()
    share, at = ((target @ row.T).clamp_min(0).square() / target.square().sum(1, keepdim=True).clamp_min(1e-30)).max(1)
    return radii[at].to(k), (1 - share).clamp_min(0).sqrt().to(k)
