"""BlindSR: a model that is kept, and photos that are restored with it."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from blindsr import checkpoints, images
from blindsr.alternating import AlternatingSR, most_textured
from blindsr.estimators.noise import estimate_noise
from blindsr.inference import machine, tiling
from blindsr.inference.boundary import MARGIN, Boundary, Padded, alignment, pad
from blindsr.inference.result import Loop, Restored
from blindsr.inference.sources import (
    MAX_SIGMA,
    Source,
    as_array,
    as_photo,
    check_scale,
    check_sigma,
    dimensions,
    enlarge_alpha,
    support,
    to_tensor,
)
from blindsr.interfaces import BlindSRError, Estimate, Grid, Restoration
from blindsr.kernels.files import parse_kernel, tidy
from blindsr.ops.fourier import grid_shift

ESTIMATION_SIDE = 1024  # high-resolution pixels of the window that an estimate alone looks at
SPECTRUM_SIDE = 2048  # low-resolution pixels of the window that the first estimate is made from
SMALLEST_TILE = 32


@dataclass(frozen=True)
class _Blur:
    """What is known of the blur and the noise, and from where."""

    kernel: Tensor | None
    shift: float
    sigma: Tensor | None
    kernel_source: Literal["given", "estimated"] | None  # None, as is all else, for a model that uses no kernel
    sigma_source: Literal["given", "estimated", "classical"] | None
    name: str | None = None
    doubt: Tensor | None = None  # in an estimated kernel
    loops: tuple[Loop, ...] = ()


class BlindSR:
    """Restores photos: blind where no kernel is given, non-blind with one.

    model = BlindSR.from_pretrained("tiny")
    restored = model.restore("photo.jpg", scale=4)
    restored.save("photo_x4.png")
    """

    def __init__(self, model: AlternatingSR, name: str, device: str | None = None, precision: str = "auto"):
        """``precision`` is auto, fp32 or bf16 (of the networks; Fourier transforms are always float32)."""
        self.device = machine.choose_device(device)
        machine.resolve_precision(precision, self.device, 8)  # a wrong word is told at once
        self.precision = precision
        self.name = name
        self.model = model.eval().to(self.device)
        self.model.restorer.to(memory_format=torch.channels_last)  # 1.6 times as fast on a CPU
        self._multiple = getattr(getattr(self.model.restorer, "prior", None), "multiple", 1)

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike[str] = "tiny", device: str | None = None, precision: str = "auto"
    ) -> BlindSR:
        """Load a shipped model by name, one of our .safetensors files or a published .pth (USRNet, RRDBNet).

        ``device`` is cpu, cuda, cuda:N or mps (None: CUDA if there is any). Raises BlindSRError for a file
        or device that cannot be used.
        """
        checkpoint = checkpoints.load(name_or_path)
        return cls(checkpoint.model, checkpoint.name, device, precision)

    def check_blind(self, cure: str) -> None:
        """Raise BlindSRError, which ends in the ``cure``, unless the model can restore without being given a kernel."""
        if not self.model.blind:
            raise BlindSRError(f"model {self.name} is non-blind: {cure}")

    def check_finds_kernel(self, cure: str) -> None:
        """Raise BlindSRError, which ends in the ``cure``, unless the model can find a kernel by itself."""
        self.check_blind(cure)
        if not self.model.finds_kernel:
            raise BlindSRError(f"model {self.name} restores without a kernel and finds none: {cure}")

    def check_serves(self, scale: int, kernel: object = None, sigma: float | None = None) -> None:
        """Raise BlindSRError for a scale that the model has not, and for a kernel or σ that it would not use."""
        restorer = self.model.restorer
        if scale not in restorer.scales:
            own = " or ".join(map(str, restorer.scales))
            raise BlindSRError(f"model {self.name} does not enlarge ×{scale}; use scale {own}")
        if not restorer.uses_kernel and kernel is not None:
            raise BlindSRError(f"model {self.name} restores without a kernel; leave --kernel out")
        if not restorer.uses_kernel and sigma is not None:
            raise BlindSRError(f"model {self.name} restores without a noise level; leave --sigma out")

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
    ) -> Restored:
        """Restore one photo, ``scale`` (1, 2, 3 or 4) times larger.

        ``source`` is a file, an (H, W[, C]) uint8 or uint16 array (gray or RGB, alpha last) or an
        ``images.Photo``. ``kernel`` is an (h, w) array on the pixels of the result, or words or a file for
        :func:`blindsr.kernels.files.parse_kernel`; None finds it. ``sigma`` is the noise level in [0, 1]; None
        estimates it. ``grid`` says where the pixels of the source lie among those of the result:
        ``centre`` puts the result on top of any ordinary enlargement, ``corner`` is for data that was
        decimated classically, and for files of kernels that hold their own offset (the published ones
        for bicubic; the word ``bicubic`` is right on either grid). ``boundary``: see
        :func:`blindsr.inference.boundary.pad`. ``tile`` forces tiles of that many source pixels a side (None:
        only where memory asks for it); tiles are always reflected. ``progress(done, total)`` is told of every tile.
        A model that uses no kernel takes neither ``kernel`` nor ``sigma``, pads nothing whatever ``boundary`` says, and
        keeps to the grid of its training.

        Raises BlindSRError, in one line, for a source, kernel, number or word that cannot be used.
        """
        started = time.perf_counter()
        scale, photo = check_scale(scale), as_photo(source)
        self.check_serves(scale, kernel, sigma)
        if tile is not None and tile < SMALLEST_TILE:
            raise BlindSRError(f"tiles of {tile} pixels are too small; use at least {SMALLEST_TILE}")
        y = to_tensor(photo, self.device)
        blur = self._given(y, scale, kernel, sigma, grid)
        self._check_fits(blur, y, scale, boundary)
        precision = machine.resolve_precision(self.precision, self.device, 8 * photo.pixels.itemsize)

        with self._networks(precision):
            reach = self._reach(blur, scale)
            core = tile or self._core(y, scale, reach)
            step = alignment(scale, self._multiple)
            rows, cols = (tiling.plan(n, core, reach, scale, step) for n in y.shape[-2:])
            tiles = len(rows) * len(cols)
            if tiles > 1 and self._is_sought(blur):
                blur = self._estimated(self._on_window(y, scale, blur, boundary), blur)
            if tiles > 1:
                boundary = "reflect"  # inside the photo nothing else is right

            def restore_tile(rows: slice, cols: slice) -> np.ndarray:
                nonlocal blur
                padded = self._pad(y[..., rows, cols], scale, blur, boundary)
                first = self._first(y, scale) if self._is_sought(blur) else None
                result = self.model(padded.y, scale, blur.kernel, blur.sigma, blur.shift, first, doubt=blur.doubt)
                blur = self._estimated(result, blur)
                x = padded.crop(result.x, scale)
                if photo.pixels.shape[2] == 1:
                    x = x.mean(1, keepdim=True)
                return x[0].permute(1, 2, 0).float().cpu().numpy()

            def quantise(strip: np.ndarray) -> np.ndarray:
                return images.from_float(strip, photo.pixels.dtype)

            pixels = tiling.restore_in_tiles(restore_tile, rows, cols, scale, quantise, progress)

        alpha = None if photo.alpha is None else enlarge_alpha(photo.alpha, scale, grid)
        result = self._answer(source, scale, grid, boundary, precision, tiles, blur, started)
        return replace(
            result, photo=replace(photo, pixels=pixels, alpha=alpha), image=as_array(pixels, alpha, dimensions(source))
        )

    def estimate(
        self,
        source: Source,
        scale: int = 4,
        grid: Grid = "centre",
        boundary: Boundary = "reflect",
        sigma: float | None = None,
    ) -> Restored:
        """Kernel and noise level alone; of a large photo the most textured window is looked at.

        Arguments and errors as for :meth:`restore`; the answer has no picture.
        """
        started = time.perf_counter()
        self.check_finds_kernel("estimate with a blind one, such as tiny")
        scale, photo = check_scale(scale), as_photo(source)
        self.check_serves(scale)
        y = to_tensor(photo, self.device)
        blur = self._given(y, scale, None, sigma, grid)
        self._check_fits(blur, y, scale, boundary)
        precision = machine.resolve_precision(self.precision, self.device, 8 * photo.pixels.itemsize)
        with self._networks(precision):
            blur = self._estimated(self._on_window(y, scale, blur, boundary), blur)
        return self._answer(source, scale, grid, boundary, precision, 0, blur, started)

    # -- blur and noise ----------------------------------------------------------------------------------

    @torch.inference_mode()
    def _given(self, y: Tensor, scale: int, kernel: np.ndarray | str | None, sigma: float | None, grid: Grid) -> _Blur:
        """What the caller knows; with a kernel, the noise level is completed from the whole photo."""
        if grid not in get_args(Grid):
            raise BlindSRError(f"grid {grid!r} is not known; use one of {', '.join(get_args(Grid))}")
        shift = grid_shift(grid, scale)
        level = None if sigma is None else y.new_tensor([check_sigma(sigma)])
        if kernel is None:
            self.check_blind("give a kernel (gaussian:1.6, bicubic, or a file)")
            if not self.model.finds_kernel:
                return _Blur(None, shift, None, None, None)
            return _Blur(None, shift, level, "estimated", "estimated" if level is None else "given")
        if isinstance(kernel, (str, os.PathLike)):
            name = os.fspath(kernel).strip()
            array = parse_kernel(name, scale)
            if name.lower() == "bicubic":
                shift = 0.0  # that kernel holds the offset of the centre grid itself
        else:
            name, array = "array", tidy(kernel, "the kernel")
        k = torch.from_numpy(array)[None, None].to(self.device, y.dtype)
        how: Literal["given", "estimated", "classical"] = "given"
        if level is None and self.model.initial is not None:
            level, how = self._first(y, scale).sigma.clamp(0, MAX_SIGMA), "estimated"
        elif level is None:
            level, how = estimate_noise(y).clamp(0, MAX_SIGMA), "classical"
        return _Blur(k, shift, level, "given", how, name)

    def _is_sought(self, blur: _Blur) -> bool:
        """Whether the kernel is still to be found."""
        return blur.kernel is None and self.model.finds_kernel

    def _estimated(self, result: Restoration, blur: _Blur) -> _Blur:
        """``blur`` completed by what the model found; all that follows shares it."""
        if blur.loops or result.kernel is None:
            return blur
        loops = tuple(
            Loop(
                i.kernel[0, 0].float().cpu().numpy(), float(i.sigma[0]), None if i.doubt is None else float(i.doubt[0])
            )
            for i in result.iterates
        )
        doubt = result.iterates[-1].doubt
        return replace(blur, kernel=result.kernel.float(), sigma=result.sigma.float(), doubt=doubt, loops=loops)

    def _on_window(self, y: Tensor, scale: int, blur: _Blur, boundary: Boundary) -> Restoration:
        """Run the model on the most textured part of the photo, or on all of it where it is small."""
        affordable = int(machine.affordable_pixels(self.model.restorer, self.device) ** 0.5)
        side = max(min(ESTIMATION_SIDE, affordable) // scale - 2 * self._reach(blur, scale), SMALLEST_TILE)
        first = self._first(y, scale)
        if max(y.shape[-2:]) > side:
            y, boundary = window(y, side), "reflect"  # its borders are not those of the photo
        padded = self._pad(y, scale, blur, boundary)
        return self.model(padded.y, scale, blur.kernel, blur.sigma, blur.shift, first)

    def _first(self, y: Tensor, scale: int) -> Estimate:
        """The first estimate, from the photo as it is: padding would weaken its noise and bend its spectrum."""
        return self.model.first_estimate(window(y, SPECTRUM_SIDE), scale)

    # -- sizes -------------------------------------------------------------------------------------------

    def _kernel_size(self, blur: _Blur) -> tuple[int, int] | None:
        """None where the model uses no kernel."""
        if blur.kernel is not None:
            return blur.kernel.shape[-2], blur.kernel.shape[-1]
        return (self.model.basis.size,) * 2 if self.model.finds_kernel else None

    def _reach(self, blur: _Blur, scale: int) -> int:
        """Low-resolution pixels around a tile that its result depends on."""
        radius = max(self._kernel_size(blur) or (0,)) // 2
        return -(-radius // scale) + tiling.PRIOR_MARGIN

    def _core(self, y: Tensor, scale: int, reach: int) -> int:
        """Side of the tiles that memory asks for; the whole photo where it can be had."""
        pixels = machine.affordable_pixels(self.model.restorer, self.device)
        around = 2 * (reach + MARGIN)
        if (y.shape[-2] + around) * (y.shape[-1] + around) * scale**2 <= pixels:
            return max(y.shape[-2:])
        return max(int(pixels**0.5) // scale - 2 * around, SMALLEST_TILE)

    def _pad(self, y: Tensor, scale: int, blur: _Blur, boundary: Boundary) -> Padded:
        return pad(y, scale, self._kernel_size(blur), boundary, self._multiple)

    def _check_fits(self, blur: _Blur, y: Tensor, scale: int, boundary: Boundary) -> None:
        picture = (y.shape[-2] * scale, y.shape[-1] * scale)
        h, w = self._kernel_size(blur) or (1, 1)
        if boundary != "reflect" and (h > picture[0] or w > picture[1]):
            raise BlindSRError(
                f"the kernel ({h}×{w}) is larger than the result ({picture[0]}×{picture[1]}); use boundary reflect"
            )
        if blur.kernel is not None:
            h, w = support(blur.kernel[0, 0].cpu().numpy())
            if h > picture[0] or w > picture[1]:
                raise BlindSRError(
                    f"the kernel ({h}×{w}) is larger than the result ({picture[0]}×{picture[1]}); give a smaller one"
                )

    # -- running -----------------------------------------------------------------------------------------

    def _networks(self, precision: str) -> ExitStack:
        """The context in which the model runs."""
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"))
        return stack

    def _answer(
        self,
        source: Source,
        scale: int,
        grid: Grid,
        boundary: Boundary,
        precision: str,
        tiles: int,
        blur: _Blur,
        started: float,
    ) -> Restored:
        return Restored(
            image=None,
            photo=None,
            kernel_name=blur.name,
            kernel=None if blur.kernel is None else blur.kernel[0, 0].float().cpu().numpy(),
            sigma=None if blur.sigma is None else float(blur.sigma[0]),
            kernel_source=blur.kernel_source,
            sigma_source=blur.sigma_source,
            scale=scale,
            grid=grid,
            shift=blur.shift,
            boundary=boundary,
            precision=precision,
            device=str(self.device),
            model=self.name,
            tiles=tiles,
            loops=blur.loops,
            seconds=time.perf_counter() - started,
            source=str(source) if isinstance(source, (str, Path)) else None,
        )


def window(y: Tensor, side: int) -> Tensor:
    """The most textured part of ``y`` (B, C, H, W), at most ``side`` pixels high and wide."""
    if max(y.shape[-2:]) <= side:
        return y
    top, left = most_textured(y, side)
    return y[..., top : top + side, left : left + side]
