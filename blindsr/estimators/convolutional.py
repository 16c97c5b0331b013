"""The first kernel and the noise level, from the spectrum and from the edges of the low-resolution photo.

What :mod:`blindsr.estimators.spectral` reads has no phase: a kernel and its half-turn look alike to it, and of camera
shake it knows little more than the extent. Edges have it: across each of them the photo shows the kernel's
projection. Convolutions describe the neighbourhood of every pixel, attention picks those that say something, and
a perceptron reads the averages over the photo beside the spectrum. (Kernels from pooled convolutional features: Schuler
et al., "Learning to Deblur", TPAMI 2016; spectra beside them: Chakrabarti, "A Neural Approach to Blind Motion
Deblurring", ECCV 2016.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blindsr.estimators.spectral import SpectralConfig, SpectralEstimator, pad_to
from blindsr.interfaces import SCALES
from blindsr.limits import check_least
from blindsr.ops.filtering import luma
from blindsr.registry import register

FAINT = 0.004  # contrast below which a photo shows noise and rounding, not edges


@dataclass(frozen=True)
class ConvolutionalConfig(SpectralConfig):
    """Beside the options of the spectral estimator: ``channels`` at full, half and a quarter of the resolution, residual
    ``blocks`` at each, and the number of averages (``heads``) that are taken of the last."""

    channels: tuple[int, int, int] = (32, 64, 96)
    blocks: tuple[int, int, int] = (1, 2, 3)
    heads: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(1, heads=self.heads, **{"every number of channels": min(self.channels)})
        check_least(0, **{"every number of blocks": min(self.blocks)})


class Block(nn.Module):
    def __init__(self, channels: int, dilation: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.bias)
        self.conv2.weight.data.mul_(0.3)

    def forward(self, f: Tensor) -> Tensor:
        return f + self.conv2(F.gelu(self.conv1(F.gelu(f))))


class PooledFeatures(nn.Module):
    """(B, 1, H, W) and the scale, one-hot (n,) -> averages over the picture, (B, (heads + 1)·channels[-1])."""

    def __init__(self, channels: tuple[int, int, int], blocks: tuple[int, int, int], heads: int, told: int):
        super().__init__()
        first, *others = channels
        self.head = nn.Conv2d(1, first, 5, padding=2)
        self.scale = nn.Linear(told, first)
        stages = [nn.Sequential(*(Block(first) for _ in range(blocks[0])))]
        for below, above, n in zip(channels, others, blocks[1:]):
            dilations = [1 + i % 2 for i in range(n)]
            stages.append(nn.Sequential(nn.Conv2d(below, above, 4, 2, 1), *(Block(above, d) for d in dilations)))
        self.body = nn.Sequential(*stages)
        self.attention = nn.Conv2d(channels[-1], heads, 1)
        self.norm = nn.LayerNorm((heads + 1) * channels[-1])

    def forward(self, picture: Tensor, scale: Tensor) -> Tensor:
        f = F.gelu(self.body(self.head(picture) + self.scale(scale)[:, None, None]))
        weights = self.attention(f).float().flatten(2).softmax(2)
        f = f.float().flatten(2)
        averages = torch.cat([f.mean(2, keepdim=True), f @ weights.transpose(1, 2)], dim=2)
        with torch.autocast(picture.device.type, enabled=False):
            return self.norm(averages.flatten(1))


@register("estimator", "convolutional", ConvolutionalConfig)
class ConvolutionalEstimator(SpectralEstimator):
    """``y`` (B, 3, H, W) of any size; small ones are mirrored up to one window."""

    config: ConvolutionalConfig

    def __init__(self, config: ConvolutionalConfig = ConvolutionalConfig()):
        super().__init__(config, others=(config.heads + 1) * config.channels[-1])
        self.pooled = PooledFeatures(config.channels, config.blocks, config.heads, len(SCALES))

    def others(self, y: Tensor, which: Tensor) -> tuple[Tensor, ...]:
        picture = pad_to(luma(y), self.config.window)
        across, down = picture.diff(dim=-1).square(), picture.diff(dim=-2).square()
        contrast = (across.mean((-3, -2, -1)) + down.mean((-3, -2, -1))).sqrt()
        picture = (picture - picture.mean((-2, -1), keepdim=True)) / (contrast + FAINT)[:, None, None, None]
        return (self.pooled(picture / 4, which[0]),)
