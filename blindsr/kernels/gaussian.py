"""Isotropic and anisotropic Gaussian kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from blindsr.limits import check_odd, check_rising, check_shares
from blindsr.registry import register


def gaussians(size: int, width_x: np.ndarray, width_y: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """A batch of Gaussian kernels, (n, size, size) in the precision of the widths; see :func:`gaussian`."""
    cos, sin = np.cos(angle), np.sin(angle)
    precision_x, precision_y = 1 / np.square(width_x), 1 / np.square(width_y)
    xx = cos**2 * precision_x + sin**2 * precision_y
    yy = sin**2 * precision_x + cos**2 * precision_y
    xy = cos * sin * (precision_x - precision_y)
    at = np.arange(size, dtype=width_x.dtype) - size // 2
    y, x = at[:, None], at[None, :]
    # One matrix product makes all quadratic forms: much faster than broadcasting three times.
    monomials = np.stack([(x * x + 0 * y).ravel(), (2 * x * y).ravel(), (y * y + 0 * x).ravel()])
    exponent = np.stack([xx, xy, yy], 1) @ monomials
    exponent *= -0.5
    kernels = np.exp(exponent, out=exponent)
    kernels /= kernels.sum(1, keepdims=True)
    return kernels.reshape(-1, size, size)


def gaussian(size: int, width_x: float, width_y: float | None = None, angle: float = 0.0) -> np.ndarray:
    """A Gaussian kernel, (size, size) float64 with sum 1.

    ``width_x`` and ``width_y`` are standard deviations in pixels (``width_y`` None: isotropic). The axis
    of ``width_x`` is turned by ``angle`` radians from the column direction towards increasing rows. The
    Gaussian is sampled at whole pixels, as the field does, not integrated over them.

    Raises ValueError when ``size`` is even or a width is not positive and finite.
    """
    check_odd(size=size)
    width_y = width_x if width_y is None else width_y
    if not (0 < width_x < np.inf and 0 < width_y < np.inf and np.isfinite(angle)):
        raise ValueError(f"widths must be positive, not {width_x:g} and {width_y:g}")
    # Below a hundredth of a pixel the kernel is a Dirac already; smaller widths would overflow.
    widths = np.maximum([width_x, width_y], 1e-2)
    return gaussians(size, widths[:1], widths[1:], np.array([angle]))[0]


@dataclass(frozen=True)
class GaussianKernelsConfig:
    """Random Gaussian kernels of ``size`` × ``size``.

    A share ``isotropic`` has two equal widths, drawn from ``width`` = (least, most), standard deviations
    in pixels. For the others ``law`` says what is uniform:

    * ``width``: the larger width in ``width``, the smaller between ``ratio`` times the larger (but not
      below the least width) and the larger;
    * ``variance``: the same of the squared widths;
    * ``axes``: both widths, independently, in ``width`` (the smaller is raised to ``ratio`` times the larger).

    The rotation is uniform. The published training code of SRMD (Zhang et al., CVPR 2018; KAIR) draws covariance eigenvalues
    l1 uniform in 0.1…10.1 and l2 uniform in 0.1…l1, which is ``law: variance, width: [0.3162, 3.1780], ratio: 0,
    isotropic: 0``. That of USRNet draws two independent variances uniform in 0.6…12, which no law here does.
    """

    size: int = 25
    width: tuple[float, float] = (0.3, 3.5)
    isotropic: float = 0.3
    ratio: float = 0.15
    law: Literal["width", "variance", "axes"] = "width"

    def __post_init__(self) -> None:
        check_odd(size=self.size)
        check_rising(0.05, width=self.width)
        check_shares(isotropic=self.isotropic, ratio=self.ratio)


@register("kernels", "gaussian", GaussianKernelsConfig)
class GaussianKernels:
    """Draws Gaussian kernels; see :class:`GaussianKernelsConfig`."""

    def __init__(self, config: GaussianKernelsConfig):
        self.config = config
        self.size = config.size

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """``n`` kernels, (n, size, size) float32, each with sum 1."""
        config = self.config
        power = 2 if config.law == "variance" else 1
        least, most = (w**power for w in config.width)
        major = rng.uniform(least, most, n)
        if config.law == "axes":
            other = rng.uniform(least, most, n)
            major, minor = np.maximum(major, other), np.minimum(major, other)
            minor = np.maximum(minor, config.ratio * major)
        else:
            minor = rng.uniform(np.maximum(least, config.ratio**power * major), major)
        minor = np.where(rng.random(n) < config.isotropic, major, minor)
        angle = rng.uniform(0, np.pi, n)
        single = [v.astype(np.float32) for v in (major ** (1 / power), minor ** (1 / power), angle)]
        return gaussians(self.size, *single)
