"""The classical degradation  y = (x ⊗ k)↓s + n  on the corner grid: for batches and for files.

Blur is a true convolution, circular; decimation keeps the upper-left pixel; the noise is white and
Gaussian. What is drawn is a kernel and a noise level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blindsr import registry
from blindsr.interfaces import Batch, Degradation, Degraded
from blindsr.ops.filtering import blur
from blindsr.ops.resize import decimate


def degrade(x: Tensor, k: Tensor, scale: int, noise: Tensor | None = None) -> Tensor:
    """``x`` (B, C, H, W) with ``k`` (B, 1, h, w) -> (B, C, ⌈H/s⌉, ⌈W/s⌉); ``noise`` is added as it is."""
    y = decimate(blur(x, k), scale)
    return y if noise is None else y + noise


@dataclass(frozen=True)
class ClassicalConfig:
    """``sigma_255`` is the range of the noise level on the 0–255 scale, drawn uniformly; a ``noiseless``
    share of the samples gets none, so that σ = 0 is learned well too."""

    kernels: Any = field(metadata={"parse": registry.parse_component("kernels")})
    sigma_255: tuple[float, float] = (0.0, 25.0)
    noiseless: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.sigma_255[0] <= self.sigma_255[1] <= 255:
            raise ValueError("sigma_255 must be an ascending pair within 0 and 255")
        if not 0 <= self.noiseless <= 1:
            raise ValueError("noiseless is a share between 0 and 1")


@registry.register("degradation", "classical", ClassicalConfig)
class Classical(Degradation):
    """Draws kernels and noise levels, and applies them."""

    def __init__(self, config: ClassicalConfig):
        self.config = config
        self.kernels = registry.build(config.kernels)
        self.kernel_size = self.kernels.size

    def draw(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """``n`` kernels (n, h, w) and noise levels (n,) in [0, 1], float32."""
        low, high = self.config.sigma_255
        sigma = rng.uniform(low, high, n) / 255
        sigma[rng.random(n) < self.config.noiseless] = 0
        return self.kernels.sample(n, rng).astype(np.float32), sigma.astype(np.float32)

    def batch(self, x: Tensor, scale: int, rng: np.random.Generator) -> Batch:
        """Degrade ``x`` (B, C, H, W), circularly: nothing is lost at the borders."""
        kernels, sigma = (torch.from_numpy(a) for a in self.draw(len(x), rng))
        k = kernels[:, None]
        return Batch(x, self.apply(x, k, sigma, scale, rng), k, sigma, scale)

    def apply(self, x: Tensor, k: Tensor, sigma: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
        """Degrade ``x`` (B, C, H, W) by given kernels (B, 1, h, w) and noise levels (B,); ``rng`` draws the noise."""
        y = degrade(x, k, scale)
        noise = torch.from_numpy(rng.standard_normal(y.shape, dtype=np.float32))
        return y + noise * sigma[:, None, None, None]

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
