"""What every method is, and how one of our models is run on a case."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blindsr import checkpoints, registry
from blindsr.alternating import AlternatingSR
from blindsr.evaluation.cases import Case
from blindsr.inference.boundary import pad
from blindsr.inference.refinement import pays, refine
from blindsr.inference.surroundings import surround
from blindsr.inference.white import first_estimate, is_gray, noise_of
from blindsr.interfaces import BlindSRError, Iterate, Restoration
from blindsr.ops.fourier import grid_shift

# The version of methods that run a model: raise it when :func:`run_model`, or what it calls, gives other pictures.
RUNS = 1


@dataclass(frozen=True)
class Result:
    """A restored ``x`` (1, 3, s·h, s·w). ``kernel`` (1, 1, kh, kw), on the grid of the case, and ``sigma`` in [0, 1]
    are those that were *estimated*, if any, and ``doubt`` is the relative error that the model expects of that kernel.
    ``label`` tells it from the method's answer, which has none; figures of results of one label are averaged."""

    x: Tensor
    label: str = ""
    kernel: Tensor | None = None
    sigma: float | None = None
    doubt: float | None = None


class Method:
    """Restores the photo of a case."""

    needs_kernel = False
    """Whether it does not work without the true kernel."""
    needs_model = False
    """Whether it runs the model of the benchmark."""
    needs_others = False
    """Whether it works with the other kernels of the protocol, of which there must be some."""
    version = 1
    """Raise it when the same case comes out otherwise than before, so that finished cells are done anew. That of methods
    which run a model is :data:`RUNS`, and more where they find the kernel."""

    def __init__(self, config: Any):
        self.config = config

    @property
    def label(self) -> str:
        """The name of its row."""
        return registry.name_of(self.config)

    def restore(self, case: Case, model: AlternatingSR | None) -> list[Result]:
        """The results, its answer among them; ``model`` is None where it does not need one."""
        raise NotImplementedError

    def check(self, model: AlternatingSR | None) -> None:
        """Raise BlindSRError, before any work, where it cannot be run."""

    def runs(self, model: AlternatingSR | None) -> AlternatingSR | None:
        """The model that it runs: that of the benchmark, one of its own, or None."""
        return model if self.needs_model else None

    def options(self) -> dict[str, Any]:
        """Those of its options on which its results depend; where its files lie is none of them."""
        return {name: value for name, value in registry.as_mapping(self.config).items() if name != "path"}

    def fingerprint(self) -> str:
        """What its results depend on beside its options and the model: digits that change with it."""
        return ""


@cache
def load_model(name_or_path: str, device: str) -> AlternatingSR:
    """A model ready to run, loaded once. Raises BlindSRError for a file that cannot be used."""
    model = checkpoints.load(name_or_path).model.to(device)
    model.restorer.to(memory_format=torch.channels_last)  # 1.6 times as fast on a CPU
    return model


@cache
def weights_fingerprint(name_or_path: str) -> str:
    return checkpoints.fingerprint(load_model(name_or_path, "cpu"))


def run_model(
    model: AlternatingSR, case: Case, kernel: Tensor | None = None, refined: bool | None = None
) -> list[Iterate]:
    """Every iterate of ``model`` on a case: told ``kernel`` (1, 1, h, w; corner grid) and the true σ, or blind, and then
    with the found kernel ``refined`` (None: where it is so for users).

    Where the blur wrapped around, nothing is padded; else the photo is padded as for users, and cropped after. Noise
    is made white as for users. A model that uses no kernel is told none.
    """
    if not model.restorer.uses_kernel:
        return list(model(case.y, case.scale).iterates)
    size = (model.basis.size,) * 2 if kernel is None else (kernel.shape[-2], kernel.shape[-1])
    first, seen = None, case.sigma
    if kernel is None:
        first = first_estimate(model, case.y, case.scale, case.rounding, case.coded)
        seen = None if model.initial is None else first.sigma
    known = model.knows_cameras and kernel is None
    noise = noise_of(case.y, case.rounding, is_gray(case.y, 1), case.coded, known, seen)
    first = None if first is None else noise.of_first(first, model)
    sigma = noise.told(case.sigma) if first is None else first.sigma
    y = noise.whitened(case.y, sigma)
    padded = pad(y, case.scale, size, "circular" if case.circular else "reflect", model.restorer.multiple)
    if kernel is not None:
        y = surround(padded, kernel, sigma, case.scale).y
        iterates = model(y, case.scale, kernel, sigma, least_sigma=case.rounding).iterates
    else:
        shift = grid_shift(case.grid, case.scale)
        refined = pays(model) if refined is None else refined
        finish = refined or not model.starts_anew
        result = model(padded.y, case.scale, shift=shift, first=first, finish=finish, least_sigma=case.rounding)
        if refined:
            result = refine(model, padded, case.scale, result, shift)
        elif model.starts_anew:
            *before, last = result.iterates
            y = surround(padded, last.kernel, last.sigma, case.scale, shift).y
            answer = model(y, case.scale, last.kernel, last.sigma, shift, doubt=last.doubt)
            result = Restoration((*before, *answer.iterates))
        iterates = result.iterates
    iterates = [Iterate(padded.crop(i.x, case.scale), i.kernel, i.code, i.sigma, i.doubt) for i in iterates]
    return list(map(noise.in_own, iterates))


def check_path(method: str, path: str) -> Path:
    """``path`` of a method that needs one; raises BlindSRError where none is given."""
    if not path:
        raise BlindSRError(f"method {method}: needs a path; write it as {method}:PATH")
    return Path(os.path.expanduser(path))


def files_fingerprint(paths: list[Path]) -> str:
    """Digits that change when one of the files does."""
    digest = 0
    for path in paths:
        stat = path.stat()
        digest = zlib.crc32(f"{path.name} {stat.st_size} {stat.st_mtime_ns}".encode(), digest)
    return f"{digest:08x}"
