"""Validation during training: blind beside non-blind on photos held back."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from blindsr.alternating import AlternatingSR
from blindsr.evaluation.metrics import kernel_distance, psnr
from blindsr.ops.resize import bicubic_enlarge
from blindsr.training.data import Batch


@torch.no_grad()
def validate(model: AlternatingSR, batches: Sequence[Batch], autocast, restore: bool = True) -> dict[str, float]:
    """Means per scale: PSNR of bicubic, of the true kernel and of every blind loop; relative kernel error
    of every loop; mean absolute σ error on the 0–255 scale. Without ``restore`` only the first estimate."""
    model.eval()
    report: dict[str, float] = {}
    for batch in batches:
        s, border = batch.scale, batch.scale**2

        def note(name: str, value: torch.Tensor, s: int = s) -> None:
            report[f"x{s} {name}"] = round(float(value.mean()), 4)

        with autocast():
            if restore:
                note("psnr bicubic", psnr(bicubic_enlarge(batch.y, s, "corner").clamp(0, 1), batch.x, border))
                sharp = model(batch.y, s, batch.k, batch.sigma).x
                note("psnr true kernel", psnr(sharp.float().clamp(0, 1), batch.x, border))
            if model.blind and restore:
                result = model(batch.y, s)
                for i, iterate in enumerate(result.iterates, 1):
                    note(f"psnr blind {i}", psnr(iterate.x.float().clamp(0, 1), batch.x, border))
                    error = kernel_distance(iterate.kernel, batch.k)
                    note(f"kernel error {i}", error)
                    if iterate.doubt is not None:
                        note(f"doubt error {i}", (iterate.doubt - error).abs())
                note("sigma error", 255 * (result.sigma - batch.sigma).abs())
            elif model.blind:
                estimate = model.first_estimate(batch.y, s)
                error = kernel_distance(estimate.kernel, batch.k)
                note("kernel error 1", error)
                if estimate.doubt is not None:
                    note("doubt error 1", (estimate.doubt - error).abs())
                note("sigma error", 255 * (estimate.sigma - batch.sigma).abs())
    model.train()
    return report
