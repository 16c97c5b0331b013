"""The types everyone here speaks: start reading here.

A low-resolution photo ``y`` was made from a sharp one ``x`` by a blur ``k``, decimation by ``s``
and white Gaussian noise of standard deviation ``sigma``::

    y = (x ⊗ k)↓s + n,    n ~ N(0, sigma²)

A :class:`Restorer` finds ``x`` when ``k`` and ``sigma`` are known (some do without). An :class:`Estimator` finds a
code of ``k`` (its coefficients in a PCA basis) and ``sigma``. :class:`blindsr.alternating.AlternatingSR`
lets the two take turns. A :class:`Degradation` makes training pairs by playing the formula forward.

Shapes and units, everywhere inside the package:

* images are ``(B, C, H, W)`` float32 in [0, 1], RGB;
* kernels are ``(B, 1, h, w)``, ``h`` and ``w`` odd, summing to 1, centred at ``h//2, w//2``;
* ``sigma`` is ``(B,)`` on the [0, 1] scale; the command line and the tables speak 0–255;
* a ``code`` is ``(B, m)``;
* ``grid`` says where low-resolution pixel ``i`` lies among the high-resolution ones: at ``i·s``
  (``"corner"``, classical decimation) or at ``i·s + (s−1)/2`` (``"centre"``, any ordinary resize).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

T = TypeVar("T")
Grid = Literal["corner", "centre"]
SCALES = (1, 2, 3, 4)


class BlindSRError(Exception):
    """A problem the user can mend; its message is one line that names the cure."""


@dataclass(frozen=True)
class Estimate:
    """What an estimator says of a photo: the blur kernel and the noise level ``sigma`` (B,) in [0, 1].

    An estimator answers the kernel by its ``code`` (B, m) or as ``kernel`` (B, 1, h, w); the alternation
    fills in the other, so that whoever reads an estimate finds both. ``doubt`` (B,) is what the estimator
    expects of its own relative error ‖k − k*‖/‖k*‖: 0 for a kernel known to be true, about 1 for one that
    says nothing; None from an estimator that does not judge itself.
    """

    code: Tensor | None
    sigma: Tensor
    kernel: Tensor | None = None
    doubt: Tensor | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> Estimate:
        """The same on ``device``."""
        return with_tensors(self, lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Estimate:
        """The same in page-locked memory: loader processes ask for it by this name."""
        return with_tensors(self, Tensor.pin_memory)


@dataclass(frozen=True)
class Iterate:
    """One turn of the alternation: the restored ``x`` (B, C, s·H, s·W) and the ``kernel``, ``code``,
    ``sigma`` and ``doubt`` it was restored with (``code`` and ``doubt`` are None when the kernel was given,
    ``x`` when the estimate alone was asked for, all but ``x`` when the restorer uses no kernel)."""

    x: Tensor | None
    kernel: Tensor | None
    code: Tensor | None
    sigma: Tensor | None
    doubt: Tensor | None = None


@dataclass(frozen=True)
class Restoration:
    """Every iterate of a restoration; the last one is the answer."""

    iterates: tuple[Iterate, ...]

    @property
    def x(self) -> Tensor:
        return self.iterates[-1].x

    @property
    def kernel(self) -> Tensor | None:
        return self.iterates[-1].kernel

    @property
    def sigma(self) -> Tensor | None:
        return self.iterates[-1].sigma


@dataclass(frozen=True)
class Degraded:
    """A training pair. ``lr`` (h, w, C) and ``hr`` (h·s, w·s, C) are float32 arrays in [0, 1]; noise may
    take ``lr`` beyond, where it is not rounded as in files.

    ``kernel`` (kh, kw) and ``sigma`` are None where no single true one exists; ``record`` is what was
    drawn, as JSON-ready values, enough to replay ``lr`` exactly."""

    lr: np.ndarray
    hr: np.ndarray
    kernel: np.ndarray | None
    sigma: float | None
    grid: Grid
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Training pairs of one ``scale``: ``x`` (B, 3, H, W) and ``y`` (B, 3, H/s, W/s) on ``grid``; the kernels ``k``
    (B, 1, h, w) and noise levels ``sigma`` (B,), both None where no single true ones exist; ``context``:
    low-resolution pictures of the same blur and noise to make the first estimate from; ``found``: what a model has once
    said of such blur and noise, kernel, level and doubt, to restore with."""

    x: Tensor
    y: Tensor
    k: Tensor | None
    sigma: Tensor | None
    scale: int
    grid: Grid = "corner"
    context: Tensor | None = None
    found: Estimate | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on ``device``."""
        return with_tensors(self, lambda value: value.to(device, non_blocking=True))


def with_tensors(record: T, change: Callable[[Any], Any]) -> T:
    """``record``, an :class:`Estimate` or a :class:`Batch`, with ``change`` of its tensors, and of the estimate that it holds."""
    held = {name: value for name, value in vars(record).items() if isinstance(value, (Tensor, Estimate))}
    return replace(record, **{name: change(value) for name, value in held.items()})


class Degradation:
    """Makes low-resolution photos from sharp ones, with all randomness from ``rng``."""

    kernel_size: int | None = None
    """Side of the kernels that its batches tell; None when they tell none."""
    tells_estimates: bool = False
    """Whether its batches tell what was found of the kernels."""

    def __call__(self, hr: np.ndarray, scale: int, rng: np.random.Generator) -> Degraded:
        """One photo ``hr`` (H, W, C), for files."""
        raise NotImplementedError

    def batch(self, x: Tensor, scale: int, rng: np.random.Generator, around: Tensor | None = None) -> Batch:
        """``x`` (B, C, H, W), for training; the answer is smaller by :meth:`margin` on every side. Where that is 0,
        ``around`` (B, C, H', W'), a larger piece about ``x``, may be given: degraded likewise, it is the batch's context."""
        raise NotImplementedError

    def margin(self, scale: int) -> int:
        """Low-resolution pixels that a batch loses on every side."""
        return 0

    def parts(self) -> tuple[Degradation, ...]:
        """Itself, or the degradations that it mixes."""
        return (self,)

    def choose(self, rng: np.random.Generator) -> Degradation:
        """The part that makes the next batch."""
        return self


