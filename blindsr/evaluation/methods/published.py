"""Another model beside the benchmark's, told the true kernel and σ: published weights, say."""

from __future__ import annotations

from dataclasses import dataclass, replace

from blindsr.alternating import AlternatingSR
from blindsr.evaluation.cases import Case
from blindsr.evaluation.methods.base import RUNS, Method, Result, check_path, load_model, run_model, weights_fingerprint
from blindsr.registry import register


@dataclass(frozen=True)
class PublishedConfig:
    """``path``: a published .pth (USRNet, BSRNet, BSRGAN), a file of ours, or a shipped name."""

    path: str = ""


@register("method", "published", PublishedConfig)
class Published(Method):
    """A model that uses no kernel is told none."""

    version = RUNS

    @property
    def label(self) -> str:
        return check_path("published", self.config.path).stem

    @property
    def needs_kernel(self) -> bool:  # type: ignore[override]
        return self._model("cpu").restorer.uses_kernel

    def fingerprint(self) -> str:
        return weights_fingerprint(str(check_path("published", self.config.path)))

    def runs(self, model: AlternatingSR | None) -> AlternatingSR:
        return self._model("cpu")

    def restore(self, case: Case, model: AlternatingSR | None) -> list[Result]:
        case = replace(case, rounding=0.0)  # it is told what is published, and nothing of rounding
        return [Result(run_model(self._model(str(case.y.device)), case, case.k)[-1].x)]

    def _model(self, device: str) -> AlternatingSR:
        return load_model(str(check_path("published", self.config.path)), device)
