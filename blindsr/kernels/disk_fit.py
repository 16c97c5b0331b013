"""Disks as tensors, and the one that a kernel nearly is."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from blindsr.kernels.defocus import disk

SMALLEST, STEP = 0.8, 0.1  # radii that are tried, in pixels


def disks(radii: Tensor, size: int) -> Tensor:
    """Disks of these ``radii`` (B,) in pixels, (B, 1, size, size) with sum 1, as :func:`blindsr.kernels.defocus.disk` makes
    them; the largest that fits for one that does not."""
    made = [disk(size, min(max(float(radius), SMALLEST), size / 2)) for radius in radii]
    return torch.from_numpy(np.stack(made)).to(radii)[:, None]


def nearest_disk(k: Tensor) -> tuple[Tensor, Tensor]:
    """The radius (B,) in pixels of the centred disk d that is nearest to each kernel ``k`` (B, 1, size, size), and how far
    that is, ``min ‖k − A d‖ / ‖k‖`` (B,): 0 for a disk, 0.2 to 0.4 for a Gaussian, near 1 for a long path. The amplitude A
    takes up what lies outside. On the CPU and in float64, wherever ``k`` lies."""
    radii, row = _row(k.shape[-1])
    target = k.flatten(1).cpu().double()
    share, at = ((target @ row.T).clamp_min(0).square() / target.square().sum(1, keepdim=True).clamp_min(1e-30)).max(1)
    return radii[at].to(k), (1 - share).clamp_min(0).sqrt().to(k)


@cache
def _row(size: int) -> tuple[Tensor, Tensor]:
    """Radii (R,), and disks of them, (R, size²), of unit norm."""
    radii = np.arange(SMALLEST, size / 2, STEP)
    row = torch.from_numpy(np.stack([disk(size, radius).ravel() for radius in radii]))
    return torch.from_numpy(radii), row / row.norm(dim=1, keepdim=True)
