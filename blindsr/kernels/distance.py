"""How far a kernel is from another."""

from __future__ import annotations

from torch import Tensor


def kernel_distance(k: Tensor, reference: Tensor) -> Tensor:
    """Relative error ‖k − k*‖₂ / ‖k*‖₂ of kernels (B, 1, h, w): (B,). Not aligned: a shift counts."""
    return (k - reference).flatten(1).norm(dim=1) / reference.flatten(1).norm(dim=1)
