"""How far a kernel is from another, and what that may cost."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def kernel_distance(k: Tensor, reference: Tensor) -> Tensor:
    """Relative error ‖k − k*‖₂ / ‖k*‖₂ of kernels (B, 1, h, w) of odd sides: (B,). Not aligned: a shift counts."""
    k, reference = same_size(k, reference)
    return (k - reference).flatten(1).norm(dim=1) / reference.flatten(1).norm(dim=1)


def same_size(*kernels: Tensor) -> list[Tensor]:
    """Kernels (…, h, w) of odd sides with zeros around them, so that all are of the largest size."""
    height, width = (max(k.shape[d] for k in kernels) for d in (-2, -1))
    pads = [((width - k.shape[-1]) // 2, (height - k.shape[-2]) // 2) for k in kernels]
    return [F.pad(k, (w, w, h, h)) for k, (w, h) in zip(kernels, pads)]


def kernel_risk(doubt: float, scale: int) -> float:
    """What not knowing the kernel may cost, as a number to compare results by: the relative error that is expected of it
    (its doubt) over the scale, for a wrong kernel costs most where least is to be invented."""
    return doubt / scale
