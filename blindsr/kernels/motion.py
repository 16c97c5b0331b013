"""Motion-blur kernels: camera shake during the exposure, and straight motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from blindsr.limits import check_least, check_odd, check_rising
from blindsr.registry import register

_STEPS = 192  # instants of one exposure; neighbours are then less than a pixel apart
_BATCH = 1000  # kernels rasterised at a time, so that the work stays in the cache


def splat(points: np.ndarray, size: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Kernels traced by ``points`` (n, t, 2), offsets (row, column) in pixels from the centre.

    Every point is shared among its four neighbouring pixels (bilinearly), which keeps the centroid
    exactly. ``weights`` (n, t) is the time spent at each point (None: alike). Returns (n, size, size)
    float64, each with sum 1.
    """
    n = len(points)
    at = points + size // 2
    corner = np.clip(np.floor(at), 0, size - 2).astype(np.int32)
    frac = np.clip(at - corner, 0.0, 1.0)
    row, col = frac[..., 0], frac[..., 1]
    cell = corner[..., 0] * size + corner[..., 1] + (np.arange(n, dtype=np.int32) * size**2)[:, None]
    time = 1.0 if weights is None else weights
    below, above, left = row * time, (1 - row) * time, 1 - col
    total = np.zeros(n * size**2)
    for offset, share in ((0, above * left), (1, above * col), (size, below * left), (size + 1, below * col)):
        total += np.bincount((cell + offset).ravel(), share.ravel(), minlength=total.size)
    kernels = total.reshape(n, size, size)
    return kernels / kernels.sum((1, 2), keepdims=True)


