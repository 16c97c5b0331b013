"""PatchGAN: a plain stack of convolutions whose every logit sees one patch of the picture.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, section 3.2.2 and
appendix 6.1.2: 4×4 convolutions, the first ``layers`` of them with stride 2, leaky ReLUs of slope 0.2; three layers
see 70×70 pixels. Spectral norm (Miyato et al., ICLR 2018) stands where the paper has batch norm, which would make
the logits of a picture depend on its neighbours in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from blindsr.registry import register
from blindsr.training.discriminators.base import Discriminator


@dataclass(frozen=True)
class PatchGANConfig:
    """``channels`` of the first convolution, doubled by each further one up to eightfold; ``layers`` that halve
    the resolution, which set the patch that a logit sees: 16, 34, 70, 142 pixels a side for 1, 2, 3, 4."""

    channels: int = 64
    layers: int = 3

    def __post_init__(self) -> None:
        if self.channels < 1 or self.layers < 1:
            raise ValueError("channels and layers must be at least 1")


@register("discriminator", "patchgan", PatchGANConfig)
class PatchGAN(Discriminator):
    """(B, 3, H, W) -> (B, 1, about H/2^layers − 2, about W/2^layers − 2)."""

    def __init__(self, config: PatchGANConfig):
        super().__init__()
        self.smallest = 3 * 2**config.layers  # the two convolutions of stride 1 take a pixel each
        widths = [3, *(config.channels * min(2**i, 8) for i in range(config.layers + 1)), 1]
        strides = [2] * config.layers + [1, 1]
        self.convs = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride, padding=1)) for a, b, stride in zip(widths, widths[1:], strides)
        )

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        *hidden, last = self.convs
        seen: list[Tensor] = []
        for conv in hidden:
            x = F.leaky_relu(conv(x), 0.2)
            seen.append(x)
        return *seen, last(x)
