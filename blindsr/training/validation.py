"""Validation during training: blind beside non-blind on photos held back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blindsr.alternating import AlternatingSR
from blindsr.evaluation.metrics import psnr
from blindsr.evaluation.niqe import niqe
from blindsr.interfaces import Batch, BlindSRError, Estimate, Iterate
from blindsr.kernels.distance import kernel_distance
from blindsr.ops.fourier import grid_shift
from blindsr.ops.resize import bicubic_enlarge
from blindsr.training.losses import uncounted
from blindsr.training.watch import contrast


@dataclass(frozen=True)
class Shown:
    """The first photo of a validation batch: low-resolution, restored and sharp (H, W, 3) in [0, 1]; the true and the
    estimated kernel (h, w), None where there is none."""

    title: str
    lr: np.ndarray
    sr: np.ndarray
    hr: np.ndarray
    true_kernel: np.ndarray | None
    kernel: np.ndarray | None


@torch.no_grad()
def validate(
    model: AlternatingSR, batches: Sequence[Batch], autocast, restore: bool = True, natural: bool = False
) -> tuple[dict[str, float], list[Shown]]:
    """Means per scale: PSNR of bicubic, of the true kernel, of the recorded one where there is one, and of every blind
    loop; relative kernel error of every loop; mean absolute σ error on the 0–255 scale; the smallest contrast of the last
    restoration relative to that of the true picture. And one photo of every batch to look at. Without ``restore`` only the
    first estimate; with ``natural`` also NIQE of bicubic, of the last restoration and of the true pictures, which want 96
    pixels a side."""
    model.eval()
    device = next(model.parameters()).device
    report: dict[str, float] = {}
    kinds: Counter[str] = Counter()
    shown = []
    for batch in (b.to(device) for b in batches):
        with autocast():
            named, last, x = _judge(model, batch, restore)
        prefix = f"x{batch.scale}" + ("" if batch.k is not None else " unknown")
        kinds[prefix] += 1
        if kinds[prefix] > 1:  # of several degradations
            prefix += f" {kinds[prefix]}"
        if natural and x is not None:
            bicubic = bicubic_enlarge(batch.y, batch.scale, batch.grid)
            named |= {f"niqe {of}": naturalness(t) for of, t in (("bicubic", bicubic), ("", x), ("true", batch.x))}
        means = {f"{prefix} {name}".strip(): float(value.nanmean()) for name, value in named.items()}
        report |= {name: round(value, 4) for name, value in means.items() if math.isfinite(value)}
        if x is not None:
            shown.append(_show(prefix, batch, x, last))
    model.train()
    return report, shown


def naturalness(x: Tensor) -> Tensor:
    """NIQE of every picture of (B, 3, H, W); lower is better, NaN where it finds nothing to judge."""
    found = []
    for picture in x.float().clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy():
        try:
            found.append(niqe(picture))
        except BlindSRError:
            found.append(math.nan)
    return torch.tensor(found)


def _judge(
    model: AlternatingSR, batch: Batch, restore: bool
) -> tuple[dict[str, Tensor], Estimate | Iterate | None, Tensor | None]:
    """What is to be told of one batch, its last estimate, and its last restoration."""
    s = batch.scale
    named: dict[str, Tensor] = {}
    last: Estimate | Iterate | None = None
    x: Tensor | None = None

    def quality(x: Tensor) -> Tensor:
        return psnr(x.float().clamp(0, 1), batch.x, max(s**2, uncounted(batch, model.restorer.uses_kernel)))

    def judge(i: int, estimate: Estimate | Iterate) -> None:
        if batch.k is None or estimate.kernel is None:
            return
        error = kernel_distance(estimate.kernel, batch.k)
        named[f"kernel error {i}"] = error
        if estimate.doubt is not None:
            named[f"doubt error {i}"] = (estimate.doubt - error).abs()

    if restore:
        named["psnr bicubic"] = quality(bicubic_enlarge(batch.y, s, batch.grid))
    if restore and batch.k is not None and model.restorer.uses_kernel:
        x = model(batch.y, s, batch.k, batch.sigma).x
        named["psnr true kernel"] = quality(x)
    if restore and batch.found is not None and model.restorer.uses_kernel:
        found = batch.found
        named["psnr recorded kernel"] = quality(model(batch.y, s, found.kernel, found.sigma, doubt=found.doubt).x)
    if model.blind and restore:
        iterates = model(batch.y, s, shift=grid_shift(batch.grid, s)).iterates
        for i, iterate in enumerate(iterates, 1):
            named[f"psnr blind {i}"] = quality(iterate.x)
            judge(i, iterate)
        last = iterates[-1]
        x = last.x
    elif model.blind:
        last = model.first_estimate(batch.y, s)
        judge(1, last)
    if last is not None and last.sigma is not None and batch.sigma is not None:
        named["sigma error"] = 255 * (last.sigma - batch.sigma).abs()
    if x is not None:
        named["contrast"] = torch.tensor(contrast(x, batch.x))
    return named, last, x


def _show(title: str, batch: Batch, x: Tensor, last: Estimate | Iterate | None) -> Shown:
    lr, sr, hr = (t[0].float().clamp(0, 1).permute(1, 2, 0).cpu().numpy() for t in (batch.y, x, batch.x))
    true = None if batch.k is None else batch.k[0, 0].cpu().numpy()
    found = None if last is None or last.kernel is None else last.kernel[0, 0].float().cpu().numpy()
    return Shown(title, lr, sr, hr, true, found)