def soften(kernels: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Blur each of ``kernels`` (n, h, w) by a small Gaussian of its own ``width`` (n,), at most about 0.8 pixels."""
    at = np.arange(-2, 3)
    taps = np.exp(-0.5 * (at / np.maximum(width, 1e-2)[:, None]) ** 2).astype(kernels.dtype)
    taps /= taps.sum(1, keepdims=True)
    h, w = kernels.shape[1:]
    padded = np.pad(kernels, ((0, 0), (2, 2), (0, 0)))
    rows = sum(taps[:, i, None, None] * padded[:, i : i + h] for i in range(5))
    padded = np.pad(rows, ((0, 0), (0, 0), (2, 2)))
    return sum(taps[:, i, None, None] * padded[:, :, i : i + w] for i in range(5))


def linear_motion(size: int, length: float, angle: float) -> np.ndarray:
    """Straight motion at constant speed over ``length`` pixels, (size, size) float64 with sum 1.

    ``angle`` is in radians, from the column direction towards increasing rows. Raises ValueError when
    the path does not fit.
    """
    check_odd(size=size)
    if not 0 <= length <= size - 1:
        raise ValueError(f"a motion of {length:g} pixels does not fit a kernel of {size}×{size}")
    steps = max(2, int(np.ceil(length * 16)))
    along = ((np.arange(steps) + 0.5) / steps - 0.5) * length
    return splat(np.stack([along * np.sin(angle), along * np.cos(angle)], -1)[None], size)[0]


def shake_motion(size: int, seed: int) -> np.ndarray:
    """The camera-shake kernel of ``seed``, (size, size) float64 with sum 1; the same for ever."""
    kernel = MotionKernels(MotionKernelsConfig(size=size)).sample(1, np.random.default_rng(seed))[0].astype(np.float64)
    return kernel / kernel.sum()


def shake(n: int, rng: np.random.Generator, inertia: tuple[float, float], jolts: float, pull: float) -> np.ndarray:
    """``n`` random trajectories of a hand-held camera, (n, 192, 2), in arbitrary units.

    After Boracchi & Foi, "Modeling the performance of image restoration from motion blur" (IEEE TIP
    2012): a velocity with inertia is perturbed at random, pulled back to where it began and sometimes
    jolted. Unlike theirs the speed varies.

    The velocity forgets itself within ``inertia`` exposures (drawn log-uniformly between the two; long
    ones give straight paths), there are up to ``jolts`` sudden changes per exposure on average, and the
    pull is a spring of up to ``pull`` radians per exposure.
    """
    dt = 1 / _STEPS
    memory = np.exp(rng.uniform(np.log(inertia[0]), np.log(inertia[1]), (n, 1)))
    keep = np.exp(-dt / memory)
    stir = np.sqrt(1 - keep**2)
    spring = rng.uniform(0, pull, (n, 1)) ** 2 * dt
    rate = rng.uniform(0, jolts, (n, 1)) * dt
    noise = rng.standard_normal((_STEPS, n, 2), dtype=np.float32)
    jolted = rng.random((_STEPS, n, 1), dtype=np.float32) < rate
    velocity = rng.standard_normal((n, 2))
    position = np.zeros((n, 2))
    path = np.empty((_STEPS, n, 2))
    for t in range(_STEPS):
        path[t] = position
        velocity = np.where(jolted[t], 1.5 * noise[t], keep * velocity + stir * noise[t] - spring * position)
        position = position + velocity * dt
    return path.transpose(1, 0, 2)


@dataclass(frozen=True)
class MotionKernelsConfig:
    """Random camera-shake kernels of ``size`` × ``size``.

    The larger side of the path's bounding box is drawn uniformly from ``extent`` (shares of ``size``),
    the path is made by :func:`shake` with ``inertia``, ``jolts`` and ``pull``, and its line is softened
    by a Gaussian of a width drawn from ``soften`` (pixels). ``evenness`` says how alike all parts of
    the line are: 0 is bright where the camera rests, 1 travels the same path at constant speed; each
    kernel draws its own.

    A blurred photo alone cannot tell how far its kernel is shifted, so kernels need one convention.
    ``centre`` names what lies in the middle, to a fraction of a pixel: the middle of the path's bounding
    ``box``, as in the motion kernels 9 to 12 of the USRNet test set (to within a pixel, while their
    centroids lie 1.1 to 2.4 pixels off), or the ``centroid``.
    """

    size: int = 25
    extent: tuple[float, float] = (0.1, 0.84)
    inertia: tuple[float, float] = (0.1, 3.0)
    jolts: float = 1.0
    pull: float = 6.0
    soften: tuple[float, float] = (0.0, 0.6)
    evenness: tuple[float, float] = (0.0, 1.0)
    centre: Literal["box", "centroid"] = "box"

    def __post_init__(self) -> None:
        check_odd(size=self.size)
        check_rising(0.01, 1, extent=self.extent)
        check_rising(0.001, inertia=self.inertia)
        check_rising(0, 1, evenness=self.evenness)
        check_least(0, jolts=self.jolts, pull=self.pull)
        check_rising(0, 0.8, soften=self.soften)


@register("kernels", "motion", MotionKernelsConfig)
class MotionKernels:
    """Draws camera-shake kernels; see :class:`MotionKernelsConfig`."""

    def __init__(self, config: MotionKernelsConfig):
        self.config = config
        self.size = config.size

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """``n`` kernels, (n, size, size) float32, non-negative, each with sum 1."""
        kernels = np.empty((n, self.size, self.size), np.float32)
        for first in range(0, n, _BATCH):
            kernels[first : first + _BATCH] = self._batch(min(_BATCH, n - first), rng)
        return kernels

    def _batch(self, n: int, rng: np.random.Generator) -> np.ndarray:
        config = self.config
        path = shake(n, rng, config.inertia, config.jolts, config.pull)
        speed = np.linalg.norm(np.diff(path, axis=1, append=2 * path[:, -1:] - path[:, -2:-1]), axis=2)
        time = speed ** rng.uniform(*config.evenness, (n, 1))
        low, high = path.min(1), path.max(1)
        if config.centre == "centroid":
            middle = (path * time[..., None]).sum(1) / time.sum(1)[:, None]
        else:
            middle = (low + high) / 2
        path = path - middle[:, None]
        extent = rng.uniform(*config.extent, n) * self.size
        # Softening needs a free margin of two pixels around the path (less in the smallest kernels).
        room = max(self.size // 2 - 2, 0.5) / np.abs(path).max((1, 2))
        scale = np.minimum(extent / (high - low).max(1), room)
        kernels = splat(path * scale[:, None, None], self.size, time)
        kernels = soften(kernels.astype(np.float32), rng.uniform(*config.soften, n))
        return kernels / kernels.sum((1, 2), keepdims=True)
