"""What is known of a photo's blur and noise, and from where."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from blindsr.inference.result import Loop
from blindsr.inference.sources import check_sigma, support
from blindsr.interfaces import BlindSRError, Grid, Restoration
from blindsr.kernels.files import is_bicubic, parse_kernel, tidy
from blindsr.ops.fourier import grid_shift


@dataclass(frozen=True)
class Blur:
    """The ``kernel`` (1, 1, h, w) with the ``shift`` that the grid asks for, and ``sigma`` (1,) in [0, 1]; None for
    what is not known yet. ``grid``: where the pixels of the photo lie among those of the result. The sources say where each is
    from; ``kernel_source`` is None, as is all else, for a model that uses no kernel. ``name``: word or file of a given kernel;
    ``doubt`` (1,) and ``loops``: of an estimated one."""

    kernel: Tensor | None
    shift: float
    sigma: Tensor | None
    kernel_source: Literal["given", "estimated"] | None
    sigma_source: Literal["given", "estimated", "classical"] | None
    grid: Grid = "centre"
    name: str | None = None
    doubt: Tensor | None = None
    loops: tuple[Loop, ...] = ()

    @property
    def sought(self) -> bool:
        """Whether the kernel is still to be found."""
        return self.kernel is None and self.kernel_source is not None

    def found(self, result: Restoration) -> Blur:
        """This, completed by what the model found of the first photo of a batch. Once complete it stays: all tiles share
        it."""
        if self.loops or result.kernel is None:
            return self
        loops = tuple(
            Loop(
                i.kernel[0, 0].float().cpu().numpy(), float(i.sigma[0]), None if i.doubt is None else float(i.doubt[0])
            )
            for i in result.iterates
        )
        last = result.iterates[-1]
        doubt = None if last.doubt is None else last.doubt[:1]
        # What was given is told as it was given, though models take rounding for noise.
        sigma = self.sigma if self.sigma_source == "given" else last.sigma[:1].float()
        return replace(self, kernel=last.kernel[:1].float(), sigma=sigma, doubt=doubt, loops=loops)

    def here(self, kernel: np.ndarray, doubt: float) -> Blur:
        """This with the ``kernel`` (h, w) and its doubt of one part of the photo."""
        k, d = (torch.as_tensor(v, dtype=torch.float32, device=self.kernel.device) for v in (kernel, [doubt]))
        return replace(self, kernel=k[None, None], doubt=d)


def known_blur(
    kernel: np.ndarray | str | os.PathLike[str] | None,
    sigma: float | None,
    grid: Grid,
    scale: int,
    device: torch.device,
    finds_kernel: bool,
) -> Blur:
    """What the caller knows: a ``kernel``, an array (h, w), words or a file, and ``sigma`` in [0, 1], each or neither.

    Raises BlindSRError for what cannot be used."""
    if grid not in get_args(Grid):
        raise BlindSRError(f"grid {grid!r} is not known; use one of {', '.join(get_args(Grid))}")
    shift = grid_shift(grid, scale)
    level = None if sigma is None else torch.tensor([check_sigma(sigma)], dtype=torch.float32, device=device)
    how: Literal["given", "estimated"] = "estimated" if level is None else "given"
    if kernel is None:
        known = (level, "estimated", how) if finds_kernel else (None, None, None)
        return Blur(None, shift, *known, grid)
    if isinstance(kernel, (str, os.PathLike)):
        name = os.fspath(kernel).strip()
        array = parse_kernel(name, scale)
        if is_bicubic(name):
            shift, grid = 0.0, "centre"  # whatever was asked: it holds that offset itself
    else:
        name, array = "array", tidy(kernel, "the kernel")
    k = torch.from_numpy(array)[None, None].to(device, torch.float32)
    return Blur(k, shift, level, "given", how, grid, name)


def check_fits(blur: Blur, size: tuple[int, int], kernel_size: tuple[int, int] | None, boundary: str) -> None:
    """Raise BlindSRError where the kernel is larger than the result, of ``size`` (H, W)."""
    height, width = size
    if blur.kernel is not None:
        h, w = support(blur.kernel[0, 0].cpu().numpy())
        if h > height or w > width:
            raise BlindSRError(
                f"the kernel ({h}×{w}) is larger than the result ({height}×{width}); give a smaller one"
            )
    h, w = kernel_size or (1, 1)
    if boundary != "reflect" and (h > height or w > width):
        raise BlindSRError(f"the kernel ({h}×{w}) is larger than the result ({height}×{width}); use boundary reflect")
