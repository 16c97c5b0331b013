"""A U-Net as discriminator: a logit for every pixel, from its neighbourhood at four resolutions.

Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", ICCVW 2021, section
3.4 and figure 6: spectral norm everywhere but in the first and the last convolution, skips that are added. The
idea of a logit for every pixel is that of Schönfeld et al., "A U-Net Based Discriminator for Generative Adversarial
Networks", CVPR 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from blindsr.registry import register
from blindsr.training.discriminators.base import Discriminator

DEPTH = 3  # times the resolution is halved


@dataclass(frozen=True)
class UNetConfig:
    """``channels`` at full resolution, doubled by each of the three halvings."""

    channels: int = 64

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ValueError("channels must be at least 1")


def conv(inside: int, outside: int, size: int = 3, stride: int = 1) -> nn.Module:
    """Spectrally normalised, without a bias."""
    return spectral_norm(nn.Conv2d(inside, outside, size, stride, padding=1, bias=False))


@register("discriminator", "unet", UNetConfig)
class UNet(Discriminator):
    """(B, 3, H, W) -> (B, 1, H, W), any H and W of at least ``smallest``."""

    smallest = 2**DEPTH

    def __init__(self, config: UNetConfig):
        super().__init__()
        widths = [config.channels * 2**i for i in range(DEPTH + 1)]
        pairs = list(zip(widths, widths[1:]))
        self.head = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList(conv(a, b, size=4, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(conv(b, a) for a, b in reversed(pairs))
        self.body = nn.ModuleList(conv(widths[0], widths[0]) for _ in range(2))
        self.tail = nn.Conv2d(widths[0], 1, 3, padding=1)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        seen = [F.leaky_relu(self.head(x), 0.2)]
        for down in self.down:
            seen.append(F.leaky_relu(down(seen[-1]), 0.2))
        x, skips = seen[-1], seen[-2::-1]
        for up, skip in zip(self.up, skips):
            # To the size of the skip rather than by 2: an odd side was rounded down.
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = F.leaky_relu(up(x), 0.2) + skip
            seen.append(x)
        for body in self.body:
            x = F.leaky_relu(body(x), 0.2)
            seen.append(x)
        return *seen, self.tail(x)
