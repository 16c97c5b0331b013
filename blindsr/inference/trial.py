"""A photo on which kernels are tried: what is restored with each, and what that says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from blindsr.alternating import AlternatingSR
from blindsr.inference.boundary import Padded, pad
from blindsr.inference.surroundings import surround
from blindsr.interfaces import Iterate
from blindsr.kernels.resized import resized
from blindsr.ops.edges import l0_smooth
from blindsr.ops.filtering import LUMA_NOISE, blur, inside, luma
from blindsr.ops.least_squares import kernel_least_squares, likely, non_negative
from blindsr.ops.resize import decimate

# Chosen on photos held back from training, with kernels inside and outside the training family (docs/experiments.md).
FLAT = {1: 0.001, 2: 0.004, 3: 0.004, 4: 0.004}  # by scale: squared contrast of what is no edge
ERROR, NOISY = 2.0, 100.0  # the share of the power of x̃ that is wrong: by the doubt, and by σ
ERRORS = 0.2, 1.0  # bounds of the former
LEAST_DOUBT = 0.1  # that the size of a change follows: without noise, doubts are often too small
LEAST_TAP = 0.02  # of the largest: smaller ones are noise
MIDDLE = 192  # high-resolution pixels a side of the part of a photo that shows whether a kernel rings


def each(choice: Tensor) -> Tensor:
    """A choice (B,) between kernels."""
    return choice[:, None, None, None]


class Tried(NamedTuple):
    """Of the brightness of a restored photo, (B,) each: its total ``variation`` per pixel, and the ``misfit``, the root mean
    square of what is missing to the photo when it is degraded again."""

    variation: Tensor
    misfit: Tensor


@dataclass(frozen=True)
class Trial:
    """The photo and what it is restored with."""

    model: AlternatingSR
    padded: Padded
    scale: int
    sigma: Tensor
    shift: float

    def photo(self) -> Tensor:
        """What of the padded photo is neither made up nor blurred from what is, (B, 3, H, W)."""
        return inside(self.padded.y, self.padded.margin)

    def shown(self, x: Tensor) -> Tensor:
        """The same of a restored picture ``x`` (B, C, s·H, s·W)."""
        return inside(x, self.padded.margin, self.scale)

    def stands_for(self, gaussian: Tensor) -> Tensor:
        """The kernel that a ``gaussian`` (B, 1, h, h) which was found stands for: on the centre grid the filter of a resize is
        part of it (:mod:`blindsr.kernels.resized`)."""
        return resized(gaussian, self.scale) if self.shift else gaussian

    def restored(self, kernel: Tensor, doubt: Tensor | None) -> Iterate:
        """The photo restored with a ``kernel`` of this ``doubt``, or trusted fully (None)."""
        model = self.model
        told = model.told(doubt)
        y = surround(self.padded, kernel, self.sigma, self.scale, self.shift).y
        x = model.restorer(y, kernel, self.sigma, self.scale, shift=self.shift, doubt=told).float()
        return Iterate(x, kernel, model.basis.encode(kernel), self.sigma, doubt)

    def solved(self, x: Tensor, start: Tensor, doubt: Tensor) -> Tensor:
        """The kernel (B, 1, h, w) that explains y with the strong edges of ``x``, not far from ``start``."""
        noise, error = LUMA_NOISE * self.sigma, (ERROR * doubt).clamp(*ERRORS) + NOISY * self.sigma
        spread = each(doubt.clamp_min(LEAST_DOUBT)).square() * likely(start)
        with torch.autocast(x.device.type, enabled=False):
            edges = l0_smooth(luma(x), FLAT[self.scale])
            change = kernel_least_squares(
                edges, luma(self.padded.y), start, self.scale, noise, error, spread, self.shift, self.padded.margin
            )
            return non_negative(start + change, LEAST_TAP)

    def tried(self, kernel: Tensor) -> Tried:
        """What the restoration by a trusted ``kernel`` says of it."""
        x = luma(self.restored(kernel, None).x.clamp(0, 1))
        with torch.autocast(x.device.type, enabled=False):
            left = decimate(blur(x, kernel, shift=self.shift), self.scale) - luma(self.padded.y)
        left, x = inside(left, self.padded.margin), self.shown(x)
        variation = torch.hypot(x.diff(dim=-1)[..., :-1, :], x.diff(dim=-2)[..., :-1]).mean((1, 2, 3))
        return Tried(variation, left.square().mean((1, 2, 3)).sqrt())

    def middle(self, kernel: Tensor) -> Trial:
        """The middle of the photo alone, for means; a small one as it is. ``kernel`` is as large as those to come."""
        y, side = self.photo(), -(-MIDDLE // self.scale)
        if y.shape[-2] * y.shape[-1] <= 2 * side**2:
            return self
        top, left = (max(length - side, 0) // 2 for length in y.shape[-2:])
        y = y[..., top : top + side, left : left + side]
        size = kernel.shape[-2], kernel.shape[-1]
        return replace(self, padded=pad(y, self.scale, size, "taper", self.model.restorer.multiple))
