"""Borders of real photos for a model that blurs circularly.

Circular convolution joins the right border to the left one and the bottom to the top. A photo that does
not close on itself rings there, so it is padded before restoration and cropped after it. Seen
circularly, padding is one gap between two borders: ``reflect`` continues each border into it by
reflection and fades from one continuation to the other, so that nothing jumps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from blindsr.interfaces import BlindSRError
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import blur

Boundary = Literal["reflect", "taper", "circular"]
MARGIN = 4  # low-resolution pixels beyond the kernel's radius, for what the prior sees
PURE = 0.25  # share of the gap, at either end, that is plain reflection


@dataclass(frozen=True)
class Padded:
    """A padded photo ``y`` (B, C, H', W') and where the photo itself lies in it."""

    y: Tensor
    top: int
    left: int
    size: tuple[int, int]

    def crop(self, x: Tensor, scale: int) -> Tensor:
        """Cut the photo out of the restored ``x`` (B, C, s·H', s·W'): (B, C, s·H, s·W)."""
        top, left = self.top * scale, self.left * scale
        return x[..., top : top + self.size[0] * scale, left : left + self.size[1] * scale]


def pad(y: Tensor, scale: int, kernel_size: tuple[int, int], boundary: Boundary = "reflect", multiple: int = 1) -> Padded:
    """Prepare ``y`` (B, C, H, W) for a circular blur by a kernel of ``kernel_size`` (h, w) high-resolution pixels.

    * ``reflect`` pads by at least the kernel's radius and a margin on every side, to a size that is quick
      to transform and, enlarged, a ``multiple``. A photo smaller than its padding is reflected repeatedly.
    * ``taper`` keeps the size and fades the borders into a circularly blurred photo (Reeves, "Fast image
      restoration without boundary artifacts", IEEE TIP 2005, describes the practice); it costs no pixels
      and spoils the outermost ones.
    * ``circular`` leaves the photo as it is, for data that was made with wrap-around.

    Raises BlindSRError for another word.
    """
    if boundary not in get_args(Boundary):
        raise BlindSRError(f"boundary {boundary!r} is not known; use one of {', '.join(get_args(Boundary))}")
    size = (y.shape[-2], y.shape[-1])
    radii = [-(-(k // 2) // scale) for k in kernel_size]
    if boundary == "circular":
        return Padded(y, 0, 0, size)
    if boundary == "taper":
        return Padded(taper(y, radii[0], radii[1]), 0, 0, size)
    starts = []
    for dimension, length, radius in zip((-2, -1), size, radii):
        total = fast_length(length + 2 * (radius + MARGIN), scale, multiple)
        starts.append((total - length) // 2)
        y = close_circle(y, dimension, total, starts[-1])
    return Padded(y, starts[0], starts[1], size)


def fast_length(length: int, scale: int, multiple: int = 1) -> int:
    """The least n ≥ ``length`` for which s·n has only small prime factors and is a multiple of ``multiple``."""
    while (length * scale) % multiple or next_fast_len(length * scale) != length * scale:
        length += 1
    return length


def mirror(position: Tensor, length: int) -> Tensor:
    """Index in 0…length−1 that a position falls on when both borders are mirrors (their pixel not repeated)."""
    if length == 1:
        return torch.zeros_like(position)
    period = 2 * (length - 1)
    return (length - 1) - (position % period - (length - 1)).abs()


def close_circle(y: Tensor, dimension: int, total: int, start: int) -> Tensor:
    """Extend ``y`` along a dimension to ``total``, itself beginning at ``start``, continuous across the wrap-around."""
    length = y.shape[dimension]
    position = torch.arange(total, device=y.device) - start
    position = torch.where(position < 0, position + total, position)  # the gap follows the photo
    gap = total - length
    depth = (position - length + 1).clamp(min=0) / (gap + 1)  # 0 in the photo, up to 1 where it begins anew
    fade = (((depth - PURE) / (1 - 2 * PURE)).clamp(0, 1) * torch.pi).cos().to(y.dtype) / 2 + 0.5
    shape = [1] * y.ndim
    shape[dimension] = total
    fade = fade.view(shape)
    forward = y.index_select(dimension, mirror(position, length))
    backward = y.index_select(dimension, mirror(position - total, length))
    return torch.where(fade == 1, forward, fade * forward + (1 - fade) * backward)


def taper(y: Tensor, rows: int, cols: int) -> Tensor:
    """Fade the outer ``rows`` and ``cols`` of ``y`` into its circularly blurred self; the size stays."""
    radii = [min(r + 1, max(n // 2 - 1, 0)) for r, n in zip((rows, cols), y.shape[-2:])]
    if 0 in radii:
        return y
    keep = y.new_ones(1, 1)
    for radius, length, shape in zip(radii, y.shape[-2:], ((-1, 1), (1, -1))):
        distance = torch.arange(length, dtype=y.dtype, device=y.device)
        distance = torch.minimum(distance, length - 1 - distance) + 0.5
        keep = keep * (0.5 - 0.5 * ((distance / radius).clamp(max=1) * torch.pi).cos()).view(shape)
    span = 2 * max(radii) + 1
    size = min(span, *(n - 1 + n % 2 for n in y.shape[-2:]))
    k = torch.as_tensor(gaussian(size, max(radii) / 2), dtype=y.dtype, device=y.device)
    return keep * y + (1 - keep) * blur(y, k[None, None])
