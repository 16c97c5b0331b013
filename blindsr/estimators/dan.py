"""DAN's kernel estimator (Luo et al., "Unfolding the Alternating Optimization for Blind Super
Resolution", NeurIPS 2020, section 3.3), in its plain form and in ours.

Conditional residual blocks (CRB) work on the features of ``y`` and are told the features of the current
restoration ``x̂`` in every block::

    f ← f + CA(conv(lrelu(conv([f, g]))))        f: features of y,  g: features of x̂

Plain: the pooled output is the code. Ours (``corrects: true``) differs where it pays:

* the stride of the first convolution on x̂ is the scale, given at run time: one set of weights for ×1–×4;
* further outputs estimate σ and the estimate's own error, the doubt;
* it corrects the previous estimate instead of starting anew, in three steps. From the blocks' features it
  *predicts sharper edges* than x̂ has. Least squares then tell, in closed form, how the kernel should change
  for that x̃ to explain y (:mod:`blindsr.ops.least_squares`). A share of this is added, and a small network on
  the kernel's own grid says by what each of its pixels is multiplied.

Solving for the kernel from predicted edges is what made blind deblurring work (Cho & Lee, SIGGRAPH Asia 2009);
learning the prediction through the solve is due to Schuler et al. ("Learning to Deblur", TPAMI 2016). x̂ itself
will not do: made with the wrong kernel, it explains y well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blindsr.estimators.kernel_space import KernelNet
from blindsr.estimators.perceptron import Standardise, perceptron
from blindsr.interfaces import SCALES, BlindSRError, Estimate, Estimator
from blindsr.limits import check_least, check_odd
from blindsr.ops.edges import l0_smooth
from blindsr.ops.filtering import LUMA_NOISE, luma
from blindsr.ops.least_squares import kernel_least_squares, likely
from blindsr.registry import register

KERNEL_FLOOR = 1e-6  # so that a multiplicative correction can raise what was zero
SIGMA_UNIT = 0.01


class ChannelAttention(nn.Module):
    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        inner = max(channels // reduction, 1)
        self.body = nn.Sequential(
            nn.Conv2d(channels, inner, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(inner, channels, 1),
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

    Our form has two heads: ``softmax`` answers the corrected kernel of ``size`` pixels a side itself, ``pca``
    changes the code by a learned projection of the correction.
    ``hidden`` is the width of the network on the kernel's grid, ``edges`` that of the one that sharpens. It starts from
    x̂, or with ``flat`` above 0 from the strong edges of x̂ (:func:`blindsr.ops.edges.l0_smooth`), steep already.
    """

    head: Literal["pca", "softmax"] = "pca"
    code: int = 64
    size: int = 25
    channels: int = 32
    blocks: int = 5
    corrects: bool = True
    hidden: int = 40
    edges: int = 16
    flat: float = 0.0

    def __post_init__(self) -> None:
        check_odd(size=self.size)
        check_least(1, code=self.code, channels=self.channels, hidden=self.hidden, edges=self.edges)
        check_least(0, blocks=self.blocks, flat=self.flat)


