"""Is a Gaussian wider than the blur?

Where a photo is soft itself, its own blur is found with the other, and nothing in a spectrum tells the two apart. But light has
bounds. A restoration with too wide a kernel overshoots beside every edge, and beside those of what is nearly black or white it
leaves the range of brightness, which the true picture does not. So such a Gaussian is made narrower, until few pixels are left
outside. Where a photo has no such edges, nothing shows and nothing changes; and where there is little else, as in text, or much
of it was cut off in the camera, so much is outside under every kernel that it says nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from blindsr.inference.trial import Trial, each
from blindsr.interfaces import Iterate

# Chosen on photos held back from training (docs/experiments.md).
BEYOND = 0.02  # of the range of brightness: less is what networks and noise leave
SHARE, MOST = 0.005, 0.08  # of the pixels: half of the photos have less than 0.002 with the true kernel, text has more than 0.1
SAME = 0.8  # of the share: where a narrower kernel leaves so much, it is not the width
CLIPPED = 0.1  # of a photo's pixels: where more are black or white, what is outside says nothing of a given kernel
NARROWER = 0.93, 0.86, 0.8  # times the width


def within_range(trial: Trial, gaussian: Tensor, wanted: Tensor, found: Iterate) -> Iterate:
    """``found``, or a restoration anew where it is ``wanted`` (B,) and the ``gaussian`` (B, 1, h, h) that was restored with
    overshoots."""

    def anew(factor: Tensor) -> Iterate:
        kernel = torch.where(each(factor < 1), narrowed(trial, gaussian, factor), found.kernel)
        return trial.restored(kernel, found.doubt)

    shares = overshoot(trial, found.x)
    wide = wanted & (shares > SHARE) & (shares < MOST)
    factor, before = torch.ones_like(shares), 1.0
    for step in NARROWER:
        if not wide.any():
            break
        less = overshoot(trial, anew(torch.where(wide, step, 1.0)).x)
        falls = less < SAME * shares
        # Shares fall about exponentially, so that the width with the share that is allowed lies between on that line.
        between = ((shares / SHARE).log() / (shares / less.clamp_min(1e-5)).log()).clamp(0, 1)
        factor = torch.where(wide, torch.where(falls, before + between * (step - before), 1.0), factor)
        shares, before = less, step
        wide = wide & falls & (less > SHARE)
    return found if (factor == 1).all() else anew(factor)


def overshoot(trial: Trial, x: Tensor) -> Tensor:
    """The share (B,) of the pixels of a restored photo that are :func:`outside`."""
    return outside(trial.shown(x)).float().mean((1, 2))


def outside(x: Tensor, dim: int = 1) -> Tensor:
    """Of which pixels of a restored picture a colour leaves the range of brightness clearly; colours along ``dim``."""
    return (x.amin(dim) < -BEYOND) | (x.amax(dim) > 1 + BEYOND)


def shows_width(pixels: np.ndarray) -> bool:
    """Whether few enough of a photo's ``pixels`` (H, W, C) uint8 or uint16 are cut off at an end of their range that a share
    outside it means something."""
    white, count = np.iinfo(pixels.dtype).max, 0
    for top in range(0, len(pixels), 256):
        rows = pixels[top : top + 256]
        count += ((rows == 0) | (rows == white)).any(-1).sum()
    return bool(count <= CLIPPED * pixels.shape[0] * pixels.shape[1])


def narrowed(trial: Trial, gaussian: Tensor, factor: Tensor) -> Tensor:
    """The Gaussians (B, 1, h, h) of ``factor`` (B,) times the width, and on the centre grid what they stand for there."""
    k = gaussian.cpu().double().pow(each(factor.cpu().double()) ** -2)  # its logarithm is linear in the inverse squared width
    return trial.stands_for((k / k.sum((-2, -1), keepdim=True)).to(gaussian))