class Restorer(nn.Module):
    """Super-resolution by ``n_iterations`` steps that can be run in pieces; non-blind, where it uses a kernel."""

    n_iterations: int
    uses_kernel: bool = True
    """Whether it needs a kernel; one that does not is blind by itself, and finds none."""
    scales: tuple[int, ...] = SCALES
    """The scales that it serves."""
    multiple: int = 1
    """High-resolution pixels of which both sides of a picture should be a multiple, so that it need not pad them itself."""

    def forward(
        self,
        y: Tensor,
        k: Tensor | None,
        sigma: Tensor | None,
        scale: int,
        x0: Tensor | None = None,
        iterations: range | None = None,
        shift: float = 0.0,
        doubt: Tensor | None = None,
    ) -> Tensor:
        """Restore ``y`` (B, C, H, W), blurred circularly by ``k`` (B, 1, h, w), to (B, C, s·H, s·W).

        ``x0`` starts the iteration (None: nearest-neighbour enlargement of ``y``), ``iterations`` names
        the steps to run (None: all of them) and ``shift`` moves the kernel by that many high-resolution
        pixels, which is how a photo on the centre grid is served. ``doubt`` (B,) is the relative error
        expected of ``k`` (None: it is the true kernel). ``k`` and ``sigma`` are None only for a restorer that
        uses no kernel; ``scale`` is one of its ``scales``.
        """
        raise NotImplementedError

    def check_scale(self, scale: int) -> None:
        """Raise BlindSRError for a scale that it does not serve."""
        if scale not in self.scales:
            own, cure = " and ".join(f"×{s}" for s in self.scales), " or ".join(map(str, self.scales))
            raise BlindSRError(f"this model enlarges {own} only, not ×{scale}; use scale {cure}")


class Estimator(nn.Module):
    """Finds the code of the blur kernel and the noise level."""

    code_length: int | None = None
    """Numbers of the codes that it answers; None: it answers kernels."""
    kernel_size: int | None = None
    """Pixels a side of the kernels that it was made for; None: any."""

    def forward(
        self,
        x: Tensor | None,
        y: Tensor,
        scale: int,
        previous: Estimate | None = None,
        shift: float = 0.0,
        margin: int = 0,
    ) -> Estimate:
        """Look at ``y`` (B, C, H, W), at the current restoration ``x`` (B, C, s·H, s·W; None for an
        estimator that needs none) and at the ``previous`` estimate, complete with code and kernel, which it
        may correct. ``shift`` is that of :meth:`Restorer.forward`; of a window cut from a larger photo the
        outer ``margin`` pixels of y depend on what was cut away."""
        raise NotImplementedError