@register("estimator", "dan", DANConfig)
class DANEstimator(Estimator):
    """forward(x, y, scale, previous, shift, margin) -> Estimate; shapes as in :mod:`blindsr.interfaces`."""

    def __init__(self, config: DANConfig = DANConfig()):
        super().__init__()
        self.config = config
        self.kernel_size = config.size if config.corrects else None
        self.code_length = None if config.corrects and config.head == "softmax" else config.code
        c = config.channels
        self.head_lr = nn.Conv2d(3, c, 1)
        self.head_hr = nn.Conv2d(3, c, 9, padding=4)
        self.body = nn.ModuleList(ConditionalResidualBlock(c) for _ in range(config.blocks))
        if config.corrects:
            self.edges = EdgePrediction(c, config.edges, config.flat)
            self.standardise = Standardise(2)
            told = 2 * c + 2 + len(SCALES)
            self.belief = nn.Linear(told, 2)
            nn.init.zeros_(self.belief.weight)
            self.belief.bias.data.copy_(torch.tensor([-0.43, 1.0]))  # half of the power of x̂ is wrong; a share of 0.73
            self.weigh = KernelNet(3, told, config.hidden)
            self.judge = perceptron(told + 2 * config.hidden, config.hidden, 2)
            nn.init.zeros_(self.judge[-1].weight)
            nn.init.zeros_(self.judge[-1].bias)
            if config.head == "pca":
                self.to_code = nn.Linear(config.size**2, config.code, bias=False)
        else:
            self.out = nn.Conv2d(c, config.code, 3, padding=1)

    def forward(
        self,
        x: Tensor | None,
        y: Tensor,
        scale: int,
        previous: Estimate | None = None,
        shift: float = 0.0,
        margin: int = 0,
    ) -> Estimate:
        """Our form needs ``previous``, complete with its kernel; DAN's form hands on its σ alone."""
        if x is None:
            raise BlindSRError("the dan estimator looks at a restoration: name it as 'estimator', not as 'initial'")
        f = self.head_lr(y)
        g = F.conv2d(x, self.head_hr.weight, self.head_hr.bias, stride=scale, padding=4)
        for block in self.body:
            f = block(f, g)
        if not self.config.corrects:
            code = self.out(f).mean((-2, -1)).to(y.dtype)
            return Estimate(code, previous.sigma if previous else code.new_zeros(len(code)))
        doubt = torch.ones_like(previous.sigma) if previous.doubt is None else previous.doubt
        which = F.one_hot(torch.tensor([SCALES.index(scale)], device=y.device), len(SCALES)).to(y.dtype)
        sharp = self.edges(f, luma(x), scale)
        with torch.autocast(y.device.type, enabled=False):
            f, sharp, kernel = f.to(y.dtype), sharp.to(y.dtype), previous.kernel
            state = self.standardise(torch.stack([previous.sigma, doubt], dim=1))
            told = torch.cat([f.mean((-2, -1)), f.std((-2, -1)), state, which.expand(len(y), -1)], dim=1)
            error, share = self.belief(told).unbind(1)
            spread = doubt[:, None, None, None].square() * likely(kernel)
            noise = LUMA_NOISE * previous.sigma
            change = kernel_least_squares(
                sharp, luma(y), kernel, scale, noise, F.softplus(error), spread, shift, margin
            )
            solved = (kernel + share.sigmoid()[:, None, None, None] * change).clamp_min(0) + KERNEL_FLOOR
            size = kernel.flatten(1).norm(dim=1)[:, None, None, None]
            maps = torch.cat([solved.log() / 4 + 2, 4 * kernel / size, 4 * change / size], dim=1)
        factor, features = self.weigh(maps, told)
        with torch.autocast(y.device.type, enabled=False):
            judged = self.judge(torch.cat([told, features.to(y.dtype)], dim=1))
            sigma = (previous.sigma + SIGMA_UNIT * judged[:, 0]).clamp_min(0)
            doubt = doubt * judged[:, 1].exp()
            # A common factor is of no consequence: taking the largest to be 1 keeps exp in bounds.
            factor = factor.to(y.dtype)
            kernel = solved * (factor - factor.amax((-2, -1), keepdim=True)).exp()
            kernel = kernel / kernel.sum((-2, -1), keepdim=True)
            if self.config.head == "pca":
                code = previous.code + self.to_code((kernel - previous.kernel).flatten(1))
                return Estimate(code, sigma, doubt=doubt)
            return Estimate(None, sigma, kernel, doubt)


class EdgePrediction(nn.Module):
    """x̂ with the edges that a sharp photo would have: features of the low-resolution grid are spread by the
    adjoint of the strided convolution, and a few layers on the fine grid do the rest."""

    def __init__(self, channels: int, width: int, flat: float = 0.0):
        super().__init__()
        self.flat = flat
        self.spread = nn.ConvTranspose2d(channels, width, 9, padding=4)
        self.fine = nn.Sequential(
            nn.Conv2d(width + (2 if flat else 1), width, 5, padding=2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 3, padding=1),
        )
        nn.init.zeros_(self.fine[-1].weight)
        nn.init.zeros_(self.fine[-1].bias)

    def forward(self, f: Tensor, x: Tensor, scale: int) -> Tensor:
        """``f`` (B, channels, H, W) and ``x`` (B, 1, s·H, s·W) -> (B, 1, s·H, s·W)."""
        spread = F.conv_transpose2d(
            f, self.spread.weight, self.spread.bias, stride=scale, padding=4, output_padding=scale - 1
        )
        if not self.flat:
            return x + self.fine(torch.cat([spread, x.to(spread.dtype)], dim=1))
        with torch.autocast(x.device.type, enabled=False):
            steep = l0_smooth(x, self.flat)
        return steep + self.fine(torch.cat([spread, x.to(spread.dtype), (x - steep).to(spread.dtype)], dim=1))
