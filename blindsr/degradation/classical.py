"""The classical degradation  y = (x ⊗ k)↓s + n  on the corner grid: for batches and for files.

Blur is a true convolution, circular; decimation keeps the upper-left pixel; the noise is white and
Gaussian. What is drawn is a kernel, a noise level, and whether the sample is rounded to 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blindsr import images, registry
from blindsr.interfaces import Batch, Degradation, Degraded
from blindsr.limits import check_rising, check_shares
from blindsr.ops.filtering import blur
from blindsr.ops.resize import decimate


def round_to_8_bits(y: Tensor) -> Tensor:
    """What a file of 8 bits keeps of ``y``: whole levels from 0 to 1."""
    return (y.clamp(0, 1) * 255).round() / 255


def degrade(x: Tensor, k: Tensor, scale: int) -> Tensor:
    """``x`` (B, C, H, W) with ``k`` (B, 1, h, w) -> (B, C, ⌈H/s⌉, ⌈W/s⌉), without noise."""
    return decimate(blur(x, k), scale)


def normal_by(rng: np.random.Generator) -> Callable[[torch.Size], Tensor]:
    """What draws numbers of mean 0 and variance 1 in a shape from ``rng``."""
    return lambda shape: torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


@dataclass(frozen=True)
class Drawn:
    """What makes a batch: kernels ``k`` (B, 1, h, w), the standard deviation of the ``noise`` (B,) in [0, 1], and which
    samples are ``rounded`` to 8 bits (B,)."""

    k: Tensor
    noise: Tensor
    rounded: Tensor

    @property
    def sigma(self) -> Tensor:
        """(B,) in [0, 1]: the noise and the error of rounding."""
        return torch.hypot(self.noise, self.rounded * images.rounding_noise(np.uint8))

    def to(self, device: torch.device) -> Drawn:
        """The same on ``device``."""
        return Drawn(*(t.to(device, non_blocking=True) for t in (self.k, self.noise, self.rounded)))

    def apply(self, x: Tensor, scale: int, normal: Callable[[torch.Size], Tensor]) -> Tensor:
        """Degrade ``x`` (B, C, H, W); ``normal`` draws numbers of mean 0 and variance 1 in a shape."""
        y = degrade(x, self.k, scale)
        y = y + normal(y.shape) * self.noise[:, None, None, None]
        return torch.where(self.rounded[:, None, None, None], round_to_8_bits(y), y)


@dataclass(frozen=True)
class ClassicalConfig:
    """``sigma_255`` is the range of the noise level on the 0–255 scale, drawn uniformly; a ``noiseless``
    share of the samples gets none, so that σ = 0 is learned well too. A share ``rounded`` of all is rounded to 8 bits, as
    in files, and what it is told of its noise holds the error of that: √(σ² + 1/12) on the 0–255 scale."""

    kernels: Any = field(metadata={"parse": registry.parse_component("kernels")})
    sigma_255: tuple[float, float] = (0.0, 25.0)
    noiseless: float = 0.3
    rounded: float = 0.0

    def __post_init__(self) -> None:
        check_rising(0, 255, sigma_255=self.sigma_255)
        check_shares(noiseless=self.noiseless, rounded=self.rounded)


@registry.register("degradation", "classical", ClassicalConfig)
class Classical(Degradation):
    """Draws kernels, noise levels and rounding, and applies them."""

    def __init__(self, config: ClassicalConfig):
        self.config = config
        self.kernels = registry.build(config.kernels)
        self.kernel_size = self.kernels.size

    def draw(self, n: int, rng: np.random.Generator) -> Drawn:
        """What ``n`` samples get."""
        low, high = self.config.sigma_255
        noise = rng.uniform(low, high, n) / 255
        noise[rng.random(n) < self.config.noiseless] = 0
        k = self.kernels.sample(n, rng).astype(np.float32)
        rounded = rng.random(n) < self.config.rounded if self.config.rounded else np.zeros(n, bool)
        return Drawn(torch.from_numpy(k)[:, None], torch.from_numpy(noise.astype(np.float32)), torch.from_numpy(rounded))

    def batch(self, x: Tensor, scale: int, rng: np.random.Generator, around: Tensor | None = None) -> Batch:
        """Degrade ``x`` (B, C, H, W), circularly: nothing is lost at the borders. What lies ``around`` it (B, C, H', W') is
        degraded alike and becomes the ``context``."""
        drawn, normal = self.draw(len(x), rng), normal_by(rng)
        context = None if around is None else drawn.apply(around, scale, normal)
        y = drawn.apply(x, scale, normal)
        return Batch(x, y, drawn.k, drawn.sigma, scale, context=context)

    def __call__(self, hr: np.ndarray, scale: int, rng: np.random.Generator) -> Degraded:
        """One sample from ``hr`` (H, W, C) float32 in [0, 1], cropped to a multiple of the scale.

        The record holds the state of ``rng``: :meth:`replay` makes the very same sample from it.
        """
        record = {"name": "classical", "scale": scale, "rng": rng.bit_generator.state}
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        x = torch.from_numpy(np.ascontiguousarray(hr.transpose(2, 0, 1)))[None]
        made = self.batch(x, scale, rng)
        kernel, sigma = made.k[0, 0].numpy(), float(made.sigma[0])
        record |= {"kernel": kernel.tolist(), "sigma_255": sigma * 255}
        return Degraded(made.y[0].numpy().transpose(1, 2, 0), hr, kernel, sigma, "corner", record)

    def replay(self, hr: np.ndarray, record: Mapping[str, Any]) -> Degraded:
        """The sample that ``record`` tells of, bit for bit, from the same ``hr`` under the same configuration."""
        bits = getattr(np.random, record["rng"]["bit_generator"])()
        bits.state = record["rng"]
        return self(hr, record["scale"], np.random.Generator(bits))
