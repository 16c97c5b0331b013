"""One photo's passage through a model: its blur is found once, then it is restored whole or in tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from blindsr import images
from blindsr.alternating import AlternatingSR
from blindsr.estimators.noise import estimate_noise
from blindsr.inference import machine, tiling
from blindsr.inference.blur import Blur
from blindsr.inference.boundary import Boundary, Padded, pad
from blindsr.inference.overshoot import outside, shows_width
from blindsr.inference.refinement import refine
from blindsr.inference.sizes import SMALLEST_TILE, Sizes
from blindsr.inference.sources import MAX_SIGMA, to_pixels, to_tensor, window_of
from blindsr.inference.surroundings import surround
from blindsr.inference.varying import KernelField, find_field
from blindsr.inference.white import Noise, first_estimate, is_gray, noise_of
from blindsr.interfaces import Estimate, Restoration
from blindsr.processes import is_out_of_memory

# Low-resolution pixels of the most textured window that the noise level is asked of, and of that which the first estimate is
# made from: more than 200 made it no better (docs/experiments.md).
NOISE_SIDE, FIRST_SIDE = 2048, 1024
T = TypeVar("T")


class Passage:
    """``photo`` on its way to ``scale`` times its size. ``blur`` holds what is known, and more as it is found;
    ``boundary`` and ``tiles`` say in the end how it was done, and ``overshoot`` which share of the result's pixels left the
    range of brightness before it was cut off, where that shows the kernel's width."""

    def __init__(
        self,
        model: AlternatingSR,
        device: torch.device,
        photo: images.Photo,
        scale: int,
        blur: Blur,
        boundary: Boundary,
        refines: bool = False,
    ):
        self.model, self.device = model, device
        self.photo, self.scale, self.blur, self.boundary = photo, scale, blur, boundary
        self.refines = refines
        self.tiles = 0
        self.overshoot: float | None = None
        self.field: KernelField | None = None
        self._whole: Tensor | None = None  # the photo as it was restored with its kernel to find it, padding and all

    # -- blur and noise ----------------------------------------------------------------------------------

    def complete_noise(self) -> None:
        """With a kernel and no noise level: the model's estimate of it, or that of wavelets."""
        if self.blur.kernel is None or self.blur.sigma is not None:
            return
        if self.model.initial is not None:
            level, how = self.noise.own(self.first.sigma), "estimated"
        else:
            level, how = estimate_noise(self._plain(*window_of(self.photo.pixels, NOISE_SIDE))), "classical"
        self.blur = replace(self.blur, sigma=level.float().clamp(0, MAX_SIGMA), sigma_source=how)

    @cached_property
    def first(self) -> Estimate:
        """The first estimate, with the level of white noise."""
        return self.noise.of_first(self._seen, self.model)

    @cached_property
    def noise(self) -> Noise:
        """What is known of the photo's noise, by what was given of it or seen."""
        if not self.model.restorer.uses_kernel:
            return Noise()
        photo, gray = self.photo, is_gray(self.photo.pixels, 2)
        known = self.model.knows_cameras and self.blur.sought
        seen = self.blur.sigma
        if seen is None and self.model.initial is not None and not (gray or photo.coded):
            seen = self._seen.sigma
        return self._of_window(
            NOISE_SIDE, lambda *at: noise_of(self._plain(*at), photo.rounding, gray, photo.coded, known, seen)
        )

    @cached_property
    def _seen(self) -> Estimate:
        """The first estimate, from the photo as it is: padding would weaken its noise and bend its spectrum. Of a large one,
        from as much of it as memory allows."""
        return self._of_window(min(FIRST_SIDE, max(machine.affordable_side(self.device), SMALLEST_TILE)), self._look)

    def _look(self, rows: slice, cols: slice) -> Estimate:
        y, photo = self._plain(rows, cols), self.photo
        return first_estimate(self.model, y, self.scale, photo.rounding, photo.coded)

    def estimate(self) -> None:
        """Find the blur on the most textured part of the photo, or on all of it where it is small."""
        first = self.first

        def find(rows: slice, cols: slice) -> None:
            y = self._tensor(rows, cols)
            whole = y.shape[-2:] == self.size
            found = self._found(y, self.boundary if whole else "reflect", first)  # a window's borders are not the photo's
            self._learn(found)
            self._whole = found.x if whole else None

        self._of_window(self.sizes.window(), find)

    def _of_window(self, side: int, work: Callable[[slice, slice], T]) -> T:
        """``work`` done with the rows and columns of the most textured window of ``side`` pixels; of half as many, and so on,
        where memory does not suffice."""
        while True:
            try:
                return work(*window_of(self.photo.pixels, side))
            except Exception as error:
                if not is_out_of_memory(error) or side <= SMALLEST_TILE:
                    raise
            side = max(min(side, max(self.size)) // 2, SMALLEST_TILE)

    def vary(self, progress: tiling.Progress | None) -> None:
        """Find a kernel for every cell of the photo, beside the one that stands for all of it; the noise is one."""
        self.estimate()

        def estimate(rows: slice, cols: slice) -> Estimate:
            first = self.noise.of_first(self._look(rows, cols), self.model)
            last = self._found(self._tensor(rows, cols), "reflect", first).iterates[-1]
            return Estimate(last.code, last.sigma, last.kernel, last.doubt)

        self.field = find_field(self.size, estimate, progress)

    def _found(self, y: Tensor, boundary: Boundary, first: Estimate) -> Restoration:
        """The blind restoration of a window ``y``, for the sake of its kernel; refined where that is asked for."""
        padded, shift = self._padded(y, boundary), self.blur.shift
        sigma = self._level(self.blur)
        found = self.model(padded.y, self.scale, None, sigma, shift, first, self.refines, least_sigma=self.photo.rounding)
        return refine(self.model, padded, self.scale, found, shift) if self.refines else found

    def _level(self, blur: Blur) -> Tensor | None:
        """The noise level (1,) that a model is told, where it is known."""
        return None if blur.sigma is None else self.noise.told(blur.sigma)

    def _learn(self, found: Restoration) -> None:
        """Take what the model found for what is known."""
        self.blur = self.blur.found(Restoration(tuple(map(self.noise.in_own, found.iterates))))

    # -- sizes -------------------------------------------------------------------------------------------

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo."""
        return self.photo.pixels.shape[:2]

    @property
    def kernel_size(self) -> tuple[int, int] | None:
        """None where the model uses no kernel."""
        if self.blur.kernel is not None:
            return self.blur.kernel.shape[-2], self.blur.kernel.shape[-1]
        return (self.model.basis.size,) * 2 if self.model.finds_kernel else None

    @property
    def sizes(self) -> Sizes:
        """Of the pieces that it is restored in."""
        varies = self.field is not None
        return Sizes(self.model.restorer, self.device, self.size, self.scale, self.kernel_size, varies)

    # -- restoring ---------------------------------------------------------------------------------------

    def bands(self, core: int, progress: tiling.Progress | None) -> Iterator[np.ndarray]:
        """The restored photo from top to bottom, (h, s·W, C) of its own depth, from tiles of ``core`` pixels a side."""
        rows, cols = self.sizes.plan(*self.size, core)
        self.tiles = len(rows) * len(cols)
        if self.tiles > 1:
            self._prepare_tiles()
        elif self.blur.sought and (self.refines or self.model.starts_anew):
            self.estimate()  # what surrounds the photo depends on the kernel
        together = self.sizes.together(rows[0].stop - rows[0].start, cols[0].stop - cols[0].start)
        if self.kernel_size is not None and shows_width(self.photo.pixels):
            self.overshoot = 0.0
        for band in tiling.bands_of_tiles(self._tiles, rows, cols, self.scale, progress, together):
            if self.overshoot is not None:
                self.overshoot += float(outside(band, dim=-1).sum()) / (self.size[0] * self.size[1] * self.scale**2)
            pixels = to_pixels(band, self.photo.pixels.dtype)
            del band  # of a wide photo that is much, and the next row of tiles begins here
            yield pixels
            del pixels

    def _prepare_tiles(self) -> None:
        """What all tiles share must be known before the first."""
        if self.blur.sought:
            self.estimate()
        if self.device.type == "cpu":  # what an estimate took and this process kept: tiles take pieces of other sizes
            machine.forget_cached(self.device)
        self.boundary = "reflect"  # inside the photo nothing else is right

    def _tiles(self, windows: list[tiling.Window]) -> Sequence[Tensor]:
        """Tiles (s·h, s·w, C) float32 of one size. Where memory does not suffice they are restored one by one, and a
        single one is halved; the work goes on."""
        try:
            return self._restored(windows)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        machine.forget_cached(self.device)
        if len(windows) > 1:
            return [self._tiles([window])[0] for window in windows]
        return [self._in_pieces(windows[0])]

    def _in_pieces(self, window: tiling.Window) -> Tensor:
        self._prepare_tiles()
        sides = (piece.stop - piece.start for piece in (window.rows, window.cols))
        inner_rows, inner_cols = self.sizes.halved(*sides)
        self.tiles += len(inner_rows) * len(inner_cols) - 1

        def part(windows: list[tiling.Window]) -> Sequence[Tensor]:
            return self._tiles([inner.within(window) for inner in windows])

        return torch.cat(list(tiling.bands_of_tiles(part, inner_rows, inner_cols, self.scale)))

    def _restored(self, windows: list[tiling.Window]) -> Tensor:
        """(B, s·h, s·w, C) float32"""
        y = torch.cat([self._tensor(window.rows, window.cols) for window in windows])
        padded = self._padded(y, self.boundary)
        if self._whole is not None and self.tiles == 1 and self.field is None:  # it needs no second time
            return self._pixels(padded, self._whole)
        first = self.first if self.blur.sought else None
        kernel, sigma, doubt = self._told(windows)
        if kernel is not None and self.boundary == "reflect" and any(map(self._at_border, windows)):
            padded = surround(padded, kernel, sigma, self.scale, self.blur.shift)
        result = self.model(
            padded.y, self.scale, kernel, sigma, self.blur.shift, first, doubt=doubt, least_sigma=self.photo.rounding
        )
        self._learn(result)
        return self._pixels(padded, result.x)

    def _pixels(self, padded: Padded, x: Tensor) -> Tensor:
        """The restored ``x`` of a padded piece as (B, s·h, s·w, C) float32."""
        x = padded.crop(x, self.scale)
        channels = self.photo.pixels.shape[2]
        if channels == 1 or self.noise.gray:
            x = x.mean(1, keepdim=True).expand(-1, channels, -1, -1)
        return x.permute(0, 2, 3, 1).float()

    def _at_border(self, window: tiling.Window) -> bool:
        """Whether the photo ends at a border of ``window``; inside it what padding makes up is cut off with the overlap."""
        pieces = zip((window.rows, window.cols), self.size)
        return any(piece.start == 0 or piece.stop == length for piece, length in pieces)

    def _told(self, windows: list[tiling.Window]) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Kernel, noise level and doubt of each of the windows, as far as they are known."""
        if self.field is None:
            blurs = [self.blur] * len(windows)
        else:
            blurs = [self.blur.here(*self.field.at(window.middle)) for window in windows]
        values = zip(*((blur.kernel, self._level(blur), blur.doubt) for blur in blurs))
        return tuple(None if value[0] is None else torch.cat(value) for value in values)

    def _padded(self, y: Tensor, boundary: Boundary) -> Padded:
        return pad(y, self.scale, self.kernel_size, boundary, self.model.restorer.multiple)

    def _tensor(self, rows: slice, cols: slice) -> Tensor:
        """A piece of the photo as a model gets it; the whole is never held as floats."""
        y = self._plain(rows, cols)
        if self.noise.chroma is None:
            return y
        level = self.first.sigma if self.blur.sigma is None else self._level(self.blur)
        return self.noise.whitened(y, level, rows.start, cols.start)

    def _plain(self, rows: slice, cols: slice) -> Tensor:
        return to_tensor(self.photo.pixels[rows, cols], self.device)
