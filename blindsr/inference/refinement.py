"""A found kernel, refined on the photo itself.

    x̃ ← strong edges of x̂                       (:func:`blindsr.ops.edges.l0_smooth`)
    k ← k₁ + Δ,   non-negative, sum 1            Δ by least squares: what explains y with x̃
    x̂ ← restorer(y, k, σ)                        anew, from the nearest neighbour

k₁ is the first estimate. Solving for the kernel from predicted edges is due to Cho & Lee ("Fast Motion Deblurring",
SIGGRAPH Asia 2009), L0 edges for it to Xu, Zheng, Jia ("Unnatural L0 sparse representation for natural image
deblurring", CVPR 2013). Two priors keep it from the kernel that explains every photo, a Dirac: x̃ has edges steeper
than any that a blurred photo could have, and Δ is as small as the estimator's doubt says. That it departs from k₁ in
every round, and not from the kernel of the round before, keeps it from drifting.
"""

from __future__ import annotations

import torch
from torch import Tensor

from blindsr.alternating import AlternatingSR
from blindsr.interfaces import BlindSRError, Iterate, Restoration
from blindsr.ops.edges import l0_smooth
from blindsr.ops.filtering import LUMA_NOISE, luma
from blindsr.ops.least_squares import kernel_least_squares, likely

# Chosen on photos held back from training, with kernels inside and outside the training family (docs/training.md).
ROUNDS = {1: 1, 2: 3, 3: 3, 4: 3}  # by scale
MORE = 2  # rounds, where the kernel was hardly found
HARDLY = 0.6  # a doubt
FLAT = {1: 0.001, 2: 0.004, 3: 0.004, 4: 0.004}  # by scale: squared contrast of what is no edge
ERROR, NOISY = 2.0, 100.0  # the share of the power of x̃ that is wrong: by the doubt, and by σ
ERRORS = 0.2, 1.0  # bounds of the former
LEAST_DOUBT = 0.1  # that the size of a change follows: without noise, doubts are often too small
LEAST_TAP = 0.02  # of the largest: smaller ones are noise


def refine(
    model: AlternatingSR,
    y: Tensor,
    scale: int,
    found: Restoration,
    shift: float = 0.0,
    margin: int = 0,
    finish: bool = True,
) -> Restoration:
    """``found``, the blind restoration of ``y`` (B, 3, H, W) with all its pictures, and an iterate more for every round.

    It starts from the first kernel and the last picture of ``found``. The outer ``margin`` pixels of y do not count.
    Without ``finish`` the last restoration is left out (its x is None).

    Raises BlindSRError where the estimator does not judge its kernel: how far it may change is then not known.
    """
    first, last = found.iterates[0], found.iterates[-1]
    if first.doubt is None:
        raise BlindSRError("this model does not say how far to trust its kernel, so it cannot be refined")
    doubt, sigma, start = first.doubt.float(), last.sigma.float(), first.kernel.float()
    noise, error = LUMA_NOISE * sigma, (ERROR * doubt).clamp(*ERRORS) + NOISY * sigma
    spread = doubt.clamp_min(LEAST_DOUBT)[:, None, None, None].square() * likely(start)
    gray, x, iterates = luma(y), last.x.float(), list(found.iterates)
    rounds = ROUNDS[scale] + MORE * bool((doubt > HARDLY).any())
    for i in range(rounds):
        with torch.autocast(y.device.type, enabled=False):
            edges = l0_smooth(luma(x), FLAT[scale])
            change = kernel_least_squares(edges, gray, start, scale, noise, error, spread, shift, margin)
            kernel = _valid(start + change)
        x = None
        if finish or i < rounds - 1:
            x = model.restorer(y, kernel, sigma, scale, shift=shift, doubt=model.told(doubt)).float()
        iterates.append(Iterate(x, kernel, model.basis.encode(kernel), sigma, doubt))
    return Restoration(tuple(iterates))


def _valid(kernel: Tensor) -> Tensor:
    """(B, 1, h, w) without negative taps and noise, sum 1."""
    kernel = kernel.clamp_min(0)
    kernel = kernel * (kernel >= LEAST_TAP * kernel.amax((-2, -1), keepdim=True))
    return kernel / kernel.sum((-2, -1), keepdim=True)
