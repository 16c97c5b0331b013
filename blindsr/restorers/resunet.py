"""ResUNet: the learned prior of USRNet, a U-Net of residual blocks without biases.

Four scales; two residual blocks on each on the way down, two in the middle, two on each on the way
up; 2×2 strided and transposed convolutions between them and additive skips (Zhang et al., CVPR 2020,
section 4.3). The fourth input channel carries the denoising strength.

The few channels of a small network at full resolution leave processors idle. With ``fold`` 2 the network works on blocks of
2×2 pixels instead, as on so many channels (pixel shuffle: Shi et al., "Real-Time Single Image and Video Super-Resolution
Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016): a quarter of the pixels, and more channels for the
same time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(F.relu_(self.conv1(x))).add_(x)  # in place: at full size, memory is what takes the time


class ResUNet(nn.Module):
    """(B, in_channels, H, W) -> (B, out_channels, H, W), any H and W."""

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 3,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        blocks: int = 2,
        fold: int = 1,
    ):
        super().__init__()
        self.in_channels, self.fold = in_channels, fold

        def stack(n: int) -> list[nn.Module]:
            return [ResBlock(n) for _ in range(blocks)]

        pairs = list(zip(channels, channels[1:]))
        self.head = nn.Conv2d(in_channels * fold**2, channels[0], 3, padding=1, bias=False)
        self.down = nn.ModuleList(nn.Sequential(*stack(a), nn.Conv2d(a, b, 2, 2, bias=False)) for a, b in pairs)
        self.body = nn.Sequential(*stack(channels[-1]))
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(b, a, 2, 2, bias=False), *stack(a)) for a, b in reversed(pairs)
        )
        self.tail = nn.Conv2d(channels[0], out_channels * fold**2, 3, padding=1, bias=False)
        self.multiple = fold * 2 ** len(pairs)

    def start_as_identity(self) -> None:
        """Initial weights under which the output resembles the first input channels.

        Dirac head and tail, small residual and upward branches: the unfolding then starts as plain
        half-quadratic splitting and learns from there, in half the steps that an orthogonal start needs.
        """
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if isinstance(module, ResBlock):
                nn.init.kaiming_normal_(module.conv1.weight, nonlinearity="relu")
                module.conv2.weight.data.mul_(0.1)
        for up in self.up:
            up[0].weight.data.mul_(0.02)
        colours = min(self.tail.out_channels, self.head.in_channels)
        with torch.no_grad():
            self.head.weight[:colours] = 0
            self.tail.weight.mul_(0.1)
            self.tail.weight[:, :colours] = 0
            for c in range(colours):
                self.head.weight[c, c, 1, 1] = 1
                self.tail.weight[c, c, 1, 1] = 1

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if height % self.multiple or width % self.multiple:
            x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        return self.whole(x)[..., :height, :width]

    def whole(self, x: Tensor) -> Tensor:
        """The network, for sides that are multiples of ``multiple`` (padding fails when compiled, in PyTorch 2.13)."""
        skips = [self.head(F.pixel_unshuffle(x, self.fold))]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = self.body(skips[-1])
        for up in self.up:
            x = up(x + skips.pop())
        return F.pixel_shuffle(self.tail(x + skips.pop()), self.fold)
