"""How far a kernel is from another, and what that may cost."""

from __future__ import annotations

from torch import Tensor


def kernel_distance(k: Tensor, reference: Tensor) -> Tensor:
    """Relative error ‖k − k*‖₂ / ‖k*‖₂ of kernels (B, 1, h, w): (B,). Not aligned: a shift counts."""
    return (k - reference).flatten(1).norm(dim=1) / reference.flatten(1).norm(dim=1)


def kernel_risk(doubt: float, scale: int) -> float:
    """What not knowing the kernel may cost, as a number to compare results by: the relative error that is expected of it
    (its doubt) over the scale, for a wrong kernel costs most where least is to be invented."""
    return doubt / scale
