"""Blind beside non-blind on sharp photos: what not knowing the kernel costs.

Protocol: photos cropped to a multiple of lcm(s, 8), blurred circularly in float, upper-left decimation
(corner grid), no noise and no rounding of the input; results clipped to [0, 1] and not rounded; PSNR over
RGB inside a border of s² pixels. Every cell (photo, kernel, scale) is one JSON line, so that a run that
was stopped goes on where it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blindsr import images
from blindsr.alternating import AlternatingSR
from blindsr.checkpoints import fingerprint
from blindsr.degradation.classical import degrade
from blindsr.evaluation.jsonl import read_lines
from blindsr.evaluation.metrics import kernel_correlation, psnr
from blindsr.inference.boundary import pad
from blindsr.inference.refinement import pays, refine
from blindsr.interfaces import Estimate, Restorer
from blindsr.kernels.distance import kernel_distance
from blindsr.kernels.width import kernel_width
from blindsr.ops.resize import bicubic_enlarge


def evaluate_cell(
    model: AlternatingSR, x: Tensor, k: Tensor, scale: int, sigma: float = 0.0, reference: Restorer | None = None
) -> dict[str, float]:
    """One photo ``x`` (1, 3, H, W) under one kernel ``k`` (1, 1, h, w): PSNR in dB of bicubic, of the
    restorer told the kernel (``true``), of a ``reference`` restorer told the kernel, of every blind loop, and of the
    answer where the kernel is refined after them (``refined``); the kernel error of all of these, and (``error
    bicubic``) that of the loops' last estimate made from the bicubic picture instead of x̂; and the estimated noise
    level on the 0–255 scale."""
    y = degrade(x, k, scale)
    if sigma:
        rng = np.random.default_rng(0)
        y = y + sigma * torch.from_numpy(rng.standard_normal(y.shape, dtype=np.float32))
    level = torch.full((1,), sigma)

    def quality(picture: Tensor) -> float:
        return round(float(psnr(picture.float().clamp(0, 1), x, scale**2)), 4)

    enlarged = bicubic_enlarge(y, scale, "corner")
    cell = {"bicubic": quality(enlarged), "true": quality(model(y, scale, k, level).x)}
    if reference is not None:
        cell["reference"] = quality(reference(y, k, level, scale))
    if not model.blind:
        return cell
    result = model(y, scale)
    iterates = result.iterates
    for i, iterate in enumerate(iterates, 1):
        cell[f"blind {i}"] = quality(iterate.x)
        cell[f"error {i}"] = round(float(kernel_distance(iterate.kernel, k)), 4)
    if len(iterates) > 1:
        before = iterates[-2]
        blurred = model.correct(enlarged, y, scale, Estimate(before.code, before.sigma, before.kernel, before.doubt))
        cell["error bicubic"] = round(float(kernel_distance(blurred.kernel, k)), 4)
    if pays(model):
        result = refine(model, pad(y, scale, None), scale, result)
        cell["refined"] = quality(result.x)
        cell["error refined"] = round(float(kernel_distance(result.kernel, k)), 4)
    cell["correlation"] = round(float(kernel_correlation(result.kernel, k)), 4)
    cell["width"] = round(kernel_width(result.kernel[0, 0].numpy()), 3)
    if result.iterates[-1].doubt is not None:
        cell["doubt"] = round(float(result.iterates[-1].doubt), 4)
    cell["sigma_255"] = round(255 * float(result.sigma), 3)
    return cell


@torch.inference_mode()
def fill_table(
    model: AlternatingSR,
    photos: Sequence[Path],
    kernels: Sequence[np.ndarray],
    scales: Sequence[int],
    out: Path,
    autocast: Callable[[], AbstractContextManager],
    reference: Restorer | None = None,
    sigma: float = 0.0,
    numbers: Sequence[int] | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
) -> list[dict[str, Any]]:
    """Evaluate every cell that ``out`` does not hold yet for these weights; returns all of them.

    ``kernels`` are (h, w); in the cells they are called 1, 2, … in their order, and ``numbers`` picks some.
    """
    model.eval()
    mark = fingerprint(model)

    def key(cell: dict[str, Any]) -> tuple:
        return cell["weights"], cell["photo"], cell["kernel"], cell["scale"], cell["sigma"]

    cells = {key(c): c for c in read_lines(out)}
    wanted = [
        (mark, path.name, number, scale, sigma)
        for path in photos
        for scale in scales
        for number in numbers or range(1, len(kernels) + 1)
    ]
    paths = {path.name: path for path in photos}
    todo = [w for w in wanted if w not in cells]
    name, pixels = "", None
    for wish in progress(todo):
        _, photo, number, scale, _ = wish
        if photo != name:
            name, pixels = photo, images.to_float(images.read(paths[photo]).pixels)
            pixels = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
        multiple = math.lcm(scale, 8)
        height, width = (n // multiple * multiple for n in pixels.shape[:2])
        x = torch.from_numpy(np.ascontiguousarray(pixels[:height, :width].transpose(2, 0, 1)))[None]
        k = torch.from_numpy(np.asarray(kernels[number - 1], np.float32))[None, None]
        with autocast():
            measured = evaluate_cell(model, x, k, scale, sigma, reference)
        cell = {"weights": mark, "photo": photo, "kernel": number, "scale": scale, "sigma": sigma, **measured}
        with open(out, "a") as file:
            file.write(json.dumps(cell) + "\n")
        cells[wish] = cell
    return [cells[w] for w in wanted]


def mean(cells: Iterable[dict[str, Any]], column: str) -> float:
    """Mean of a column over the cells that have it; NaN when none has."""
    values = [c[column] for c in cells if column in c]
    return sum(values) / len(values) if values else math.nan


def markdown(cells: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """One table per scale: a row per column of the cells, a column per kernel, means of the two families."""
    lines = []
    for scale in sorted({c["scale"] for c in cells}):
        here = [c for c in cells if c["scale"] == scale]
        numbers = sorted({c["kernel"] for c in here})
        photos = len({c["photo"] for c in here})
        lines += [f"**×{scale}**, {photos} photos", ""]
        lines.append("| | " + " | ".join(f"k{n}" for n in numbers) + " | mean k1–k8 | mean k9–k12 |")
        lines.append("|---" * (len(numbers) + 3) + "|")
        for column in columns:
            row = [mean([c for c in here if c["kernel"] == n], column) for n in numbers]
            row.append(mean([c for c in here if c["kernel"] <= 8], column))
            row.append(mean([c for c in here if c["kernel"] > 8], column))
            digits = 2 if column in ("bicubic", "true", "reference", "refined", "sigma_255") or "blind" in column else 3
            lines.append(f"| {column} | " + " | ".join("–" if math.isnan(v) else f"{v:.{digits}f}" for v in row) + " |")
        lines.append("")
    return "\n".join(lines)
