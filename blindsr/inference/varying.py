"""Blur that varies over a photo: a field of kernels, smooth from cell to cell.

A lens is sharper in the middle than in the corners, and objects move differently from the camera. The photo is cut
into cells; the blur of each is found from a window around it, and then averaged with those of its neighbours. Each counts by
how wrong it is expected to be in this place: by its doubt, and by the distance, over which blur changes. So a cell whose
kernel was found keeps it, and a cell of plain sky takes the kernel of what surrounds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blindsr.interfaces import Estimate

CELL = 128  # low-resolution pixels a side, about
WINDOW = 192  # what a cell's blur is found from: smaller photos give poor spectra
NEARNESS = 1.0  # cells: standard deviation of the Gaussian by which neighbours count
CHANGE = 0.3  # relative error of a kernel one cell away from where it was found
LEAST_DOUBT = 0.05  # no estimate counts as surer than this


@dataclass(frozen=True)
class KernelField:
    """``kernels`` (R, C, h, w) and ``doubts`` (R, C) of the cells of a photo of ``size`` (H, W)."""

    kernels: np.ndarray
    doubts: np.ndarray
    size: tuple[int, int]

    def at(self, position: tuple[float, float]) -> tuple[np.ndarray, float]:
        """Kernel (h, w) and doubt of the cell in which this ``position`` (row, column) of the photo lies."""
        sides = zip(position, self.size, self.doubts.shape)
        place = tuple(min(int(at * count / length), count - 1) for at, length, count in sides)
        return self.kernels[place], float(self.doubts[place])


def cells_of(size: tuple[int, int]) -> tuple[int, int]:
    """How many cells a photo of ``size`` (H, W) has in either direction."""
    return max(1, round(size[0] / CELL)), max(1, round(size[1] / CELL))


def find_field(
    size: tuple[int, int],
    estimate: Callable[[slice, slice], Estimate],
    progress: Callable[[int, int], None] | None = None,
) -> KernelField:
    """The field of a photo of ``size`` (H, W). ``estimate`` answers the blur of a piece of it, kernel (1, 1, h, w) and
    doubt (1,). ``progress(done, total)`` is told of every cell."""
    rows, cols = cells_of(size)
    kernels, doubts = [], []
    for i in range(rows):
        for j in range(cols):
            found = estimate(*(_window(k, n, length) for k, n, length in ((i, rows, size[0]), (j, cols, size[1]))))
            kernels.append(found.kernel[0, 0].float().cpu().numpy())
            doubts.append(1.0 if found.doubt is None else float(found.doubt[0]))
            if progress:
                progress(i * cols + j + 1, rows * cols)
    k = np.stack(kernels).reshape(rows, cols, *kernels[0].shape)
    smooth, doubt = _smoothed(k, np.array(doubts).reshape(rows, cols))
    return KernelField(smooth, doubt, size)


def _window(index: int, count: int, length: int) -> slice:
    """What the blur of a cell is found from."""
    middle, side = round((index + 0.5) * length / count), min(WINDOW, length)
    start = min(max(middle - side // 2, 0), length - side)
    return slice(start, start + side)


def _smoothed(kernels: np.ndarray, doubts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of kernels (R, C, h, w) and of their doubts (R, C) over neighbours, by nearness and by how wrong each is
    expected to be here: a kernel that is three times as wrong counts hardly. A mean of kernels that sum to 1 does too."""
    rows, cols = (np.arange(count) for count in doubts.shape)
    distance = (rows[:, None] - rows)[:, None, :, None] ** 2 + (cols[:, None] - cols)[None, :, None, :] ** 2
    error = np.maximum(doubts, LEAST_DOUBT) ** 2 + CHANGE**2 * distance  # (R, C, R, C), squared
    weights = np.exp(-0.5 * distance / NEARNESS**2) / error**2
    weights /= weights.sum((2, 3), keepdims=True)
    return np.einsum("ijkl,klhw->ijhw", weights, kernels).astype(np.float32), np.einsum("ijkl,kl->ij", weights, doubts)
