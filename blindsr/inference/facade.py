"""BlindSR: a model that is kept, and photos that are restored with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from blindsr import checkpoints, images
from blindsr.alternating import AlternatingSR
from blindsr.inference import machine, tiling
from blindsr.inference.blur import check_fits, known_blur
from blindsr.inference.boundary import Boundary, check_boundary
from blindsr.inference.passage import Passage
from blindsr.inference.refinement import pays
from blindsr.inference.result import Restored
from blindsr.inference.sizes import SMALLEST_TILE
from blindsr.inference.sources import Source, as_array, as_photo, check_scale, dimensions, enlarge_alpha
from blindsr.interfaces import BlindSRError, Grid
from blindsr.restorers.compiled import compile_prior


class BlindSR:
    """Restores photos: blind where no kernel is given, non-blind with one.

    model = BlindSR.from_pretrained("tiny-real")
    restored = model.restore("photo.jpg", scale=4)
    restored.save("photo_x4.png")
    """

    def __init__(
        self,
        model: AlternatingSR,
        name: str,
        device: str | None = None,
        precision: str = "auto",
        compile: bool = False,
    ):
        """``precision`` is auto, fp32 or bf16 (of the networks; Fourier transforms are always float32). auto is bf16 for
        enlarged photos of 8 bits where the device multiplies it in hardware; it costs them 0.01 dB. ``compile`` makes
        faster code of USRNet's prior in half a minute or so, for every size of photo or tile anew. On a CPU the process
        keeps large blocks of memory that it has freed (:func:`blindsr.inference.machine.keep_freed_memory`).
        """
        self.device = machine.choose_device(device)
        machine.keep_freed_memory(self.device)
        machine.resolve_precision(precision, self.device)  # a wrong word is told at once
        self.precision = precision
        self.name = name
        self.model = model.eval().to(self.device)
        self.model.restorer.to(memory_format=torch.channels_last)  # 1.6 times as fast on a CPU
        if compile:
            compile_prior(self.model.restorer)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str] = "tiny-real",
        device: str | None = None,
        precision: str = "auto",
        compile: bool = False,
    ) -> BlindSR:
        """Load a shipped model by name, one of our .safetensors files or a published .pth (USRNet, RRDBNet).

        ``device`` is cpu, cuda, cuda:N or mps (None, auto: CUDA if there is any). Raises BlindSRError for a file
        or device that cannot be used.
        """
        checkpoint = checkpoints.load(name_or_path)
        return cls(checkpoint.model, checkpoint.name, device, precision, compile)

    def fingerprint(self) -> str:
        """Eight hexadecimal digits that tell these weights from others."""
        return checkpoints.fingerprint(self.model)

    def check_blind(self, cure: str) -> None:
        """Raise BlindSRError, which ends in the ``cure``, unless the model can restore without being given a kernel."""
        if not self.model.blind:
            raise BlindSRError(f"model {self.name} is non-blind: {cure}")

    def check_finds_kernel(self, cure: str) -> None:
        """Raise BlindSRError, which ends in the ``cure``, unless the model can find a kernel by itself."""
        self.check_blind(cure)
        if not self.model.finds_kernel:
            raise BlindSRError(f"model {self.name} restores without a kernel and finds none: {cure}")

    def check_serves(
        self, scale: int, kernel: object = None, sigma: float | None = None, grid: Grid = "centre"
    ) -> None:
        """Raise BlindSRError for a scale that the model has not, and for a kernel, σ or grid that it would not use."""
        restorer = self.model.restorer
        if scale not in restorer.scales:
            own = " or ".join(map(str, restorer.scales))
            raise BlindSRError(f"model {self.name} does not enlarge ×{scale}; use scale {own}")
        if not restorer.uses_kernel and kernel is not None:
            raise BlindSRError(f"model {self.name} restores without a kernel; leave the kernel out")
        if not restorer.uses_kernel and sigma is not None:
            raise BlindSRError(f"model {self.name} restores without a noise level; leave sigma out")
        if not restorer.uses_kernel and grid != "centre":
            raise BlindSRError(f"model {self.name} has the grid of its training; leave the grid out")

    def refines(self, kernel: object = None, refine: bool | None = None) -> bool:
        """Whether the kernel is refined after the loops, for what :meth:`restore` is told.

        Raises BlindSRError where there is none to refine."""
        if refine:
            self.check_finds_kernel("leave refine out")
            if kernel is not None:
                raise BlindSRError("a given kernel is not refined; leave either the kernel or refine out")
        return pays(self.model) and kernel is None if refine is None else refine

    # -- what users call ---------------------------------------------------------------------------------

    def restore(
        self,
        source: Source,
        scale: int = 4,
        kernel: np.ndarray | str | None = None,
        sigma: float | None = None,
        grid: Grid = "centre",
        boundary: Boundary = "reflect",
        tile: int | None = None,
        progress: tiling.Progress | None = None,
        into: Callable[[np.ndarray], None] | None = None,
        per_tile: bool = False,
        refine: bool | None = None,
    ) -> Restored:
        """Restore one photo, ``scale`` (1, 2, 3 or 4) times larger.

        ``source`` is a file, an (H, W[, C]) uint8 or uint16 array (gray or RGB, alpha last) or an
        ``images.Photo``. How much a JPEG left out is known of its file; of other photos by what their pixels show of it.
        ``kernel`` is an (h, w) array on the pixels of the result, or words or a file for
        :func:`blindsr.kernels.files.parse_kernel`; None finds it. ``sigma`` is the noise level in [0, 1]; None
        estimates it. ``grid`` says where the pixels of the source lie among those of the result:
        ``centre`` puts the result on top of any ordinary enlargement, ``corner`` is for data that was
        decimated classically, and for files of kernels that hold their own offset (the published ones
        for bicubic, with which alpha lies (s−1)/2 pixels off; the word ``bicubic`` is right on either grid). ``boundary``: see
        :func:`blindsr.inference.boundary.pad`. ``tile`` forces tiles of that many source pixels a side (None:
        only where memory asks for it); tiles are always reflected. ``progress(done, total)`` is told of every tile.
        ``into`` is handed the result from top to bottom in bands (h, s·W, S), alpha last, as they get done; the answer
        then has no picture, and memory does not grow with it. ``per_tile`` lets the blur vary over the photo: a kernel
        is found for every part of it (:mod:`blindsr.inference.varying`), and ``field`` of the answer holds them.
        ``refine`` goes on with the kernel that was found, on the photo itself (:mod:`blindsr.inference.refinement`): some
        restorations more, of the whole photo or of its most textured megapixel; None does so with models that find kernels
        by looking at their own restorations, such as ``tiny``.
        A model that uses no kernel takes neither ``kernel``, ``sigma`` nor another ``grid``, and pads nothing whatever
        ``boundary`` says.

        Raises BlindSRError, in one line, for a source, kernel, number or word that cannot be used.
        """
        started = time.perf_counter()
        if tile is not None and not isinstance(tile, Integral):
            raise BlindSRError(f"tile {tile!r} is no whole number of pixels; use one of at least {SMALLEST_TILE}")
        if tile is not None and tile < SMALLEST_TILE:
            raise BlindSRError(f"tiles of {tile} pixels are too small; use at least {SMALLEST_TILE}")
        if per_tile:
            self.check_finds_kernel("leave per_tile out")
            if kernel is not None:
                raise BlindSRError("a given kernel is the same everywhere; leave either the kernel or per_tile out")
        photo, passage = self._passage(source, scale, kernel, sigma, grid, boundary, refine)
        kept: list[np.ndarray] = []
        precision = self._resolved(photo, scale)
        with self._networks(precision):
            passage.complete_noise()
            if per_tile:
                passage.vary(progress)
            top = 0
            for band in passage.bands(tile or passage.sizes.core(), progress):
                if into is None:
                    kept.append(band)
                elif photo.alpha is None:
                    into(band)
                else:
                    into(as_array(band, enlarge_alpha(photo.alpha, passage.scale, passage.blur.grid, slice(top, top + len(band))), 3))
                top += len(band)
        result = self._answer(source, passage, precision, started)
        if into is not None:
            return result
        pixels = np.concatenate(kept) if len(kept) > 1 else kept[0]
        alpha = None if photo.alpha is None else enlarge_alpha(photo.alpha, passage.scale, passage.blur.grid)
        photo = replace(photo, pixels=pixels, alpha=alpha, coding_noise=None)
        return replace(result, photo=photo, image=as_array(pixels, alpha, dimensions(source)))

    def estimate(
        self,
        source: Source,
        scale: int = 4,
        grid: Grid = "centre",
        boundary: Boundary = "reflect",
        sigma: float | None = None,
        refine: bool | None = None,
    ) -> Restored:
        """Kernel and noise level alone; of a large photo the most textured window is looked at.

        Arguments and errors as for :meth:`restore`; the answer has no picture.
        """
        started = time.perf_counter()
        self.check_finds_kernel("estimate with a blind one, such as tiny")
        photo, passage = self._passage(source, scale, None, sigma, grid, boundary, refine)
        precision = self._resolved(photo, scale)
        with self._networks(precision):
            passage.estimate()
        return self._answer(source, passage, precision, started)

    # -- how it is done ----------------------------------------------------------------------------------

    def _passage(
        self,
        source: Source,
        scale: int,
        kernel: np.ndarray | str | None,
        sigma: float | None,
        grid: Grid,
        boundary: Boundary,
        refine: bool | None,
    ) -> tuple[images.Photo, Passage]:
        """The photo and all that is asked of it, checked."""
        scale, photo = check_scale(scale), as_photo(source)
        self.check_serves(scale, kernel, sigma, grid)
        check_boundary(boundary)  # tiles would never ask
        if kernel is None:
            self.check_blind("give a kernel (gaussian:1.6, bicubic, or a file)")
        if self.model.restorer.uses_kernel:
            photo = images.with_history(photo)
        blur = known_blur(kernel, sigma, grid, scale, self.device, self.model.finds_kernel)
        passage = Passage(self.model, self.device, photo, scale, blur, boundary, self.refines(kernel, refine))
        check_fits(blur, (passage.size[0] * scale, passage.size[1] * scale), passage.kernel_size, boundary)
        return photo, passage

    def _resolved(self, photo: images.Photo, scale: int) -> Literal["fp32", "bf16"]:
        """float32 for photos of 16 bits, and for those that are not enlarged: without noise they come so near to the truth
        that bfloat16 would cost 0.1 dB (docs/speed.md)."""
        return machine.resolve_precision(self.precision, self.device, photo.pixels.itemsize > 1 or scale == 1)

    def _networks(self, precision: str) -> ExitStack:
        """The context in which the model runs."""
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"))
        return stack

    def _answer(self, source: Source, passage: Passage, precision: str, started: float) -> Restored:
        blur = passage.blur
        return Restored(
            image=None,
            photo=None,
            kernel_name=blur.name,
            kernel=None if blur.kernel is None else blur.kernel[0, 0].float().cpu().numpy(),
            sigma=None if blur.sigma is None else float(blur.sigma[0]),
            kernel_source=blur.kernel_source,
            sigma_source=blur.sigma_source,
            scale=passage.scale,
            grid=blur.grid,
            shift=blur.shift,
            boundary=passage.boundary,
            precision=precision,
            device=str(self.device),
            model=self.name,
            tiles=passage.tiles,
            loops=blur.loops,
            field=passage.field,
            refined=passage.refines,
            overshoot=passage.overshoot,
            seconds=time.perf_counter() - started,
            source=str(source) if isinstance(source, (str, Path)) else None,
        )
