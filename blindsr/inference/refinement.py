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

No photo shows where its kernel stands: moved, it moves the restoration, and explains y as well. The loops leave its heaviest part
near the middle. So before the last restoration one that is doubted is moved to where camera shake stands in training, the
middle of the path's bounding box in the middle of the square (:mod:`blindsr.kernels.placing`).

Most blur is nearly a Gaussian, and to the restorer little deviations from one matter: the spectrum of a Gaussian falls far
below theirs. So where k₀ is nearly one, the Gaussian nearest to the kernel of the first round is the answer
(:func:`blindsr.kernels.gaussian_fit.nearest_gaussian`) unless it rings: unless, trusted fully, it gives clearly more total
variation than that kernel itself. At ×1 in noise the first estimate knows more of Gaussians than any look at a restoration: it
is asked in place of k₀, and the Gaussian nearest to it is the answer. Where little is enlarged, a Gaussian is nearer to the blur
than the estimators had thought of their kernel, and is trusted. On the centre grid it is a Gaussian and the filter of a
resize (:func:`blindsr.kernels.resized.resized`). Where the picture would leave the range of brightness it is made narrower
(:mod:`blindsr.inference.overshoot`). Blur out of focus looks like a Gaussian to the estimators; it is told from it by the
spectrum of the photo, and then a disk is the answer (:mod:`blindsr.inference.focus`).

Of camera shake the estimators find little. Where it was hardly found and nothing is to be enlarged, the photo is asked once
more, without them: from coarse to fine (:mod:`blindsr.inference.coarse_to_fine`), and then in rounds of its own, each
departing from the kernel of the one before. Of the two, that one is taken which, trusted fully, explains the photo better.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from blindsr.alternating import AlternatingSR
from blindsr.inference.boundary import Padded
from blindsr.inference.coarse_to_fine import coarse_to_fine
from blindsr.inference.focus import DOUBT, out_of_focus
from blindsr.inference.overshoot import within_range
from blindsr.inference.trial import Trial, each
from blindsr.interfaces import BlindSRError, Iterate, Restoration
from blindsr.kernels.disk_fit import nearest_disk
from blindsr.kernels.distance import kernel_distance
from blindsr.kernels.gaussian_fit import nearest_gaussian
from blindsr.kernels.placing import on_box
from blindsr.ops.filtering import luma

# Chosen on photos held back from training, with kernels inside and outside the training family (docs/experiments.md).
ROUNDS = 3  # one, where the kernel is a Gaussian or a disk
HARDLY = 0.6  # a doubt
PLACED = 0.4  # the doubt from which on a kernel may be camera shake that stands elsewhere
GAUSSIAN = 0.1  # relative distance to the nearest Gaussian up to which a kernel is nearly one
ROUND = 0.5  # the same to the nearest disk, up to which a kernel may stand for one
RINGS = 1.1  # times the total variation
DOUBT_OF_GAUSSIANS = {1: 0.05, 2: 0.05, 3: 1.0, 4: 1.0}  # by scale, at most; 0.05 is fully trusted
NOISE = 1.0 / 255  # from this σ on, at ×1, the first estimate knows most of Gaussians
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
        raise BlindSRError("this model does not say how far to trust its kernel, so it cannot be refined; use --no-refine")
    trial = Trial(model, padded, scale, last.sigma.float(), shift)
    doubt, start = first.doubt.float(), last.kernel.float()
    kernel = trial.solved(last.x.float(), start, doubt)
    kernel, told, gaussian, nearly, done = _simple(trial, kernel, first, last)
    restored = within_range(trial, gaussian, nearly, trial.restored(kernel, told))
    kernel, iterates = restored.kernel, [*found.iterates, restored]
    for left in reversed(range(0 if done.all() else ROUNDS - 1)):
        kernel = torch.where(each(done), kernel, trial.solved(iterates[-1].x, start, doubt))
        if not left:
            kernel, told = _or_shaken(trial, ~done & (doubt > HARDLY), kernel, told)
            kernel = torch.where(each(done | (doubt < PLACED)), kernel, on_box(kernel))
        iterates.append(trial.restored(kernel, told))
    return Restoration(tuple(iterates))


class _Simple(NamedTuple):
    """Kernels (B, 1, h, w), some of which a Gaussian or a disk has replaced, and the ``doubt`` (B,) of each; the Gaussian
    nearest to what it was, which of them are ``nearly`` it (B,), and which are one of the two (B,), and ``done``."""

    kernel: Tensor
    doubt: Tensor
    gaussian: Tensor
    nearly: Tensor
    done: Tensor


def _simple(trial: Trial, kernel: Tensor, first: Iterate, last: Iterate) -> _Simple:
    """Asks whether each ``kernel``, solved for with the ``last`` picture of the loops, is a Gaussian or a disk."""
    doubt = first.doubt.float()
    noisy = (trial.sigma >= NOISE) & (trial.scale == 1)
    found = torch.where(each(noisy), first.kernel.float(), last.kernel.float())
    own = doubt if last.doubt is None else torch.where(noisy, doubt, last.doubt.float())
    gaussian, nearest = nearest_gaussian(kernel), nearest_gaussian(found)
    nearly = kernel_distance(nearest, found) <= GAUSSIAN
    radius, off = nearest_disk(kernel)
    round_ = off <= ROUND
    simple, disk, focus = kernel, kernel, torch.zeros_like(nearly)
    if (nearly | round_).any():
        simple, middle = trial.stands_for(gaussian), trial.middle(kernel)
        free, smooth = (middle.tried(k).variation for k in (kernel, simple))
        nearly &= smooth <= RINGS * free
        if round_.any():
            disk, focus = out_of_focus(trial, middle, kernel, radius, gaussian, free, smooth)
            focus &= round_
    gaussian, simple = (torch.where(each(noisy), nearest, k) for k in (gaussian, simple))
    own = own.clamp(max=DOUBT_OF_GAUSSIANS[trial.scale])  # the estimators did not know what is known now
    kernel = torch.where(each(focus), disk, torch.where(each(nearly), simple, kernel))
    told = torch.where(focus, torch.full_like(own, DOUBT), torch.where(nearly, own, doubt))
    return _Simple(kernel, told, gaussian, nearly & ~focus, nearly | focus)


def _or_shaken(trial: Trial, hardly: Tensor, kernel: Tensor, doubt: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel that the photo shows from coarse to fine, after rounds of its own, where the other was ``hardly`` (B,)
    found and explains the photo worse; else ``kernel`` and ``doubt``. Enlarged, photos show too little of it."""
    found = None
    if trial.scale == 1 and hardly.any():
        with torch.autocast(kernel.device.type, enabled=False):
            found = coarse_to_fine(luma(trial.padded.y), kernel.shape[-1], trial.sigma, trial.padded.margin)
    if found is None:
        return kernel, doubt
    kernels, shows = found
    for value in SHAKEN:
        own = torch.full_like(doubt, value)
        kernels = on_box(trial.solved(trial.restored(kernels, own).x, kernels, own))
    taken = hardly & shows & (trial.tried(kernels).misfit < trial.tried(kernel).misfit)
    return torch.where(each(taken), kernels, kernel), torch.where(taken, own, doubt)
