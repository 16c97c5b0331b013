"""JPEG compression."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from blindsr.degradation.operation import Drawn, Operation, Pair
from blindsr.limits import check_rising
from blindsr.registry import register


@dataclass(frozen=True)
class JPEGConfig:
    """Quality a whole number from ``quality``, both ends included."""

    quality: tuple[int, int] = (30, 95)

    def __post_init__(self) -> None:
        check_rising(1, 100, quality=self.quality)


@register("operation", "jpeg", JPEGConfig)
class JPEG(Operation):
    """To eight bits and through OpenCV's encoder, colours at half resolution as usual."""

    def draw(self, rng: np.random.Generator, scale: int) -> Drawn:
        return {"quality": int(rng.integers(self.config.quality[0], self.config.quality[1] + 1))}

    def apply(self, pair: Pair, drawn: Drawn) -> Pair:
        pixels = np.rint(pair.lr[..., ::-1] * 255).astype(np.uint8)
        _, file = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, drawn["quality"]])
        decoded = cv2.imdecode(file, cv2.IMREAD_COLOR)
        return replace(pair, lr=decoded[..., ::-1] * np.float32(1 / 255))
