"""Resampling: to half, to a random size, by decimation, to the exact size. All of it keeps the centre grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from blindsr.degradation.blur import convolve
from blindsr.degradation.operation import Drawn, Operation, Pair
from blindsr.kernels.gaussian import gaussian
from blindsr.limits import check_least, check_odd, check_rising, check_shares
from blindsr.ops.resize import keys_cubic
from blindsr.registry import register

METHODS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}


def resize(image: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """``image`` to ``size`` (h, w), without antialiasing but for ``area``: as OpenCV does, and the published code."""
    if image.shape[:2] == size:
        return image
    return np.clip(cv2.resize(image, size[::-1], interpolation=METHODS[method]), 0, 1)


def pick_method(rng: np.random.Generator) -> str:
    return list(METHODS)[int(rng.integers(len(METHODS)))]


def shift_kernel(kernel: np.ndarray, shift: float) -> np.ndarray:
    """``kernel`` (h, w) moved up and left by ``shift`` pixels, bilinearly, its edge repeated; the sum stays 1 only
    where nothing leaves the frame."""
    for axis in (0, 1):
        n = kernel.shape[axis]
        at = np.clip(np.arange(n) + shift, 0, n - 1)
        low = np.minimum(at.astype(int), n - 2)
        share = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
        kernel = (1 - share) * kernel.take(low, axis) + share * kernel.take(low + 1, axis)
    return kernel


class _Resampling(Operation):
    """What the operations here have in common."""

    def reach(self, scale: int) -> float:
        return 2.0


@dataclass(frozen=True)
class HalveConfig:
    """Half the size at once: a share ``matlab`` by MATLAB's antialiased cubic, the others by OpenCV."""

    matlab: float = 0.5

    def __post_init__(self) -> None:
        check_shares(matlab=self.matlab)


@register("operation", "halve", HalveConfig)
class Halve(_Resampling):
    """Everything after it takes the picture for one that has to shrink by half as much."""

    divides = 2

    def draw(self, rng: np.random.Generator, scale: int) -> Drawn:
        return {"method": "matlab" if rng.random() < self.config.matlab else pick_method(rng)}

    def apply(self, pair: Pair, drawn: Drawn) -> Pair:
        height, width = pair.lr.shape[:2]
        method = drawn["method"]
        if method == "matlab" and (height % 2 or width % 2):  # which would stand for one more row or column than there is
            method = "area"
        if method != "matlab":
            return replace(pair, lr=resize(pair.lr, (max(1, height // 2), max(1, width // 2)), method))
        # MATLAB's imresize by a half (:func:`blindsr.ops.resize.bicubic_shrink`), as one filter of eight taps for all pixels.
        taps = keys_cubic((np.arange(8) - 3.5) / 2).astype(np.float32)
        taps /= taps.sum()
        lr = np.pad(pair.lr, ((3, 4), (3, 4), (0, 0)), mode="symmetric")
        lr = cv2.sepFilter2D(lr, -1, taps, taps, anchor=(3, 3))[3:-4:2, 3:-4:2]
        return replace(pair, lr=np.clip(lr, 0, 1))


@dataclass(frozen=True)
class ShrinkConfig:
    """To a random size, by a factor uniform in 1…``most``·scale, or, a share ``nearest``, by the scale exactly: a
    Gaussian blur (``size`` pixels, width uniform in ``width``, the upper end times the scale), moved so that the
    grid stays, and then every scale-th pixel."""

    nearest: float = 0.25
    most: float = 2.0
    size: int = 25
    width: tuple[float, float] = (0.1, 0.6)

    def __post_init__(self) -> None:
        check_shares(nearest=self.nearest)
        check_least(1, most=self.most)
        check_odd(size=self.size)
        check_rising(0.05, width=self.width)


@register("operation", "shrink", ShrinkConfig)
class Shrink(_Resampling):
    def draw(self, rng: np.random.Generator, scale: int) -> Drawn:
        c = self.config
        if rng.random() < c.nearest:
            width = float(rng.uniform(c.width[0], c.width[1] * scale))
            return {"method": "nearest", "scale": scale, "size": c.size, "width": width}
        return {"method": pick_method(rng), "factor": float(rng.uniform(1, c.most * scale))}

    def apply(self, pair: Pair, drawn: Drawn) -> Pair:
        if drawn["method"] == "nearest":
            scale = drawn["scale"]
            kernel = shift_kernel(gaussian(drawn["size"], drawn["width"]), (scale - 1) / 2)
            blurred = convolve(pair.lr, kernel / kernel.sum())
            return replace(pair, lr=np.ascontiguousarray(blurred[::scale, ::scale]))
        size = tuple(max(1, int(n / drawn["factor"])) for n in pair.lr.shape[:2])
        return replace(pair, lr=resize(pair.lr, size, drawn["method"]))


@dataclass(frozen=True)
class ResizeConfig:
    """Larger with probability ``up``, by a factor uniform in ``larger``; smaller with probability ``down``, by one
    uniform in (a/scale, b) for ``smaller`` = (a, b); otherwise as it is. ``scale`` 0 takes the pair's own scale."""

    up: float = 0.2
    down: float = 0.7
    larger: tuple[float, float] = (1.0, 2.0)
    smaller: tuple[float, float] = (0.5, 1.0)
    scale: int = 0

    def __post_init__(self) -> None:
        check_least(0, up=self.up, down=self.down)
        check_shares(**{"up and down together": round(self.up + self.down, 9)})
        check_rising(1, larger=self.larger)
        check_rising(0.01, 1, smaller=self.smaller)
        check_least(0, scale=self.scale)


@register("operation", "resize", ResizeConfig)
class Resize(_Resampling):
    def draw(self, rng: np.random.Generator, scale: int) -> Drawn:
        c, u, factor = self.config, rng.random(), 1.0
        if u < c.up:
            factor = rng.uniform(*c.larger)
        elif u < c.up + c.down:
            factor = rng.uniform(c.smaller[0] / (c.scale or scale), c.smaller[1])
        return {"method": pick_method(rng), "factor": float(factor)}

    def apply(self, pair: Pair, drawn: Drawn) -> Pair:
        size = tuple(max(1, int(n * drawn["factor"])) for n in pair.lr.shape[:2])
        return replace(pair, lr=resize(pair.lr, size, drawn["method"]))


@dataclass(frozen=True)
class FitConfig:
    """To the exact size that the pair asks for."""


@register("operation", "fit", FitConfig)
class Fit(_Resampling):
    def draw(self, rng: np.random.Generator, scale: int) -> Drawn:
        return {"method": pick_method(rng)}

    def apply(self, pair: Pair, drawn: Drawn) -> Pair:
        return replace(pair, lr=resize(pair.lr, pair.size, drawn["method"]))
