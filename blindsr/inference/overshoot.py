"""Is a Gaussian wider than the blur?

Where a photo is soft itself, its own blur is found with the other, and nothing in a spectrum tells the two apart. But light has
bounds. A restoration with too wide a kernel overshoots beside every edge, and beside those of what is nearly black or white it
leaves the range of brightness, which the true picture never does. So such a Gaussian is made narrower, until hardly any pixel is
left outside. Where a photo has no such edges, nothing shows and nothing changes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from blindsr.inference.trial import Trial, each
from blindsr.interfaces import Iterate
from blindsr.kernels.resized import resized

# Chosen on photos held back from training (docs/training.md).
BEYOND = 0.02  # of the range of brightness: less is what networks and noise leave
SHARE = 0.005  # of the pixels; with the true kernel, half of the photos have less than 0.002
NARROWER = 0.93, 0.86, 0.8  # times the width


def within_range(trial: Trial, gaussian: Tensor, wanted: Tensor, found: Iterate) -> Iterate:
    """``found``, or a restoration anew where it is ``wanted`` (B,) and the ``gaussian`` (B, 1, h, h) that was restored with
    overshoots."""
    shares = overshoot(trial, found.x)
    wide = wanted & (shares > SHARE)
    if not wide.any():
        return found
    factor, before = torch.ones_like(shares), 1.0
    for step in NARROWER:
        kernel = torch.where(each(wide), narrowed(trial, gaussian, torch.full_like(factor, step)), found.kernel)
        less = overshoot(trial, trial.restored(kernel, found.doubt).x)
        # Shares fall about exponentially, so that the width with the share that is allowed lies between on that line.
        between = (shares / SHARE).log() / (shares / less.clamp_min(1e-5)).log().clamp_min(1e-6)
        factor = torch.where(wide, before + between.clamp(0, 1) * (step - before), factor)
        shares, before = less, step
        wide = wide & (less > SHARE)
        if not wide.any():
            break
    kernel = torch.where(each(factor < 1), narrowed(trial, gaussian, factor), found.kernel)
    return trial.restored(kernel, found.doubt)


def overshoot(trial: Trial, x: Tensor) -> Tensor:
    """The share (B,) of the pixels of a restored photo that are :func:`outside`."""
    return outside(trial.shown(x)).float().mean((1, 2))


def outside(x: Tensor, dim: int = 1) -> Tensor:
    """Of which pixels of a restored picture a colour leaves the range of brightness clearly; colours along ``dim``."""
    return (x.amin(dim) < -BEYOND) | (x.amax(dim) > 1 + BEYOND)


def narrowed(trial: Trial, gaussian: Tensor, factor: Tensor) -> Tensor:
    """The Gaussians (B, 1, h, h) of ``factor`` (B,) times the width, and on the centre grid what they stand for there."""
    k = gaussian.cpu().double().pow(each(factor.cpu().double()) ** -2)  # its logarithm is linear in the inverse squared width
    k = (k / k.sum((-2, -1), keepdim=True)).to(gaussian)
    return resized(k, trial.scale) if trial.shift else k
