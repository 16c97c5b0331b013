"""Unsharp masking of the sharp photo, before it is degraded (Real-ESRGAN, Wang et al., ICCVW 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from blindsr.degradation.operation import Drawn, Operation, Pair
from blindsr.limits import check_least, check_odd
from blindsr.registry import register


@dataclass(frozen=True)
class SharpenConfig:
    """Adds ``weight`` times the difference from a Gaussian blur of ``size`` pixels (odd) where it exceeds
    ``threshold`` on the 0–255 scale, with soft transitions."""

    weight: float = 0.5
    size: int = 51
    threshold: float = 10.0

    def __post_init__(self) -> None:
        check_odd(size=self.size)
        check_least(0, weight=self.weight, threshold=self.threshold)


@register("operation", "sharpen", SharpenConfig)
class Sharpen(Operation):
    """Sharpens both: what is to be restored is the sharpened photo."""

    def draw(self, rng: np.random.Generator, scale: int) -> Drawn:
        c = self.config
        return {"weight": c.weight, "size": c.size, "threshold": c.threshold}

    def apply(self, pair: Pair, drawn: Drawn) -> Pair:
        lr = unsharp(pair.lr, **drawn)
        return replace(pair, lr=lr, hr=lr if pair.hr is pair.lr else unsharp(pair.hr, **drawn))

    def reach(self, scale: int) -> float:
        return self.config.size / 2 / scale  # OpenCV's Gaussians of this size end at three deviations


def unsharp(image: np.ndarray, weight: float, size: int, threshold: float) -> np.ndarray:
    """``image`` (H, W, 3) float32 in [0, 1], sharpened."""
    residual = image - cv2.GaussianBlur(image, (size, size), 0)
    mask = (np.abs(residual) * 255 > threshold).astype(np.float32)
    soft = cv2.GaussianBlur(mask, (size, size), 0)
    sharpened = np.clip(image + weight * residual, 0, 1)
    return image + soft * (sharpened - image)
