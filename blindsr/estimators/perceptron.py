"""The small perceptrons of the estimators, and the standardised features that they read."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """Shifts and scales every feature by its mean and deviation over the first ``batches`` training batches,
    and clips what is then beyond ±``limit``.

    Unlike batch normalisation it never looks at the present batch's statistics, and it freezes: later
    stages with small batches see the same function. Log spectra and codes differ in scale by orders of
    magnitude, and a perceptron learns several times faster from them so.
    """

    mean: Tensor
    square: Tensor
    seen: Tensor

    def __init__(self, features: int, batches: int = 200, limit: float = 8.0):
        super().__init__()
        self.batches, self.limit = batches, limit
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("square", torch.ones(features))
        self.register_buffer("seen", torch.zeros(()))

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of every feature, (features,); ones before any training."""
        return (self.square - self.mean.square()).clamp_min(1e-8).sqrt()

    def forward(self, f: Tensor) -> Tensor:
        """(B, features) -> (B, features)."""
        if self.training and self.seen < self.batches:
            self._learn(f.detach())
        return ((f - self.mean) / self.deviation.clamp_min(1e-4)).clamp(-self.limit, self.limit)

    @torch.no_grad()
    def _learn(self, f: Tensor) -> None:
        moments = torch.stack([f.mean(0), f.square().mean(0)])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(moments)  # every process must come to know the same
            moments /= torch.distributed.get_world_size()
        if torch.isfinite(moments).all():
            self.seen += 1
            self.mean.lerp_(moments[0], 1 / self.seen)
            self.square.lerp_(moments[1], 1 / self.seen)


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Three layers, (B, inputs) -> (B, outputs)."""
    return nn.Sequential(nn.Linear(inputs, hidden), *later_layers(hidden, outputs))


def later_layers(hidden: int, outputs: int) -> list[nn.Module]:
    """All of a :func:`perceptron` but its first layer."""
    return [nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, outputs)]
