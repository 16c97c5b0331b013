"""Validation during training: blind beside non-blind on photos held back."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from blindsr.alternating import AlternatingSR
from blindsr.evaluation.metrics import kernel_distance, psnr
from blindsr.interfaces import Batch, Estimate, Iterate
from blindsr.ops.fourier import grid_shift
from blindsr.ops.resize import bicubic_enlarge


@torch.no_grad()
def validate(model: AlternatingSR, batches: Sequence[Batch], autocast, restore: bool = True) -> dict[str, float]:
    """Means per scale: PSNR of bicubic, of the true kernel and of every blind loop; relative kernel error
    of every loop; mean absolute σ error on the 0–255 scale. Without ``restore`` only the first estimate."""
    model.eval()
    report: dict[str, float] = {}
    for batch in batches:
        s, border = batch.scale, batch.scale**2
        part = "" if batch.k is not None else " unknown"

        def note(name: str, value: torch.Tensor, prefix: str = f"x{s}{part}") -> None:
            report[f"{prefix} {name}"] = round(float(value.mean()), 4)

        def quality(x: torch.Tensor, batch: Batch = batch, border: int = border) -> torch.Tensor:
            return psnr(x.float().clamp(0, 1), batch.x, border)

        def judge(i: int, estimate: Estimate | Iterate, note=note, batch: Batch = batch) -> None:
            if batch.k is None:
                return
            error = kernel_distance(estimate.kernel, batch.k)
            note(f"kernel error {i}", error)
            if estimate.doubt is not None:
                note(f"doubt error {i}", (estimate.doubt - error).abs())

        with autocast():
            if restore:
                note("psnr bicubic", quality(bicubic_enlarge(batch.y, s, batch.grid)))
            if restore and batch.k is not None:
                note("psnr true kernel", quality(model(batch.y, s, batch.k, batch.sigma).x))
            if model.blind and restore:
                iterates = model(batch.y, s, shift=grid_shift(batch.grid, s)).iterates
                for i, iterate in enumerate(iterates, 1):
                    note(f"psnr blind {i}", quality(iterate.x))
                    judge(i, iterate)
                last: Estimate | Iterate = iterates[-1]
            elif model.blind:
                last = model.first_estimate(batch.y, s)
                judge(1, last)
            if model.blind and batch.sigma is not None:
                note("sigma error", 255 * (last.sigma - batch.sigma).abs())
    model.train()
    return report
