"""What a photo says itself about the kernel that was found, after the loops.

In rounds the kernel is solved for anew:

    x̃ ← strong edges of x̂                       (:func:`blindsr.ops.edges.l0_smooth`)
    k ← k₀ + Δ,   non-negative, sum 1            Δ by least squares: what explains y with x̃
    x̂ ← restorer(y, k, σ)                        anew, from the nearest neighbour

k₀ is the kernel of the last loop. Solving for the kernel from predicted edges is due to Cho & Lee ("Fast Motion Deblurring",
SIGGRAPH Asia 2009), L0 edges for it to Xu, Zheng, Jia ("Unnatural L0 sparse representation for natural image
deblurring", CVPR 2013). Two priors keep it from the kernel that explains every photo, a Dirac: x̃ has edges steeper
than any that a blurred photo could have, and Δ is as small as the doubt of the first estimate says. That it departs from
k₀ in every round, and not from the kernel of the round before, keeps it from drifting.

Most blur is nearly a Gaussian, and to the restorer little deviations from one matter: the spectrum of a Gaussian falls far
below theirs. So where k₀ is nearly one, the Gaussian nearest to the kernel of the first round is the answer
(:func:`blindsr.kernels.gaussian_fit.nearest_gaussian`) unless it rings: unless, trusted fully, it gives clearly more total
variation than that kernel itself. A blur out of focus looks like a Gaussian to the estimators, and is told from it so.

Of camera shake the estimators find little. Where it was hardly found and nothing is to be enlarged, the photo is asked once
more, without them: from coarse to fine (:mod:`blindsr.inference.coarse_to_fine`), and then in rounds of its own, each
departing from the kernel of the one before. Of the two, that one is taken which, trusted fully, explains the photo better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from blindsr.alternating import AlternatingSR
from blindsr.inference.boundary import Padded, pad
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
ROUNDS = 3  # one, where the kernel is a Gaussian
HARDLY = 0.6  # a doubt
FLAT = {1: 0.001, 2: 0.004, 3: 0.004, 4: 0.004}  # by scale: squared contrast of what is no edge
ERROR, NOISY = 2.0, 100.0  # the share of the power of x̃ that is wrong: by the doubt, and by σ
ERRORS = 0.2, 1.0  # bounds of the former
LEAST_DOUBT = 0.1  # that the size of a change follows: without noise, doubts are often too small
LEAST_TAP = 0.02  # of the largest: smaller ones are noise
GAUSSIAN = 0.1  # relative distance to the nearest Gaussian up to which a kernel is nearly one
RINGS = 1.1  # times the total variation
MIDDLE = 192  # high-resolution pixels a side of the part of a photo that shows whether a kernel rings
SHAKEN = 0.5, 0.4, 0.3  # the doubts of the rounds that a kernel found from coarse to fine goes through


def pays(model: AlternatingSR) -> bool:
    """Whether blind restorations are refined where nobody says: with models that find kernels by looking at their own
    restorations."""
    return model.initial is not None and model.estimator is not None


def refine(model: AlternatingSR, padded: Padded, scale: int, found: Restoration, shift: float = 0.0) -> Restoration:
    """``found``, the blind restoration of ``padded`` with all its pictures, and an iterate more for every round.

    What is made up around the photo does not count, and is made up anew for every kernel.

    Raises BlindSRError where the estimator does not judge its kernel: how far it may change is then not known.
    """
    first, last = found.iterates[0], found.iterates[-1]
    if first.doubt is None:
        raise BlindSRError("this model does not say how far to trust its kernel, so it cannot be refined")
    photo = _Photo(model, padded, scale, last.sigma.float(), shift)
    doubt, start = first.doubt.float(), last.kernel.float()
    own = doubt if last.doubt is None else last.doubt.float()
    kernel = photo.solved(last.x.float(), start, doubt)
    gaussian = nearest_gaussian(kernel)
    done = kernel_distance(nearest_gaussian(start), start) <= GAUSSIAN
    if done.any():
        done &= ~photo.middle(kernel).rings(gaussian, kernel)
    kernel, told = torch.where(_each(done), gaussian, kernel), torch.where(done, own, doubt)
    iterates = [*found.iterates, photo.restored(kernel, told)]
    for left in reversed(range(0 if done.all() else ROUNDS - 1)):
        kernel = torch.where(_each(done), kernel, photo.solved(iterates[-1].x, start, doubt))
        if not left:
            kernel, told = photo.or_shaken(~done & (doubt > HARDLY), kernel, told)
        iterates.append(photo.restored(kernel, told))
    return Restoration(tuple(iterates))


def _each(choice: Tensor) -> Tensor:
    """A choice (B,) between kernels."""
    return choice[:, None, None, None]


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
        spread = _each(doubt.clamp_min(LEAST_DOUBT)).square() * likely(start)
        with torch.autocast(x.device.type, enabled=False):
            edges = l0_smooth(luma(x), FLAT[self.scale])
            change = kernel_least_squares(
                edges, luma(self.padded.y), start, self.scale, noise, error, spread, self.shift, self.padded.margin
            )
            return non_negative(start + change, LEAST_TAP)

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
        return torch.where(_each(taken), found, kernel), torch.where(taken, own, doubt)

    def misfit(self, kernel: Tensor) -> Tensor:
        """Root mean square of what the restoration by a trusted ``kernel``, degraded again, leaves of the brightness, (B,)."""
        x = luma(self.restored(kernel, None).x.clamp(0, 1))
        with torch.autocast(x.device.type, enabled=False):
            left = decimate(blur(x, kernel, shift=self.shift), self.scale) - luma(self.padded.y)
        return self._inside(left, self.padded.margin).square().mean((1, 2, 3)).sqrt()

    def rings(self, kernel: Tensor, other: Tensor) -> Tensor:
        """Whether this ``kernel``, trusted fully, gives clearly more total variation than the ``other``, (B,)."""
        return self.variation(kernel) > RINGS * self.variation(other)

    def variation(self, kernel: Tensor) -> Tensor:
        """Total variation of the brightness, per pixel, of the photo restored by a trusted ``kernel``, (B,)."""
        gray = luma(self.restored(kernel, None).x.clamp(0, 1))
        gray = self._inside(gray, self.padded.margin * self.scale)
        return torch.hypot(gray.diff(dim=-1)[..., :-1, :], gray.diff(dim=-2)[..., :-1]).mean((1, 2, 3))

    def middle(self, kernel: Tensor) -> _Photo:
        """The middle of the photo alone, for means; a small one as it is. ``kernel`` is as large as those to come."""
        y, side = self._inside(self.padded.y, self.padded.margin), -(-MIDDLE // self.scale)
        if y.shape[-2] * y.shape[-1] <= 2 * side**2:
            return self
        top, left = (max(length - side, 0) // 2 for length in y.shape[-2:])
        y = y[..., top : top + side, left : left + side]
        size = kernel.shape[-2], kernel.shape[-1]
        return replace(self, padded=pad(y, self.scale, size, "taper", self.model.restorer.multiple))

    @staticmethod
    def _inside(x: Tensor, margin: int) -> Tensor:
        return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]
