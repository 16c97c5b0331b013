"""The training loss: image, kernel and noise level, at every loop."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from blindsr.evaluation.metrics import kernel_distance
from blindsr.interfaces import Estimate, Iterate, Restoration
from blindsr.training.data import Batch
from blindsr.training.settings import LossConfig


def estimate_loss(estimate: Estimate | Iterate, batch: Batch, config: LossConfig) -> Tensor:
    """Relative kernel error, absolute error of σ and of the doubt, weighted. Relative, because a narrow
    kernel has hundreds of times the energy of a wide one and would otherwise be all that is learned."""
    error = kernel_distance(estimate.kernel, batch.k)
    loss = config.kernel * error.mean() + config.sigma * F.l1_loss(estimate.sigma, batch.sigma)
    if estimate.doubt is not None:
        loss = loss + config.doubt * F.l1_loss(estimate.doubt, error.detach())
    return loss


def restoration_loss(result: Restoration, batch: Batch, config: LossConfig) -> Tensor:
    """The sum over the loops, the last with weight 1 and the earlier ones with ``config.earlier``; the
    terms of the estimate count where a code was estimated."""
    total = torch.zeros((), device=batch.y.device)
    for i, iterate in enumerate(result.iterates):
        loss = config.image * F.l1_loss(iterate.x, batch.x) if config.image else torch.zeros_like(total)
        if iterate.code is not None:
            loss = loss + estimate_loss(iterate, batch, config)
        total = total + loss * (1.0 if i == len(result.iterates) - 1 else config.earlier)
    return total
