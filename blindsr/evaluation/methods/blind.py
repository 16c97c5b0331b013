"""The model of the benchmark, told nothing."""

from __future__ import annotations

from dataclasses import dataclass

from blindsr.alternating import AlternatingSR
from blindsr.evaluation.cases import Case
from blindsr.evaluation.methods.base import RUNS, Method, Result, run_model
from blindsr.interfaces import BlindSRError, Iterate
from blindsr.registry import register

FINDS = 2  # raise it when kernels are found otherwise; what is told its kernel stays as it is


@dataclass(frozen=True)
class BlindConfig:
    """No options."""


@register("method", "blind", BlindConfig)
class Blind(Method):
    """The answer is the last picture. The loops before it are rows of their own, ``blind, loop 1`` and so on; the last
    one too where the kernel is refined after it."""

    needs_model = True
    version = RUNS + FINDS

    def check(self, model: AlternatingSR | None) -> None:
        if not model.blind:
            cure = "take another --model, or leave the method out"
            raise BlindSRError(f"method {self.label}: this model is non-blind; {cure}")

    def restore(self, case: Case, model: AlternatingSR | None) -> list[Result]:
        *before, answer = run_model(model, case)
        loops = before[: len(model.schedule())]
        return [*(_result(loop, f"loop {i}") for i, loop in enumerate(loops, 1)), _result(answer)]


@dataclass(frozen=True)
class RefinedConfig:
    """No options."""


@register("method", "refined", RefinedConfig)
class Refined(Blind):
    """The same, with the kernel refined on the photo itself whatever the model."""

    def restore(self, case: Case, model: AlternatingSR | None) -> list[Result]:
        return [_result(run_model(model, case, refined=True)[-1])]


def _result(iterate: Iterate, label: str = "") -> Result:
    sigma, doubt = (None if value is None else float(value) for value in (iterate.sigma, iterate.doubt))
    return Result(iterate.x, label, iterate.kernel, sigma, doubt)
