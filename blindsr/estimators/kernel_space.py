"""A small network whose pictures are kernels: it turns evidence into a correction of a kernel.

Blur kernels are pictures of 25 pixels a side; convolutions at that size cost next to nothing, move with the
kernel, and learn from far fewer examples than a perceptron with an output for every pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ModulatedBlock(nn.Module):
    """Dilated residual block; a vector tells how its channels are scaled and shifted (FiLM, Perez et al., 2018)."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, f: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return f + self.conv2(F.gelu(self.conv1(f) * (1 + scale) + shift))


class KernelNet(nn.Module):
    """``maps`` (B, n, h, w) and what is ``told`` (B, m) -> a picture (B, 1, h, w), zero when untrained, and the
    mean and largest features (B, 2·channels) for whatever else is to be read from them."""

    def __init__(self, maps: int, told: int, channels: int = 40, dilations: tuple[int, ...] = (1, 2, 4, 2, 1)):
        super().__init__()
        self.head = nn.Conv2d(maps + 3, channels, 3, padding=1)  # 3: where a pixel lies in the kernel
        self.blocks = nn.ModuleList(ModulatedBlock(channels, d) for d in dilations)
        self.modulate = nn.Sequential(
            nn.Linear(told, channels), nn.GELU(), nn.Linear(channels, 2 * channels * len(dilations))
        )
        self.tail = nn.Conv2d(channels, 1, 3, padding=1)
        for block in self.blocks:
            block.conv2.weight.data.mul_(0.3)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, maps: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        f = self.head(torch.cat([maps, coordinates(maps)], dim=1))
        settings = self.modulate(told)[..., None, None].chunk(2 * len(self.blocks), dim=1)
        for block, scale, shift in zip(self.blocks, settings[::2], settings[1::2]):
            f = block(f, scale, shift)
        f = F.gelu(f)
        return self.tail(f), torch.cat([f.mean((-2, -1)), f.amax((-2, -1))], dim=1)


def coordinates(like: Tensor) -> Tensor:
    """Row, column and squared radius of every pixel, (B, 3, h, w), the edges at ±1."""
    rows, cols = (torch.linspace(-1, 1, n, device=like.device, dtype=like.dtype) for n in like.shape[-2:])
    rows, cols = torch.meshgrid(rows, cols, indexing="ij")
    return torch.stack([rows, cols, rows**2 + cols**2]).expand(len(like), -1, -1, -1)
