"""What is measured of a result, as the protocol says."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blindsr.evaluation.cases import Case
from blindsr.evaluation.figures import make_known
from blindsr.evaluation.methods.base import Result
from blindsr.evaluation.metrics import crossed, kernel_correlation, luma_bt601, psnr, shifted_psnr, ssim
from blindsr.evaluation.niqe import niqe
from blindsr.evaluation.protocol import OWN, Protocol
from blindsr.interfaces import BlindSRError
from blindsr.kernels.distance import kernel_risk, same_size
from blindsr.ops.filtering import blur, inside
from blindsr.ops.fourier import grid_shift, move
from blindsr.ops.resize import decimate


def score(case: Case, result: Result, protocol: Protocol) -> dict[str, float]:
    """The figures of one result.

    ``psnr`` (dB), ``ssim``, ``niqe`` and those of pyiqa by their names, as far as the protocol asks for them; of a result
    whose kernel was estimated ``aligned_psnr`` beside the first, at the best shift by whole pixels.
    ``redegraded_psnr``: how well the result, degraded again, explains the photo; sanity only, as nearly any kernel
    does well there. Of an estimated kernel ``kernel_psnr`` (dB, peak: that of the true one) and
    ``kernel_correlation``, both at the best shift by whole pixels, and ``kernel_risk``, what the model itself thinks of
    it (:attr:`blindsr.inference.result.Restored.risk`); of σ ``sigma_error_255``, absolute.
    Those of pyiqa are of RGB inside the border.
    Raises BlindSRError, which names the case, for a result of another size than the photo enlarged, and where too little is left of
    it for a metric.
    """
    if not torch.isfinite(result.x).all():
        raise BlindSRError(f"{case.spec.name}: the result holds NaN or infinite values; mend the method, or leave it out")
    x = result.x.float().cpu().clamp(0, 1)
    if protocol.round_result:
        x = (255 * x).round() / 255
    border = protocol.border_pixels(case.scale)
    height, width = (case.scale * n for n in case.y.shape[-2:])
    if x.shape[-2:] != (height, width):
        sizes = f"{x.shape[-1]}×{x.shape[-2]} instead of {width}×{height}"
        raise BlindSRError(f"{case.spec.name}: the result has {sizes} pixels; give one of ×{case.scale}")
    if min(x.shape[-2:]) <= 2 * border:
        raise BlindSRError(f"{case.spec.name}: nothing is left inside a border of {border}; use larger photos")
    try:
        figures = _of_picture(case, result, x, border, protocol)
    except BlindSRError as error:
        raise BlindSRError(f"{case.spec.name}: {error}") from None
    figures |= _of_blur(case, result, x)
    return {name: round(value, 5 if name == "ssim" else 4) for name, value in figures.items()}


def _of_picture(case: Case, result: Result, x: Tensor, border: int, protocol: Protocol) -> dict[str, float]:
    """What the protocol asks for of ``x`` (1, 3, H, W), the result as it is judged, inside a ``border`` of so many pixels."""
    figures: dict[str, float] = {}
    if {"psnr", "ssim"} & set(protocol.metrics):
        pair = [luma_bt601(t) if protocol.colour == "y" else t for t in (x, case.x)]
        if "psnr" in protocol.metrics:
            exact = [t.double() for t in pair]
            figures["psnr"] = float(psnr(*exact, border))
            if result.kernel is not None:
                reach = max(result.kernel.shape) // 2
                figures["aligned_psnr"] = float(shifted_psnr(*exact, reach, border))
        if "ssim" in protocol.metrics:
            figures["ssim"] = float(ssim(*pair, border))
    for name in protocol.metrics:
        if name == "niqe":
            figures["niqe"] = niqe(x[0].permute(1, 2, 0).numpy(), border)
        elif name not in OWN:
            truth = None if case.x is None else inside(case.x, border)
            figures[name] = _pyiqa_score(name, inside(x, border), truth)
    return figures


def _of_blur(case: Case, result: Result, x: Tensor) -> dict[str, float]:
    figures = {}
    shift = grid_shift(case.grid, case.scale)
    used, moved = (case.k, 0.0) if result.kernel is None else (result.kernel.float().cpu(), shift)
    if used is not None and max(used.shape) <= min(x.shape[-2:]):
        again = decimate(blur(x, used, shift=moved), case.scale)
        # Where the blur did not wrap around, the border says nothing.
        margin = 0 if case.circular else -(-max(used.shape) // (2 * case.scale))
        if min(again.shape[-2:]) > 2 * margin:
            figures["redegraded_psnr"] = float(psnr(again, case.y.cpu(), margin).clamp(max=99))
    if result.kernel is not None and case.k is not None:
        found, true = same_size(result.kernel.float().cpu(), case.k)
        true = move(true, -shift)  # on the grid of the estimate
        figures["kernel_psnr"] = aligned_psnr(found, true)
        figures["kernel_correlation"] = float(kernel_correlation(found, true))
    if result.doubt is not None:
        figures["kernel_risk"] = kernel_risk(result.doubt, case.scale)
    if result.sigma is not None and case.k is not None:
        figures["sigma_error_255"] = 255 * abs(result.sigma - math.hypot(float(case.sigma), case.rounding))
    return figures


def aligned_psnr(k: Tensor, reference: Tensor) -> float:
    """PSNR in dB of a kernel (1, 1, h, w) at the shift by whole pixels that serves it best; peak: the reference's."""
    k, reference = k.double(), reference.double()
    product = crossed(k, reference, (2 * k.shape[-2], 2 * k.shape[-1])).amax()
    error = (k.square().sum() + reference.square().sum() - 2 * product).clamp(min=1e-12)
    return float(10 * (reference.amax().square() * k.shape[-2] * k.shape[-1] / error).log10())


def check_metrics(protocol: Protocol) -> None:
    """Raise BlindSRError, before any work, for a metric that cannot be had."""
    for name in protocol.metrics:
        if name not in OWN:
            make_known(name, bool(_pyiqa_metric(name).lower_better))


@cache
def _pyiqa_metric(name: str) -> Any:
    try:
        import pyiqa
    except ImportError:
        own = ", ".join(OWN)
        raise BlindSRError(
            f"metric {name!r}: not one of {own}, and pyiqa, which may know it, is not here: pip install pyiqa"
        ) from None
    try:
        return pyiqa.create_metric(name)
    except Exception as error:  # an unknown name, or weights that cannot be fetched
        raise BlindSRError(f"metric {name!r}: pyiqa cannot make it ({' '.join(str(error).split())})") from None


def _pyiqa_score(name: str, x: Tensor, truth: Tensor | None) -> float:
    metric = _pyiqa_metric(name)
    if metric.metric_mode == "FR" and truth is None:
        raise BlindSRError(f"metric {name!r} compares with the truth, and there is none; leave it out")
    return float(metric(x, truth) if metric.metric_mode == "FR" else metric(x))


def as_uint8(x: Tensor) -> np.ndarray:
    """(1, 3, H, W) in [0, 1], clipped and rounded: (H, W, 3) uint8."""
    return (255 * x[0].float().cpu().clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
