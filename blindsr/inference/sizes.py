"""How large the pieces of a photo are that are restored at once: as memory allows and the networks' reach demands."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from blindsr.inference import machine, tiling
from blindsr.inference.boundary import MARGIN, alignment
from blindsr.inference.varying import CELL
from blindsr.interfaces import BlindSRError, Restorer

ESTIMATION_SIDE = 1024  # high-resolution pixels of the window that an estimate alone looks at
SMALLEST_TILE = 32

Plan = tuple[list[tiling.Span], list[tiling.Span]]


@dataclass(frozen=True)
class Sizes:
    """For a photo of ``size`` (H, W), to be made ``scale`` times as large with a kernel of ``kernel_size`` (h, w)
    high-resolution pixels (None: no kernel), which ``varies`` over it or not. All answers are low-resolution pixels."""

    restorer: Restorer
    device: torch.device
    size: tuple[int, int]
    scale: int
    kernel_size: tuple[int, int] | None
    varies: bool = False

    @property
    def reach(self) -> int:
        """Pixels around a tile that its result depends on."""
        radius = max(self.kernel_size or (0,)) // 2
        return -(-(radius + tiling.PRIOR_MARGIN) // self.scale)

    def window(self) -> int:
        """Side of the window that a kernel is sought in."""
        affordable = int(self._affordable() ** 0.5)
        return max(min(ESTIMATION_SIDE, affordable) // self.scale - 2 * self.reach, SMALLEST_TILE)

    def core(self) -> int:
        """Side of the tiles that memory asks for; the whole photo where it can be had."""
        pixels = self._affordable()
        radius = -(-(max(self.kernel_size or (0,)) // 2) // self.scale)
        around = 2 * (radius + MARGIN)  # what padding adds, at least
        if (self.size[0] + around) * (self.size[1] + around) * self.scale**2 <= pixels:
            return max(self.size)
        around += 2 * self.reach + self._step
        return max(int((0.95 * pixels) ** 0.5) // self.scale - around, SMALLEST_TILE)  # padding rounds up a little

    def plan(self, height: int, width: int, core: int) -> Plan:
        """Tiles of at most ``core`` pixels a side for the photo or a piece of it: rows and columns."""
        margin, feather = self.reach, tiling.FEATHER
        if self.varies:  # a tile for each cell, or smaller ones; neighbours with other kernels fade into one another slowly
            core = min(core, CELL)
            feather = core // 2
            margin = max(margin, feather)
        rows, cols = (tiling.plan(n, core, margin, self.scale, self._step, feather) for n in (height, width))
        return rows, cols

    def halved(self, height: int, width: int) -> Plan:
        """Tiles of half the side of a piece; less where they would, with what lies around them, be hardly smaller.

        Raises BlindSRError where no tile is small enough."""
        side = max(height, width)
        for core in range(side // 2, SMALLEST_TILE - 1, -8):
            rows, cols = self.plan(height, width, core)
            if max(span.stop - span.start for span in (*rows, *cols)) <= 7 * side // 8:
                return rows, cols
        raise BlindSRError("not enough memory even for the smallest tile: close other programs")

    def together(self, height: int, width: int) -> int:
        """How many tiles of ``height`` times ``width`` pixels to restore at once: on a GPU those that memory can hold."""
        if self.device.type != "cuda":
            return 1
        around = 2 * (self.reach + MARGIN)  # more than padding adds
        return max(self._affordable() // ((height + around) * (width + around) * self.scale**2), 1)

    def _affordable(self) -> int:
        return machine.affordable_pixels(self.restorer, self.device)

    @property
    def _step(self) -> int:
        return alignment(self.scale, self.restorer.multiple)
