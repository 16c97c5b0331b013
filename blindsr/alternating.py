"""Blind super-resolution by alternation: the idea of the package on one screen.

    k, σ  ← initial(y)                 a first kernel, from the spectrum of y (or a Dirac)
    repeat `loops` times:
        x̂    ← restorer(y, k, σ)       USRNet, all K iterations or the next part of them
        k, σ ← estimator(x̂, y, k, σ)   DAN's blocks; after all loops but the last

An estimator also says how wrong its kernel may be, its doubt; the restorer is told, and trusts y less.
Estimators answer a PCA code, decoded to a kernel by the basis, or the kernel itself; it is always a valid PSF.
A restorer that uses no kernel (RRDBNet) stands alone: one iterate, and nothing is estimated.

(Luo et al., NeurIPS 2020, algorithm 1, with the non-blind restorer of Zhang et al., CVPR 2020.)

Two schedules. ``restart``, as published: every loop runs all K iterations from the nearest-neighbour
start. ``warm``: the K iterations are split over the loops and x̂ is carried on, so that blind costs
about what non-blind costs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blindsr import registry, resources
from blindsr.estimators.noise import estimate_noise
from blindsr.interfaces import BlindSRError, Estimate, Iterate, Restoration
from blindsr.kernels.basis import KernelBasis


@dataclass(frozen=True)
class AlternatingConfig:
    """A whole model. Without ``estimator`` and ``initial`` it is non-blind only, or its restorer uses no kernel.

    ``initial`` gives the first kernel (None: a Dirac, as DAN does); ``basis`` names the file in pca/ that
    decodes codes; ``detach`` says through what the training gradient does not flow: ``estimate`` (the
    kernel handed to the restorer), ``image`` (the x̂ handed to the estimator), ``both`` or ``none``;
    ``crop`` is the largest side, in low-resolution pixels, of the window that the estimator looks at
    (0: no limit); ``least_doubt`` is told to the restorer where the estimator doubts less: photos from cameras differ from
    blur, decimation and white noise in more than the kernel. ``noise`` says whose noise level a photo is restored with where
    none is given: that of the ``estimators`` as they learned it, or where it is white that of its ``colours``
    (:mod:`blindsr.estimators.noise`), which is closer.
    """

    restorer: Any = field(metadata={"parse": registry.parse_component("restorer")})
    initial: Any = field(default=None, metadata={"parse": registry.parse_component("estimator")})
    estimator: Any = field(default=None, metadata={"parse": registry.parse_component("estimator")})
    basis: str = ""
    loops: int = 3
    schedule: Literal["warm", "restart"] = "warm"
    detach: Literal["none", "image", "estimate", "both"] = "image"
    crop: int = 128
    least_doubt: float = 0.0
    noise: Literal["estimators", "colours"] = "estimators"

    def __post_init__(self) -> None:
        if self.loops < 1:
            raise ValueError("loops must be at least 1")
        if (self.initial or self.estimator) and not self.basis:
            raise ValueError("a blind model needs a basis, the name of a file in pca/")


class AlternatingSR(nn.Module):
    """Estimator and restorer taking turns; tensors and units as in :mod:`blindsr.interfaces`."""

    def __init__(self, config: AlternatingConfig, basis: KernelBasis | None = None):
        super().__init__()
        self.config = config
        self.restorer = registry.build(config.restorer)
        self.initial = registry.build(config.initial) if config.initial else None
        self.estimator = registry.build(config.estimator) if config.estimator else None
        self.basis = basis
        if not self.restorer.uses_kernel and (self.finds_kernel or config.basis or basis is not None):
            raise BlindSRError("this restorer uses no kernel; leave initial, estimator and basis out")
        if self.finds_kernel and basis is None:
            raise BlindSRError("a blind model needs its kernel basis")
        if self.estimator and config.schedule == "warm" and config.loops > self.restorer.n_iterations:
            raise BlindSRError(
                f"the warm schedule splits {self.restorer.n_iterations} iterations over {config.loops} loops; "
                "lower loops or choose the restart schedule"
            )
        if self.finds_kernel and 0 < config.crop < 3 * basis.size:
            raise BlindSRError(
                f"a crop of {config.crop} is too small for this basis; use {3 * basis.size} or more, or 0"
            )
        for part in filter(None, (self.initial, self.estimator)):
            if part.code_length not in (None, basis.m):
                told = f"the estimator's code has {part.code_length} numbers, that of {config.basis} {basis.m}"
                raise BlindSRError(f"{told}; set its code")
            if part.kernel_size not in (None, basis.size):
                told = f"the estimator's kernel has {part.kernel_size} pixels a side, those of {config.basis} {basis.size}"
                raise BlindSRError(f"{told}; set its size")

    @property
    def blind(self) -> bool:
        """Whether the model can restore without being given a kernel."""
        return self.finds_kernel or not self.restorer.uses_kernel

    @property
    def finds_kernel(self) -> bool:
        """Whether the model can find a kernel by itself."""
        return self.initial is not None or self.estimator is not None

    @property
    def knows_cameras(self) -> bool:
        """Whether the restorer has learned, where it doubts its kernel, what cameras and lossy coding do to photos."""
        return self.config.least_doubt > 0

    @property
    def starts_anew(self) -> bool:
        """Whether every loop restores from the beginning: its picture depends on its kernel alone."""
        return self.estimator is None or self.config.schedule == "restart"

    def forward(
        self,
        y: Tensor,
        scale: int,
        k: Tensor | None = None,
        sigma: Tensor | None = None,
        shift: float = 0.0,
        first: Estimate | None = None,
        finish: bool = True,
        doubt: Tensor | None = None,
        learn_all: bool = True,
        least_sigma: float = 0.0,
    ) -> Restoration:
        """Restore ``y`` (B, 3, H, W), blurred circularly and decimated on the corner grid.

        With ``k`` (B, 1, h, w) the restoration is non-blind and has one iterate; ``sigma`` (B,) is then
        taken as given, or from the first estimator, and ``doubt`` (B,) says how far to trust ``k`` (None: it is
        true). Without ``k`` every loop gives an iterate; a given ``sigma`` stays fixed. ``shift`` moves kernels by
        that many high-resolution pixels (centre grid).
        ``first`` is the first estimate where it was made elsewhere, from a larger piece of the photo, say.
        Without ``finish`` the last restoration is left out (its x is None): enough to train estimators. Without
        ``learn_all`` no gradient flows through the restorations before the last. ``least_sigma`` in [0, 1] is a noise
        level that is known to be there, of rounding, say: less is taken for it.
        Where the restorer uses no kernel, ``y`` and ``scale`` are all that counts, and the one iterate has x alone.

        Raises BlindSRError when the model is asked for what it cannot estimate, given a kernel that it does not
        use, or asked for a scale that its restorer does not serve.
        """
        self.restorer.check_scale(scale)
        if not self.restorer.uses_kernel:
            if k is not None:
                raise BlindSRError("this model restores without a kernel; leave the kernel out")
            return Restoration((Iterate(self.restorer(y, None, None, scale), None, None, None),))
        if k is not None:
            if sigma is None:
                sigma = (first or self.first_estimate(y, scale)).sigma
            sigma = sigma.clamp_min(least_sigma)
            x = self.restorer(y, k, sigma, scale, shift=shift, doubt=self.told(doubt))
            return Restoration((Iterate(x, k, None, sigma, doubt),))
        estimate = first or self.first_estimate(y, scale)
        iterates: list[Iterate] = []
        x = None
        schedule = self.schedule()
        for iterations in schedule:
            if iterates and self.estimator is not None:
                estimate = self.correct(x, y, scale, estimate, shift)
            kernel = estimate.kernel
            level = (estimate.sigma if sigma is None else sigma).clamp_min(least_sigma)
            used = kernel.detach() if self.config.detach in ("estimate", "both") else kernel
            doubt = self.told(estimate.doubt)
            x0 = x if self.config.schedule == "warm" else None
            last = len(iterates) == len(schedule) - 1
            if finish or not last:
                with torch.set_grad_enabled(torch.is_grad_enabled() and (learn_all or last)):
                    x = self.restorer(y, used, level.detach(), scale, x0, iterations, shift, doubt)
            else:
                x = None
            iterates.append(Iterate(x, kernel, estimate.code, level, estimate.doubt))
        return Restoration(tuple(iterates))

    def told(self, doubt: Tensor | None) -> Tensor | None:
        """What the restorer is told of a ``doubt``."""
        return None if doubt is None else doubt.detach().clamp_min(self.config.least_doubt)

    def schedule(self) -> list[range]:
        """The restorer's iterations that each loop runs."""
        total = self.restorer.n_iterations
        if self.estimator is None:
            return [range(total)]
        if self.config.schedule == "restart":
            return [range(total)] * self.config.loops
        bounds = [round(total * i / self.config.loops) for i in range(self.config.loops + 1)]
        return [range(a, b) for a, b in zip(bounds, bounds[1:])]

    def first_estimate(self, y: Tensor, scale: int) -> Estimate:
        """The estimate before any restoration: the initial estimator's, or a Dirac, without noise unless colours are asked."""
        if not self.restorer.uses_kernel:
            raise BlindSRError("this model restores without a kernel and finds none; choose another, such as tiny")
        if not self.blind:
            raise BlindSRError("this model is non-blind: give the kernel and sigma")
        if self.initial is not None:
            found = self.initial(None, y, scale)
            otherwise = found.sigma  # where colours say nothing
        else:
            dirac = y.new_zeros(len(y), 1, self.basis.size, self.basis.size)
            dirac[..., self.basis.size // 2, self.basis.size // 2] = 1
            found, otherwise = Estimate(None, y.new_zeros(len(y)), dirac, y.new_ones(len(y))), None
        if self._asks_colours:
            found = replace(found, sigma=estimate_noise(y, otherwise))
        return self._complete(found)

    def correct(self, x: Tensor, y: Tensor, scale: int, estimate: Estimate, shift: float = 0.0) -> Estimate:
        """One turn of the estimator: look at ``x`` and ``y`` and correct the estimate."""
        if self.config.detach in ("image", "both"):
            x = x.detach()
        whole = y
        x, y = self._window(x, y, scale)
        margin = 0 if y.shape == whole.shape else -(-self.basis.size // (2 * scale))
        found = self._complete(self.estimator(x, y, scale, estimate, shift, margin))
        return replace(found, sigma=estimate.sigma) if self._asks_colours else found

    @property
    def _asks_colours(self) -> bool:
        """Not in training, where the estimators learn the noise level themselves: they are asked where colours say nothing."""
        return self.config.noise == "colours" and not self.training

    def _complete(self, estimate: Estimate) -> Estimate:
        """The estimate with both its code and its kernel."""
        if estimate.kernel is None:
            return replace(estimate, kernel=self.basis.decode(estimate.code))
        if estimate.code is None:
            return replace(estimate, code=self.basis.encode(estimate.kernel))
        return estimate

    def _window(self, x: Tensor, y: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """The most textured window of bounded size: enough to judge a kernel by, at a bounded cost."""
        side = self.config.crop
        if not side or max(y.shape[-2:]) <= side:
            return x, y
        top, left = most_textured(y, side)
        y = y[..., top : top + side, left : left + side]
        return x[..., top * scale : (top + side) * scale, left * scale : (left + side) * scale], y


def new_model(config: AlternatingConfig) -> AlternatingSR:
    """A model with untrained weights and the basis that its configuration names (a path, or a file in pca/)."""
    if not config.basis:
        return AlternatingSR(config)
    path = Path(config.basis)
    if path.suffix != ".npz":
        path = resources.shipped("pca") / f"{config.basis}.npz"
    return AlternatingSR(config, KernelBasis.load(path))


def most_textured(y: Tensor, side: int) -> tuple[int, int]:
    """Upper-left corner of the ``side``-pixel window of ``y`` (B, C, H, W) with the largest gradient energy."""
    gray = y.detach().float().mean((0, 1))
    energy = gray.diff(dim=-1)[:-1].square() + gray.diff(dim=-2)[:, :-1].square()
    total = F.pad(energy, (1, 0, 1, 0)).cumsum(0).cumsum(1)
    height, width = (min(side - 1, n) for n in energy.shape)
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = divmod(int(sums.argmax()), sums.shape[1])
    return top, left
