"""Where a kernel stands in its square. Photo and kernel may move against each other unseen, so a kernel that was solved for
without knowing where it belongs is put where kernels usually are."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor

WEAK = 0.05  # of the largest tap: weaker ones belong to no path


def on_centroid(kernels: Tensor) -> Tensor:
    """``kernels`` (B, 1, h, w), non-negative, each moved by whole pixels so that its centroid comes nearest to the middle."""
    return _moved(kernels, _centroid)


def on_box(kernels: Tensor) -> Tensor:
    """``kernels`` (B, 1, h, w), non-negative, each moved by whole pixels so that the middle of the bounding box of its path
    comes nearest to the middle: the convention of :class:`blindsr.kernels.motion.MotionKernelsConfig`. Where two pixels
    are as near, the centroid decides."""
    return _moved(kernels, _box_middle)


def _moved(kernels: Tensor, middle) -> Tensor:
    """What leaves the square is lost, and the sum restored."""
    moved = torch.zeros_like(kernels)
    height, width = kernels.shape[-2:]
    for kernel, place in zip(kernels[:, 0], moved[:, 0]):
        down, right = middle(kernel.cpu().double().numpy())
        rows, cols = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
        to_rows, to_cols = slice(max(-down, 0), height + min(-down, 0)), slice(max(-right, 0), width + min(-right, 0))
        place[to_rows, to_cols] = kernel[rows, cols]
    return moved / moved.sum((-2, -1), keepdim=True)


def _centroid(kernel: np.ndarray) -> tuple[int, int]:
    return tuple(round(c) for c in _moments(kernel))


def _box_middle(kernel: np.ndarray) -> tuple[int, int]:
    """Of the heaviest piece of what hangs together."""
    pieces, count = label(kernel > WEAK * kernel.max(), np.ones((3, 3)))
    heaviest = 1 + int(np.argmax([kernel[pieces == i].sum() for i in range(1, count + 1)]))
    middles = []
    for places, length, centroid in zip(np.nonzero(pieces == heaviest), kernel.shape, _moments(kernel)):
        middle = (places.min() + places.max()) / 2 - length // 2
        middles.append(math.floor(middle) if centroid < middle else math.ceil(middle))
    return tuple(middles)


def _moments(kernel: np.ndarray) -> tuple[float, float]:
    """The centroid, from the middle."""
    height, width = kernel.shape
    rows, cols = np.arange(height) - height // 2, np.arange(width) - width // 2
    return (kernel.sum(1) * rows).sum() / kernel.sum(), (kernel.sum(0) * cols).sum() / kernel.sum()
