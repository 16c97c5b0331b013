"""The training loss: image, kernel and noise level, at every loop."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from blindsr.interfaces import Batch, Estimate, Iterate, Restoration
from blindsr.kernels.distance import kernel_distance
from blindsr.training.settings import LossConfig

BEST = 70  # dB: whatever lies closer to the truth counts as right
CUT = 12  # high-resolution pixels: the radius of the largest kernel of the shipped models


def uncounted(batch: Batch, uses_kernel: bool) -> int:
    """High-resolution pixels at each border that do not count. What was cut from a larger degraded picture is not circular, as
    the data step of a restorer that ``uses_kernel`` takes it to be."""
    return CUT if batch.k is None and uses_kernel else 0


def inside(x: Tensor, batch: Batch, uses_kernel: bool) -> tuple[Tensor, Tensor]:
    """Restored pictures ``x`` (B, 3, s·H, s·W) and the sharp ones, without the border that does not count."""
    n = uncounted(batch, uses_kernel)
    rows, cols = (slice(n, side - n) for side in x.shape[-2:])
    return x[..., rows, cols], batch.x[..., rows, cols]


def estimate_loss(estimate: Estimate | Iterate, k: Tensor, sigma: Tensor, config: LossConfig) -> Tensor:
    """Relative kernel error, absolute error of σ and of the doubt, weighted. Relative, because a narrow
    kernel has hundreds of times the energy of a wide one and would otherwise be all that is learned."""
    error = kernel_distance(estimate.kernel, k)
    loss = config.kernel * error.mean() + config.sigma * F.l1_loss(estimate.sigma, sigma)
    if estimate.doubt is not None:
        loss = loss + config.doubt * F.l1_loss(estimate.doubt, error.detach())
    return loss


def image_loss(iterate: Iterate, batch: Batch, config: LossConfig) -> Tensor:
    """L1 between the restored and the sharp pictures, and what the PSNR of each falls short of :data:`BEST`, weighted."""
    x, sharp = inside(iterate.x, batch, iterate.kernel is not None)
    loss = config.image * F.l1_loss(x, sharp)
    if config.psnr:
        error = (x - sharp).square().mean((1, 2, 3))
        loss = loss + config.psnr * (1 + error * 10 ** (BEST / 10)).log10().mean() * 10
    return loss


def restoration_loss(result: Restoration, batch: Batch, config: LossConfig) -> Tensor:
    """The sum over the loops, the last with weight 1 and the earlier ones with ``config.earlier_image`` and
    ``config.earlier``; the terms of the estimate count where a kernel was estimated and the true one is known."""
    total = torch.zeros((), device=batch.y.device)
    for i, iterate in enumerate(result.iterates):
        last = i == len(result.iterates) - 1
        image = 1.0 if last else config.earlier_image
        if image and config.judges_pictures:
            total = total + image * image_loss(iterate, batch, config)
        if iterate.code is not None and batch.k is not None:
            total = total + estimate_loss(iterate, batch.k, batch.sigma, config) * (1.0 if last else config.earlier)
    return total
