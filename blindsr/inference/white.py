"""White noise for models that know no other.

What a gray photo has of noise, its rounding to whole levels too, is the same in red, green and blue. What JPEG leaves out is
nearly so, and photos that were scanned or developed lie in between. To networks that learned from noise which is another in
each colour it is texture, and where the blur was wide, what the data step makes of it covers everything: told the true
kernel, `tiny` had 9 dB for 27 on a photo with such noise of 5 of 255 (docs/experiments.md).

Of noise with the variance c² along every axis of chroma and λ² along that of brightness, (R + G + B)/√3, white noise of the
level λ is made by adding what is missing: noise of √(λ² − c²) whose colours sum to zero. The restored photo's brightness
loses nothing by that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from blindsr.alternating import AlternatingSR
from blindsr.estimators.noise import chroma_noise, is_white, white_level
from blindsr.interfaces import Estimate, Iterate

SIDE = 509  # pixels after which the noise that is added comes again


@dataclass(frozen=True)
class Noise:
    """What is known of a photo's noise. ``least`` is the level, in [0, 1] and in each colour, that rounding leaves at least.
    ``chroma`` (B,) is c of the module's first lines, None for noise that is white. ``gray``: the photo has no colours."""

    least: float = 0.0
    chroma: Tensor | None = None
    gray: bool = False

    def told(self, sigma: Tensor) -> Tensor:
        """The level λ of white noise that a model is told, where there is ``sigma`` (B,) in each colour."""
        if self.chroma is None:
            return sigma
        square = sigma.clamp_min(self.least) ** 2
        return (3 * square - 2 * self.chroma**2).maximum(square).sqrt()

    def own(self, level: Tensor) -> Tensor:
        """The noise in each colour (B,) where a model was told the ``level`` (B,)."""
        if self.chroma is None:
            return level
        return ((level**2 + 2 * self.chroma.minimum(level) ** 2) / 3).sqrt()

    def of_first(self, first: Estimate, model: AlternatingSR) -> Estimate:
        """The ``first`` estimate that ``model`` made of the photo as it is, with the level of white noise. Estimators see the
        luma, and take what noise it has for that of white noise; wavelets, where there is none, see every colour."""
        if self.chroma is None:
            return first
        if model.initial is None:
            return replace(first, sigma=self.told(first.sigma))
        least = self.told(torch.zeros_like(first.sigma))
        return replace(first, sigma=white_level(first.sigma, self.chroma).maximum(least))

    def whitened(self, y: Tensor, level: Tensor, top: int = 0, left: int = 0) -> Tensor:
        """``y`` (B, 3, H, W), a piece that begins at ``top`` and ``left`` of its photo, with white noise of the ``level`` (B,).
        The same place gets the same noise in every piece."""
        if self.chroma is None:
            return y
        missing = (level**2 - self.chroma**2).clamp_min(0).sqrt()
        noise = _noise()
        return y + missing.to(y)[:, None, None, None] * _at(noise - noise.mean(0), y, top, left)

    def in_own(self, iterate: Iterate) -> Iterate:
        """What was restored of the photo made white, in terms of what it was."""
        if self.chroma is None:
            return iterate
        x = iterate.x
        if self.gray and x is not None:
            x = x.mean(1, keepdim=True).expand_as(x)
        return replace(iterate, x=x, sigma=self.own(iterate.sigma))


def noise_of(y: Tensor, rounding: float, gray: bool, coded: bool, known: bool, seen: Tensor | None) -> Noise:
    """What is known of the noise of ``y`` (B, 3, H, W), or of the photo that it is a part of.

    ``rounding`` is the level that it left; ``gray``, and ``coded`` with loss, say what the photo is, and ``known`` that the model
    has learned what such coding leaves: it is not made white then, for it would no longer be seen for what it is. ``seen`` (B,)
    is how much noise was given, or estimated in the luma as a level of white noise; None where nothing but wavelets would tell.
    """
    if gray:
        return Noise(rounding, y.new_zeros(len(y)), True)
    white = known if coded else seen is None or bool(is_white(y, seen).all())
    return Noise(rounding, None if white else chroma_noise(y))


def first_estimate(model: AlternatingSR, y: Tensor, scale: int, rounding: float, coded: bool) -> Estimate:
    """The first estimate that ``model`` makes of ``y`` (B, 3, H, W). The blocks of what was ``coded`` with loss are hidden from
    it by white noise, of the level that ``rounding`` leaves, and its noise is what it sees beyond that."""
    if not coded:
        return model.first_estimate(y, scale)
    level = 3**0.5 * rounding
    first = model.first_estimate(y + level * _at(_noise(), y), scale)
    return replace(first, sigma=(first.sigma**2 - level**2).clamp_min(0).sqrt())


def is_gray(pixels: np.ndarray | Tensor, axis: int) -> bool:
    """Whether the colours along ``axis``, one or three, are all the same."""
    first, *others = pixels.swapaxes(0, axis)
    return all(bool((first == other).all()) for other in others)


@cache
@torch.inference_mode(False)
def _noise() -> Tensor:
    """(3, SIDE, SIDE), white, of variance 1."""
    return torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def _at(noise: Tensor, y: Tensor, top: int = 0, left: int = 0) -> Tensor:
    """``noise``, which comes again and again, where ``y`` (B, 3, H, W) lies."""
    rows, cols = ((torch.arange(n) + start) % SIDE for n, start in zip(y.shape[-2:], (top, left)))
    return noise[:, rows][:, :, cols].to(y)
