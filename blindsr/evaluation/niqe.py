"""NIQE: how far the statistics of a photo lie from those of pristine photos; smaller is better, no reference needed.

Mittal, Soundararajan and Bovik, "Making a 'completely blind' image quality analyzer", IEEE Signal Processing
Letters 20(3), 2013. The pristine statistics in ``niqe_parameters.npz`` are the model parameters that the authors
released: mean (1, 36), covariance (36, 36) and the Gaussian window (7, 7), which is of width 7/6.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.special import gamma

from blindsr.evaluation.metrics import luma_bt601
from blindsr.interfaces import BlindSRError
from blindsr.ops.resize import bicubic_shrink

BLOCK = 96
_PARAMETERS = Path(__file__).with_name("niqe_parameters.npz")
# The shapes among which a fit chooses, and the ratio E|x|²/E[x²] of each: the same grid as the authors'.
_SHAPES = np.linspace(0.2, 10, 9801)
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))


def niqe(image: np.ndarray, border: int = 0) -> float:
    """NIQE of a photo, inside a ``border`` of that many pixels; about 2 to 4 for good photos, more for worse ones.

    ``image`` is (H, W, 3) RGB, or (H, W) or (H, W, 1) gray, which counts as RGB of three equal channels; uint8,
    uint16, or float in [0, 1], clipped there. It is judged by its luma as MATLAB's ``rgb2ycbcr`` gives it (BT.601,
    16–235, rounded to whole levels), in whole blocks of 96×96 pixels from the upper left, the rest cropped. Blocks
    without any texture are left out; the covariance of a single block counts as zero, so that the values of
    photos below two blocks are rough.

    Raises BlindSRError for other arrays, NaN, less than one block, and a photo that is flat in every block.
    """
    luma = _luma(image)
    luma = luma[border : luma.shape[0] - border, border : luma.shape[1] - border]
    rows, cols = (n // BLOCK for n in luma.shape)
    if not rows * cols:
        size = f"{luma.shape[1]}×{luma.shape[0]}"
        raise BlindSRError(f"NIQE needs {BLOCK}×{BLOCK} pixels, not {size}; take a larger photo or a smaller border")
    full = luma[: rows * BLOCK, : cols * BLOCK]
    half = bicubic_shrink(torch.from_numpy(full), 2).numpy()
    features = np.hstack([_features(_normalised(full), BLOCK), _features(_normalised(half), BLOCK // 2)])
    whole = features[np.isfinite(features).all(1)]
    if not len(whole) or full.min() == full.max():
        raise BlindSRError("NIQE finds nothing to judge: the photo is flat; take one with some texture")
    mean, covariance, _ = _pristine()
    spread = np.cov(whole, rowvar=False) if len(whole) > 1 else np.zeros_like(covariance)
    away = np.nanmean(features, 0) - mean
    return float(np.sqrt(away @ np.linalg.pinv((covariance + spread) / 2) @ away))


@cache
def _pristine() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (36,), covariance (36, 36), window (7, 7)."""
    with np.load(_PARAMETERS) as file:
        return file["mu_pris_param"][0], file["cov_pris_param"], file["gaussian_window"]


def _luma(image: np.ndarray) -> np.ndarray:
    """Whole levels on the 16–235 scale, (H, W) float64."""
    if image.ndim == 2:
        image = image[..., None]
    largest = 1 if image.dtype.kind == "f" else {"uint8": 255, "uint16": 65535}.get(image.dtype.name)
    if image.ndim != 3 or image.shape[2] not in (1, 3) or largest is None:
        raise BlindSRError(f"NIQE needs gray or RGB as uint8, uint16 or float, not {image.shape} {image.dtype}")
    if not np.isfinite(image).all():
        raise BlindSRError("NIQE cannot judge a photo with NaN or infinite values; mend them first")
    rgb = torch.from_numpy(np.clip(image.astype(np.float64) / largest, 0, 1)).expand(-1, -1, 3)
    return np.rint(255 * luma_bt601(rgb.movedim(-1, 0)[None])[0, 0].numpy())


def _normalised(luma: np.ndarray) -> np.ndarray:
    """Every pixel less the local mean, over the local standard deviation (plus one level): (H, W)."""
    *_, window = _pristine()

    def local(values: np.ndarray) -> np.ndarray:
        # Not as two one-dimensional filters: a clipped or flat area leaves rounding noise, whose sign the fit
        # counts, and in some photos the order of the additions moves the result by 0.1 or more.
        return cv2.filter2D(values, -1, window, borderType=cv2.BORDER_REPLICATE)

    mean = local(luma)
    return (luma - mean) / (np.sqrt(np.abs(local(luma * luma) - mean * mean)) + 1)


def _features(x: np.ndarray, side: int) -> np.ndarray:
    """The 18 features of every ``side``×``side`` block of the normalised ``x``, (blocks, 18); NaN where it is flat.

    Shape and mean scale of the values; then shape, mean, left and right scale of the products of neighbours,
    across, down and along the two diagonals. Neighbours wrap around within the block, as in the authors' program.
    """
    blocks = x.reshape(x.shape[0] // side, side, x.shape[1] // side, side).swapaxes(1, 2).reshape(-1, side, side)
    shape, left, right = _fit(blocks)
    features = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = _fit(blocks * np.roll(blocks, shift, (1, 2)))
        features += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return np.stack(features, 1)


def _fit(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The asymmetric generalised Gaussian of every block (n, h, w) by its moments: shape, left and right scale, (n,).

    NaN for blocks that lack negative or positive values.
    """
    x = x.reshape(len(x), -1)
    squares = x * x
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (np.sqrt((squares * side).sum(1) / side.sum(1)) for side in (x < 0, x > 0))
        ratio = np.abs(x).mean(1) ** 2 / squares.mean(1)
        skew = left / right
        ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    nearest = np.abs(_RATIOS - ratio[:, None]).argmin(1)
    shape = np.where(np.isfinite(ratio), _SHAPES[nearest], np.nan)
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, scale * left, scale * right
