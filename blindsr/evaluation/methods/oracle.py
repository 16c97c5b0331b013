"""The model of the benchmark, told a kernel: the true one (``oracle``), or all others of the protocol in turn."""

from __future__ import annotations

from dataclasses import dataclass

from blindsr.alternating import AlternatingSR
from blindsr.evaluation.cases import Case
from blindsr.evaluation.methods.base import RUNS, Method, Result, run_model
from blindsr.interfaces import BlindSRError
from blindsr.registry import register


class _Told(Method):
    needs_kernel = True
    needs_model = True
    version = RUNS

    def check(self, model: AlternatingSR | None) -> None:
        if not model.restorer.uses_kernel:
            raise BlindSRError(f"method {self.label}: this model uses no kernel; leave the method out")


@dataclass(frozen=True)
class OracleConfig:
    """No options."""


@register("method", "oracle", OracleConfig)
class Oracle(_Told):
    """The true kernel and σ are given: what the same restorer could reach if the estimate were perfect."""

    def restore(self, case: Case, model: AlternatingSR | None) -> list[Result]:
        return [Result(run_model(model, case, case.k)[-1].x)]


@dataclass(frozen=True)
class WrongKernelConfig:
    """No options."""


@register("method", "wrong_kernel", WrongKernelConfig)
class WrongKernel(_Told):
    """Mean over the other kernels of the protocol: what an estimate that says nothing costs."""

    needs_others = True

    def restore(self, case: Case, model: AlternatingSR | None) -> list[Result]:
        return [Result(run_model(model, case, k)[-1].x) for k in case.others]
