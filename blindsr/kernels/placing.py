"""Where a kernel stands in its square. Photo and kernel may move against each other unseen, so a kernel that was solved for
without knowing where it belongs is put where kernels usually are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import center_of_mass, label
from torch import Tensor

# Chosen on photos held back from training, under drawn camera shake (docs/experiments.md).
WEAK = 0.05  # of the largest tap: weaker ones belong to no path
SPECK = 0.05  # of the mass of the heaviest piece: lighter ones do not either


def on_centroid(kernels: Tensor) -> Tensor:
    """``kernels`` (B, 1, h, w), non-negative, each moved by whole pixels so that its centroid comes nearest to the middle."""
    return _moved(kernels, _centroid)


def on_box(kernels: Tensor) -> Tensor:
    """``kernels`` (B, 1, h, w), non-negative, each moved by whole pixels so that the middle of the bounding box of its path
    comes nearest to the middle: the convention of :class:`blindsr.kernels.motion.MotionKernelsConfig`. Where two pixels
    are as near, the centroid decides."""
    return _moved(kernels, _box_middle)


def _moved(kernels: Tensor, middle: Callable[[np.ndarray], tuple[int, int]]) -> Tensor:
    """What leaves the square is lost, and the sum restored."""
    moves = [middle(kernel.cpu().double().numpy()) for kernel in kernels[:, 0]]
    moved = torch.stack([F.pad(k, (-right, right, -down, down)) for k, (down, right) in zip(kernels, moves)])
    return moved / moved.sum((-2, -1), keepdim=True)


def _centroid(kernel: np.ndarray) -> tuple[int, int]:
    """From the middle."""
    return tuple(round(at) - length // 2 for at, length in zip(center_of_mass(kernel), kernel.shape))


def _box_middle(kernel: np.ndarray) -> tuple[int, int]:
    """From the middle. Of a path only pieces may have been found; what is much lighter than the heaviest is none."""
    pieces, count = label(kernel > WEAK * kernel.max(), np.ones((3, 3)))
    masses = np.array([0.0, *(kernel[pieces == i].sum() for i in range(1, count + 1))])
    path = (masses > SPECK * masses.max())[pieces]
    middles = []
    for places, length, centroid in zip(np.nonzero(path), kernel.shape, center_of_mass(kernel)):
        middle = (places.min() + places.max()) / 2
        middles.append((math.floor(middle) if centroid < middle else math.ceil(middle)) - length // 2)
    return tuple(middles)
