"""Gray photos, for models that know white noise.

What a gray photo has of noise, its rounding to whole levels too, is the same in red, green and blue. To networks that learned
from noise which is another in each it is texture, and where the blur was wide, what the data step makes of it covers
everything: told the true kernel, `tiny` had 19 dB for 35 on a gray photo of 8 bits (docs/experiments.md).

White noise of a level σ has the level σ/√3 in the mean of the three colours, and of gray photos that mean is what counts. So
one with noise of σ becomes one with white noise of √3·σ by adding what is missing: noise whose colours sum to zero.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from blindsr.alternating import AlternatingSR
from blindsr.interfaces import Estimate, Iterate
from blindsr.ops.filtering import LUMA_NOISE

WHITE = 3**0.5  # times the level of gray noise: that of white noise with the same mean
SIDE = 509  # pixels after which the noise that is added comes again


def is_gray(pixels: np.ndarray | Tensor, axis: int) -> bool:
    """Whether the colours along ``axis``, one or three, are all the same."""
    first, *others = pixels.swapaxes(0, axis)
    return all(bool((first == other).all()) for other in others)


def whitened(y: Tensor, level: Tensor, top: int = 0, left: int = 0) -> Tensor:
    """The gray ``y`` (B, 3, H, W), a piece that begins at ``top`` and ``left`` of its photo, with white noise of the
    ``level`` (B,) or (1,) where it had noise of 1/√3 of that. The same place gets the same noise in every piece."""
    rows, cols = ((torch.arange(n) + start) % SIDE for n, start in zip(y.shape[-2:], (top, left)))
    noise = _pattern()[:, rows][:, :, cols].to(y)
    return y + level.to(y)[:, None, None, None] * noise


def of_gray(first: Estimate, model: AlternatingSR, rounding: float) -> Estimate:
    """The ``first`` estimate that ``model`` made of a gray photo, with the level that white noise gets there. Estimators see
    the brightness, and take what noise it has for that of white noise; wavelets, where there is none, see it as it is.
    ``rounding`` is the level that is there at least."""
    seen = 1 if model.initial is None else LUMA_NOISE
    return replace(first, sigma=WHITE * (seen * first.sigma).clamp_min(rounding))


def in_gray(iterate: Iterate) -> Iterate:
    """What was restored of a photo made white, in terms of the gray one."""
    x = None if iterate.x is None else iterate.x.mean(1, keepdim=True).expand_as(iterate.x)
    return replace(iterate, x=x, sigma=iterate.sigma / WHITE)


@cache
@torch.inference_mode(False)
def _pattern() -> Tensor:
    """(3, SIDE, SIDE), such that a gray photo's own noise of level 1/√3 and this are white noise of level 1."""
    noise = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return noise - noise.mean(0)
