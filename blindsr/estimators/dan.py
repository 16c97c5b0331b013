"""DAN's kernel estimator (Luo et al., "Unfolding the Alternating Optimization for Blind Super
Resolution", NeurIPS 2020, section 3.3), in its plain form and in ours.

Conditional residual blocks (CRB) work on the features of ``y`` and are told the features of the current
restoration ``x̂`` in every block::

    f ← f + CA(conv(lrelu(conv([f, g]))))        f: features of y,  g: features of x̂

Plain: the pooled output is the code. Ours (``corrects: true``) differs where it pays:

* the stride of the first convolution on x̂ is the scale, given at run time: one set of weights for ×1–×4;
* a second output estimates σ;
* it corrects the previous estimate instead of starting anew: code ← code + Δ. Besides the pooled
  features, Δ sees the previous code and the *evidence*: a damped Newton step on the data term
  ‖y − S K x̂‖² with respect to the kernel, projected on the basis. That is the step a classical
  alternating minimisation would take; here a small network learns how far to follow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blindsr.estimators.perceptron import Standardise, perceptron
from blindsr.interfaces import SCALES, BlindSRError, Estimate, Estimator
from blindsr.registry import register

KERNEL_FLOOR = 1e-6  # so that a multiplicative correction can raise what was zero


class ChannelAttention(nn.Module):
    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels // reduction, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, f: Tensor) -> Tensor:
        return f * self.body(f.mean((-2, -1), keepdim=True))


class ConditionalResidualBlock(nn.Module):
    """CRB: refines ``f`` (B, c, H, W) under the condition ``g`` (B, c, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            ChannelAttention(channels),
        )

    def forward(self, f: Tensor, g: Tensor) -> Tensor:
        return f + self.body(torch.cat([f, g], dim=1))


@dataclass(frozen=True)
class DANConfig:
    """``code``: length of the basis; ``corrects``: our form (see the module's first lines), else DAN's.

    Our form has two heads: ``pca`` adds Δ to the code; ``softmax`` multiplies the kernel of ``size`` pixels a
    side by exp(Δ) and normalises, which keeps what the basis cannot hold and never leaves the valid PSFs.
    """

    head: Literal["pca", "softmax"] = "pca"
    code: int = 64
    size: int = 25
    channels: int = 32
    blocks: int = 5
    corrects: bool = True
    hidden: int = 256


@register("estimator", "dan", DANConfig)
class DANEstimator(Estimator):
    """forward(x, y, scale, previous, evidence) -> Estimate; shapes as in :mod:`blindsr.interfaces`."""

    def __init__(self, config: DANConfig = DANConfig()):
        super().__init__()
        self.config = config
        c = config.channels
        self.head_lr = nn.Conv2d(3, c, 1)
        self.head_hr = nn.Conv2d(3, c, 9, padding=4)
        self.body = nn.ModuleList(ConditionalResidualBlock(c) for _ in range(config.blocks))
        if config.corrects:
            self.standardise = Standardise(2 * config.code + 1)
            told = 2 * c + 2 * config.code + 1 + len(SCALES)
            answered = (config.code if config.head == "pca" else config.size**2) + 1
            self.correct = perceptron(told, config.hidden, answered)
            nn.init.zeros_(self.correct[-1].weight)  # the untrained correction is none
            nn.init.zeros_(self.correct[-1].bias)
        else:
            self.out = nn.Conv2d(c, config.code, 3, padding=1)

    def forward(
        self,
        x: Tensor | None,
        y: Tensor,
        scale: int,
        previous: Estimate | None = None,
        evidence: Tensor | None = None,
    ) -> Estimate:
        """Our form needs ``previous`` and ``evidence`` (B, m); DAN's form looks at neither."""
        if x is None:
            raise BlindSRError("the dan estimator looks at a restoration: name it as 'estimator', not as 'initial'")
        f = self.head_lr(y)
        g = F.conv2d(x, self.head_hr.weight, self.head_hr.bias, stride=scale, padding=4)
        for block in self.body:
            f = block(f, g)
        if not self.config.corrects:
            code = self.out(f).mean((-2, -1)).to(y.dtype)
            return Estimate(code, previous.sigma if previous else code.new_zeros(len(code)))
        with torch.autocast(y.device.type, enabled=False):
            f = f.to(y.dtype)
            pooled = torch.cat([f.mean((-2, -1)), f.std((-2, -1))], dim=1)
            which = F.one_hot(torch.tensor([SCALES.index(scale)], device=y.device), len(SCALES)).to(y.dtype)
            state = self.standardise(torch.cat([evidence, previous.code, previous.sigma[:, None]], dim=1))
            out = self.correct(torch.cat([pooled, state, which.expand(len(y), -1)], dim=1))
            # Corrections in the units in which the codes themselves vary.
            unit = 0.3 * self.standardise.deviation[self.config.code :]
            sigma = (previous.sigma + unit[-1] * out[:, -1]).clamp_min(0)
            if self.config.head == "pca":
                return Estimate(previous.code + unit[:-1] * out[:, :-1], sigma)
            logits = (previous.kernel + KERNEL_FLOOR).log().flatten(1) + out[:, :-1]
            return Estimate(None, sigma, logits.softmax(1).view_as(previous.kernel))
