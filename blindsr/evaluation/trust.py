"""Whether a model knows where it went wrong: its own judgement of the kernel beside what the kernel cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scipy.stats import spearmanr

LEAST = 20  # cells: fewer say nothing


@dataclass(frozen=True)
class Trust:
    """Spearman's rank correlation of ``kernel_risk`` with the dB below the oracle, over so many ``cells``."""

    correlation: float
    cells: int


def trust(cells: Iterable[Mapping[str, Any]]) -> dict[str, Trust]:
    """Of every method that judges its kernels, over all cells (lines of cells.jsonl) that the oracle has too. Settings are
    taken together: a risk must tell a cheap cell at ×4 from a dear one at ×2."""
    cells, oracle, pairs = list(cells), {}, {}
    for cell in cells:
        if cell["method"] == "oracle" and "psnr" in cell["metrics"]:
            oracle[_place(cell)] = cell["metrics"]["psnr"]
    for cell in cells:
        figures = cell["metrics"]
        if "kernel_risk" in figures and "psnr" in figures and _place(cell) in oracle:
            loss = oracle[_place(cell)] - figures["psnr"]
            pairs.setdefault(cell["method"], []).append((figures["kernel_risk"], loss))
    found = {}
    for method, values in pairs.items():
        risks, losses = zip(*values)
        if len(values) >= LEAST and len(set(risks)) > 1 and len(set(losses)) > 1:
            found[method] = Trust(float(spearmanr(risks, losses).statistic), len(values))
    return found


def _place(cell: Mapping[str, Any]) -> tuple:
    return tuple(cell[name] for name in ("set", "image", "scale", "kernel", "sigma_255"))
