"""What a photo says itself about the kernel that was found, after the loops.

In rounds the kernel is solved for anew:

    x̃ ← strong edges of x̂                       (:func:`blindsr.ops.edges.l0_smooth`)
    k ← k₁ + Δ,   non-negative, sum 1            Δ by least squares: what explains y with x̃
    x̂ ← restorer(y, k, σ)                        anew, from the nearest neighbour

k₁ is the first estimate. Solving for the kernel from predicted edges is due to Cho & Lee ("Fast Motion Deblurring",
SIGGRAPH Asia 2009), L0 edges for it to Xu, Zheng, Jia ("Unnatural L0 sparse representation for natural image
deblurring", CVPR 2013). Two priors keep it from the kernel that explains every photo, a Dirac: x̃ has edges steeper
than any that a blurred photo could have, and Δ is as small as the estimator's doubt says. That it departs from k₁ in
every round, and not from the kernel of the round before, keeps it from drifting.

Most blur is nearly a Gaussian, and to the restorer little deviations from one matter: the spectrum of a Gaussian falls far
below theirs. So where k₁ is nearly one, there is a second kernel for the last picture, the nearest Gaussian
(:func:`blindsr.kernels.gaussian_fit.nearest_gaussian`) of that of the loops, after one such round of its own. It is taken
unless it rings: unless, trusted fully, it gives far more total variation than the last round's kernel, trusted fully.

Of camera shake the estimators find little. Where k₁ was hardly found and nothing is to be enlarged, the photo is asked once
more, without it: from coarse to fine (:mod:`blindsr.inference.coarse_to_fine`), and then in rounds of its own, each
departing from the kernel of the one before. Of the two, that one is taken which, trusted fully, explains the photo better.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blindsr.alternating import AlternatingSR
from blindsr.inference.boundary import Padded
from blindsr.inference.coarse_to_fine import coarse_to_fine
from blindsr.inference.surroundings import surround
from blindsr.interfaces import BlindSRError, Iterate, Restoration
from blindsr.kernels.distance import kernel_distance
from blindsr.kernels.gaussian_fit import nearest_gaussian
from blindsr.kernels.placing import on_box
from blindsr.ops.edges import l0_smooth
from blindsr.ops.filtering import LUMA_NOISE, blur, luma
from blindsr.ops.least_squares import kernel_least_squares, likely, non_negative
from blindsr.ops.resize import decimate

# Chosen on photos held back from training, with kernels inside and outside the training family (docs/training.md).
ROUNDS = {1: 1, 2: 3, 3: 3, 4: 3}  # by scale
MORE = 2  # rounds, where the kernel was hardly found
HARDLY = 0.6  # a doubt
FLAT = {1: 0.001, 2: 0.004, 3: 0.004, 4: 0.004}  # by scale: squared contrast of what is no edge
ERROR, NOISY = 2.0, 100.0  # the share of the power of x̃ that is wrong: by the doubt, and by σ
ERRORS = 0.2, 1.0  # bounds of the former
LEAST_DOUBT = 0.1  # that the size of a change follows: without noise, doubts are often too small
LEAST_TAP = 0.02  # of the largest: smaller ones are noise
GAUSSIAN = 0.1  # relative distance to the nearest Gaussian up to which a first estimate is nearly one
RINGS = 1.4  # times the total variation
SHAKEN = 0.5, 0.4, 0.3  # the doubts of the rounds that a kernel found from coarse to fine goes through


def pays(model: AlternatingSR) -> bool:
    """Whether blind restorations are refined where nobody says: with models that find kernels by looking at their own
    restorations."""
    return model.initial is not None and model.estimator is not None


def refine(model: AlternatingSR, padded: Padded, scale: int, found: Restoration, shift: float = 0.0) -> Restoration:
    """``found``, the blind restoration of ``padded`` with all its pictures, and an iterate more for every round.

    It starts from the first kernel and the last picture of ``found``. What is made up around the photo does not count, and
    is made up anew for every kernel.

    Raises BlindSRError where the estimator does not judge its kernel: how far it may change is then not known.
    """
    first, last = found.iterates[0], found.iterates[-1]
    if first.doubt is None:
        raise BlindSRError("this model does not say how far to trust its kernel, so it cannot be refined")
    photo = _Photo(model, padded, scale, last.sigma.float(), shift)
    doubt, start = first.doubt.float(), first.kernel.float()
    x, iterates = last.x.float(), list(found.iterates)
    hardly = doubt > HARDLY
    for left in reversed(range(ROUNDS[scale] + MORE * bool(hardly.any()))):
        kernel = photo.solved(x, start, doubt)
        if not left:
            nearly = kernel_distance(nearest_gaussian(start), start) <= GAUSSIAN
            kernel, doubt = photo.or_gaussian(nearly, last, kernel, doubt)
            kernel, doubt = photo.or_shaken(hardly, kernel, doubt)
        iterates.append(photo.restored(kernel, doubt))
        x = iterates[-1].x
    return Restoration(tuple(iterates))


@dataclass(frozen=True)
class _Photo:
    """The photo and what it is restored with."""

    model: AlternatingSR
    padded: Padded
    scale: int
    sigma: Tensor
    shift: float

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
        spread = doubt.clamp_min(LEAST_DOUBT)[:, None, None, None].square() * likely(start)
        with torch.autocast(x.device.type, enabled=False):
            edges = l0_smooth(luma(x), FLAT[self.scale])
            change = kernel_least_squares(
                edges, luma(self.padded.y), start, self.scale, noise, error, spread, self.shift, self.padded.margin
            )
            return non_negative(start + change, LEAST_TAP)

    def or_gaussian(self, nearly: Tensor, found: Iterate, kernel: Tensor, doubt: Tensor) -> tuple[Tensor, Tensor]:
        """The Gaussian nearest to the kernel of ``found``, with its doubt, where it is ``nearly`` (B,) one and does not ring;
        else ``kernel`` and ``doubt``."""
        if not nearly.any():
            return kernel, doubt
        own = doubt if found.doubt is None else found.doubt.float()
        gaussian = nearest_gaussian(found.kernel.float())
        gaussian = nearest_gaussian(self.solved(self.restored(gaussian, own).x, gaussian, own))
        rings = self.variation(gaussian) > RINGS * self.variation(kernel)
        taken = nearly & ~rings
        return torch.where(taken[:, None, None, None], gaussian, kernel), torch.where(taken, own, doubt)

    def or_shaken(self, hardly: Tensor, kernel: Tensor, doubt: Tensor) -> tuple[Tensor, Tensor]:
        """The kernel that the photo shows from coarse to fine, after rounds of its own, where the other was ``hardly`` (B,)
        found and explains the photo worse; else ``kernel`` and ``doubt``. Enlarged, photos show too little of it."""
        found = None
        if self.scale == 1 and hardly.any():
            with torch.autocast(kernel.device.type, enabled=False):
                found = coarse_to_fine(luma(self.padded.y), kernel.shape[-1], self.sigma, self.padded.margin)
        if found is None:
            return kernel, doubt
        for value in SHAKEN:
            own = torch.full_like(doubt, value)
            found = on_box(self.solved(self.restored(found, own).x, found, own))
        taken = hardly & (self.misfit(found) < self.misfit(kernel))
        return torch.where(taken[:, None, None, None], found, kernel), torch.where(taken, own, doubt)

    def misfit(self, kernel: Tensor) -> Tensor:
        """Root mean square of what the restoration by a trusted ``kernel``, degraded again, leaves of the brightness, (B,)."""
        x = luma(self.restored(kernel, None).x.clamp(0, 1))
        with torch.autocast(x.device.type, enabled=False):
            left = decimate(blur(x, kernel, shift=self.shift), self.scale) - luma(self.padded.y)
        return self._inside(left, self.padded.margin).square().mean((1, 2, 3)).sqrt()

    def variation(self, kernel: Tensor) -> Tensor:
        """Total variation of the brightness, per pixel, of the photo restored by a trusted ``kernel``, (B,)."""
        gray = luma(self.restored(kernel, None).x.clamp(0, 1))
        gray = self._inside(gray, self.padded.margin * self.scale)
        return torch.hypot(gray.diff(dim=-1)[..., :-1, :], gray.diff(dim=-2)[..., :-1]).mean((1, 2, 3))

    @staticmethod
    def _inside(x: Tensor, margin: int) -> Tensor:
        return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]
