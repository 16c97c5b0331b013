"""Gaussian blur of random width and direction."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from blindsr.degradation.operation import Drawn, Operation, Pair
from blindsr.kernels.gaussian import gaussian
from blindsr.limits import check_least, check_odd, check_rising, check_shares
from blindsr.registry import register

RANK_ERROR = 1e-4  # of the largest weight: what a kernel may lose when it is split into separable parts


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """``image`` (H, W, 3) with ``kernel`` (h, w), both sides odd, mirrored at the borders: true convolution.

    Kernels that are a sum of few separable ones, as Gaussians are, take two short passes for each.
    """
    kernel = trimmed(kernel[::-1, ::-1]).astype(np.float32)
    u, s, vt = np.linalg.svd(kernel)
    needed = int(np.searchsorted(-s, -RANK_ERROR * s[0])) or 1
    if 2 * needed * sum(kernel.shape) > 3 * kernel.size:
        return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    total = None
    for i in range(needed):
        part = cv2.sepFilter2D(image, -1, vt[i], u[:, i] * s[i], borderType=cv2.BORDER_REFLECT_101)
        total = part if total is None else np.add(total, part, out=total)
    return total


def trimmed(kernel: np.ndarray, least: float = 1e-5) -> np.ndarray:
    """``kernel`` without outer rows and columns whose weights are all below ``least`` of the largest."""
    seen = np.abs(kernel) > least * np.abs(kernel).max()
    rows, cols = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    centre = (kernel.shape[0] // 2, kernel.shape[1] // 2)
    r, c = (int(max(m - n[0], n[-1] - m)) for n, m in zip((rows, cols), centre))
    kept = kernel[centre[0] - r : centre[0] + r + 1, centre[1] - c : centre[1] + c + 1]
    return kept / kept.sum()


@dataclass(frozen=True)
class GaussianBlurConfig:
    """A kernel of odd side drawn from ``size``, both ends included. A share ``anisotropic`` has two variances,
    each uniform in (0, a + b·scale) for ``variance`` = (a, b), and a uniform direction; the others have a standard
    deviation uniform in (0, a + b·scale) for ``width`` = (a, b)."""

    anisotropic: float = 0.5
    size: tuple[int, int] = (7, 25)
    variance: tuple[float, float] = (4.0, 1.0)
    width: tuple[float, float] = (2.0, 0.2)

    def __post_init__(self) -> None:
        check_shares(anisotropic=self.anisotropic)
        check_rising(3, 255, size=self.size)
        check_odd(**{"the lower end of size": self.size[0], "the upper end of size": self.size[1]})
        for name, law in {"variance": self.variance, "width": self.width}.items():
            check_least(0, **{f"both numbers of {name}": min(law)})
            check_least(0.01, **{f"the {name} at ×1": sum(law)})


@register("operation", "gaussian_blur", GaussianBlurConfig)
class GaussianBlur(Operation):
    """Blurs the low-resolution picture, whatever its size is by then."""

    def draw(self, rng: np.random.Generator, scale: int) -> Drawn:
        c = self.config
        size = 2 * int(rng.integers(c.size[0] // 2, c.size[1] // 2 + 1)) + 1
        if rng.random() < c.anisotropic:
            width_x, width_y = np.sqrt(rng.random(2) * (c.variance[0] + c.variance[1] * scale)).tolist()
            return {"size": size, "width_x": width_x, "width_y": width_y, "angle": float(rng.random() * np.pi)}
        width = float(rng.random() * (c.width[0] + c.width[1] * scale))
        return {"size": size, "width_x": width, "width_y": width, "angle": 0.0}

    def apply(self, pair: Pair, drawn: Drawn) -> Pair:
        widths = (max(drawn["width_x"], 1e-3), max(drawn["width_y"], 1e-3))
        if widths[0] == widths[1]:
            at = np.arange(drawn["size"]) - drawn["size"] // 2
            line = np.exp(-0.5 * (at / widths[0]) ** 2)
            line = (line / line.sum()).astype(np.float32)
            return replace(pair, lr=cv2.sepFilter2D(pair.lr, -1, line, line, borderType=cv2.BORDER_REFLECT_101))
        return replace(pair, lr=convolve(pair.lr, gaussian(drawn["size"], *widths, drawn["angle"])))

    def reach(self, scale: int) -> float:
        c = self.config
        return min(
            3 * max((c.variance[0] + c.variance[1] * scale) ** 0.5, c.width[0] + c.width[1] * scale), c.size[1] // 2
        )
