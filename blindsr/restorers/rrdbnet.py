"""RRDBNet: a trained network from small to large that is told neither kernel nor noise level.

    dense block   x + 0.2 · F(x)             five convolutions, each of which sees the outputs of all before it
    RRDB          x + 0.2 · D₃(D₂(D₁(x)))    three dense blocks
    network       features, the RRDBs and a skip over all of them, ×2 nearest neighbour as often as needed, colours

The generator of ESRGAN (Wang et al., ECCV Workshops 2018, section 3.1; no batch normalisation), which BSRNet and
BSRGAN train on shuffled degradations (Zhang et al., ICCV 2021). What a blur or a noise looks like is in the weights:
a photo of another kind than those of its training gets what the training made usual.

Modules are named as in the published files, whose state_dict then fits as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blindsr.interfaces import Restorer
from blindsr.ops.resize import nearest_enlarge
from blindsr.registry import register

RESIDUAL = 0.2  # share of every branch that is added: the deep sum stays calm without normalisation
START = 0.1  # of Kaiming's initial weights on the branches, for the same reason


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def conv(given: int, made: int) -> nn.Conv2d:
    return nn.Conv2d(given, made, 3, padding=1)


class DenseBlock(nn.Module):
    """(B, channels, H, W) -> the same."""

    def __init__(self, channels: int, growth: int):
        super().__init__()
        self.conv1 = conv(channels, growth)
        self.conv2 = conv(channels + growth, growth)
        self.conv3 = conv(channels + 2 * growth, growth)
        self.conv4 = conv(channels + 3 * growth, growth)
        self.conv5 = conv(channels + 4 * growth, channels)
        for layer in self.children():
            nn.init.kaiming_normal_(layer.weight, a=0.2)
            layer.weight.data.mul_(START)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat([seen, leaky(layer(seen))], dim=1)
        return x + RESIDUAL * self.conv5(seen)


class RRDB(nn.Module):
    """Residual in residual: three dense blocks and a skip over them, (B, channels, H, W) -> the same."""

    def __init__(self, channels: int, growth: int):
        super().__init__()
        self.RDB1 = DenseBlock(channels, growth)
        self.RDB2 = DenseBlock(channels, growth)
        self.RDB3 = DenseBlock(channels, growth)

    def forward(self, x: Tensor) -> Tensor:
        return x + RESIDUAL * self.RDB3(self.RDB2(self.RDB1(x)))


@dataclass(frozen=True)
class RRDBNetConfig:
    """The defaults are the published ×4 model, 16,697,987 parameters. ``channels`` are carried through ``blocks``
    RRDBs, whose convolutions add ``growth`` each; ``scale`` is the only one that it serves, 2 or 4."""

    channels: int = 64
    blocks: int = 23
    growth: int = 32
    scale: int = 4

    def __post_init__(self) -> None:
        if self.scale not in (2, 4):
            raise ValueError(f"scale must be 2 or 4, not {self.scale}")
        if min(self.channels, self.blocks, self.growth) < 1:
            raise ValueError("channels, blocks and growth must be at least 1")


@register("restorer", "rrdbnet", RRDBNetConfig)
class RRDBNet(Restorer):
    """See the module's first lines; tensors and units as in :mod:`blindsr.interfaces`."""

    n_iterations = 1
    uses_kernel = False

    def __init__(self, config: RRDBNetConfig = RRDBNetConfig()):
        super().__init__()
        channels = config.channels
        self.scales = (config.scale,)
        self.conv_first = conv(3, channels)
        self.RRDB_trunk = nn.Sequential(*(RRDB(channels, config.growth) for _ in range(config.blocks)))
        self.trunk_conv = conv(channels, channels)
        self.upconv1 = conv(channels, channels)
        if config.scale == 4:
            self.upconv2 = conv(channels, channels)
        self.HRconv = conv(channels, channels)
        self.conv_last = conv(channels, 3)

    def forward(
        self,
        y: Tensor,
        k: Tensor | None = None,
        sigma: Tensor | None = None,
        scale: int | None = None,
        x0: Tensor | None = None,
        iterations: range | None = None,
        shift: float = 0.0,
        doubt: Tensor | None = None,
    ) -> Tensor:
        """Restore ``y`` (B, 3, H, W) to (B, 3, s·H, s·W); of the rest only ``scale`` counts (None: its own).

        Raises BlindSRError for another scale than its own.
        """
        (own,) = self.scales
        self.check_scale(own if scale is None else scale)
        features = self.conv_first(y)
        features = features + self.trunk_conv(self.RRDB_trunk(features))
        features = leaky(self.upconv1(nearest_enlarge(features, 2)))
        if own == 4:
            features = leaky(self.upconv2(nearest_enlarge(features, 2)))
        return self.conv_last(leaky(self.HRconv(features))).to(y.dtype)
