"""Blur and its adjoint: true convolution (the kernel is flipped), for every part of the package.

`scipy.ndimage.convolve` flips the kernel and `torch.conv2d` does not; this one function serves all.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blindsr.ops.fourier import psf_to_otf

Boundary = Literal["circular", "reflect", "valid"]
Margin = tuple[tuple[int, int], tuple[int, int]]  # pixels at the (top, bottom), (left, right) of a picture
NO_MARGIN: Margin = ((0, 0), (0, 0))
LUMA = (0.299, 0.587, 0.114)
LUMA_NOISE = sum(v * v for v in LUMA) ** 0.5  # of the noise in each colour, in their weighted mean


def blur(x: Tensor, k: Tensor, boundary: Boundary = "circular", shift: float = 0.0) -> Tensor:
    """Convolve ``x`` (B, C, H, W) with ``k`` (B or 1, 1, h, w), centre at (h//2, w//2).

    ``circular`` and ``reflect`` keep the size; ``valid`` leaves (B, C, H−h+1, W−w+1), the part that no
    border touches. ``shift`` moves the result by that many pixels (:func:`blindsr.ops.fourier.grid_shift`).
    """
    h, w = k.shape[-2:]
    if boundary == "reflect":
        x = F.pad(x, (w // 2, w // 2, h // 2, h // 2), mode="reflect")
    size = (x.shape[-2], x.shape[-1])
    blurred = torch.fft.irfft2(torch.fft.rfft2(x) * psf_to_otf(k, size, shift), s=size)
    if boundary == "circular":
        return blurred
    return blurred[..., h // 2 : size[0] - (h - 1 - h // 2), w // 2 : size[1] - (w - 1 - w // 2)]


def sides(margin: int | Margin) -> Margin:
    """A margin that is alike on every side may be told as a number."""
    return ((margin, margin), (margin, margin)) if isinstance(margin, int) else margin


def inside(x: Tensor, margin: int | Margin, times: int = 1) -> Tensor:
    """What of (…, H, W) lies inside so many ``times`` the ``margin``."""
    (top, bottom), (left, right) = sides(margin)
    return x[..., times * top : x.shape[-2] - times * bottom, times * left : x.shape[-1] - times * right]


def luma(x: Tensor) -> Tensor:
    """Brightness (B, 1, H, W) of RGB (B, 3, H, W), ITU-R BT.601."""
    return (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
