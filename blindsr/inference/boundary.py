"""Borders of real photos for a model that blurs circularly.

Circular convolution joins the right border to the left one and the bottom to the top. A photo that does
not close on itself rings there, so it is padded before restoration and cropped after it. Seen
circularly, the padding is one gap between two borders. ``reflect`` continues each border into the gap by
reflection, fades from one continuation to the other so that nothing jumps, and blurs what lies deep in
the gap, because a mirrored or mixed edge is sharper than any blurred photo could be and would ring too. That is as far as
one comes without the kernel; with it, :mod:`blindsr.inference.surroundings` fills the gap anew.

Measured on crops of photos whose surroundings went into the blur (three of the 12 test kernels, the
published tiny USRNet, σ 0 and 2.55 of 255): fading gains 0.6 to 1.4 dB over plain reflection at ×1 and ×2,
blurring 0.4 to 1.1 dB more; at ×4 0.2 dB in all. Half of that also shows far from the borders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from blindsr.interfaces import BlindSRError
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import NO_MARGIN, Margin, blur

Boundary = Literal["reflect", "taper", "circular"]
MARGIN = 4  # low-resolution pixels beyond the kernel's radius, for what the prior sees


@dataclass(frozen=True)
class Padded:
    """A padded photo ``y`` (B, C, H', W') and where the photo itself, of ``size`` (H, W), lies in it. What lies in the
    ``margin`` is made up, or blurred from what is; of small photos half counts all the same."""

    y: Tensor
    top: int
    left: int
    size: tuple[int, int]
    margin: Margin = NO_MARGIN

    def crop(self, x: Tensor, scale: int) -> Tensor:
        """Cut the photo out of the restored ``x`` (B, C, s·H', s·W'): (B, C, s·H, s·W)."""
        top, left = self.top * scale, self.left * scale
        return x[..., top : top + self.size[0] * scale, left : left + self.size[1] * scale]


def check_boundary(boundary: str) -> None:
    """Raise BlindSRError for a word that is none of them."""
    if boundary not in get_args(Boundary):
        raise BlindSRError(f"boundary {boundary!r} is not known; use one of {', '.join(get_args(Boundary))}")


def pad(
    y: Tensor, scale: int, kernel_size: tuple[int, int] | None, boundary: Boundary = "reflect", multiple: int = 1
) -> Padded:
    """Prepare ``y`` (B, C, H, W) for a circular blur by a kernel of ``kernel_size`` (h, w) high-resolution pixels.

    * ``reflect`` pads by at least the kernel's radius and a margin on every side, to a size that is quick
      to transform and, enlarged, a ``multiple``. A photo smaller than its padding is reflected repeatedly.
    * ``taper`` keeps the size and fades the borders into a circularly blurred photo; it costs no pixels and
      spoils the outermost ones.
    * ``circular`` leaves the photo as it is, for data that was made with wrap-around.

    Without a kernel (``kernel_size`` None) nothing is joined, and every word leaves the photo as it is.

    Raises BlindSRError for another word.
    """
    check_boundary(boundary)
    size = (y.shape[-2], y.shape[-1])
    if boundary == "circular" or kernel_size is None:
        return Padded(y, 0, 0, size)
    radii = [-(-(k // 2) // scale) for k in kernel_size]
    blurred = [min(r, n // 4) for r, n in zip(radii, size)]
    if boundary == "taper":
        depths = [r - _nearest_border(n) for n, r in zip(size, radii)]
        rows, cols = ((lost, lost) for lost in blurred)
        return Padded(soften(y, depths, radii), 0, 0, size, (rows, cols))
    starts, ends, depths, step = [], [], [], alignment(scale, multiple)
    for dimension, length, radius in zip((-2, -1), size, radii):
        least = radius + MARGIN
        start = -(-least // step) * step  # so that a U-Net meets the same pixels in every tile
        total = fast_length(start + length + least, scale, multiple)
        most = (total - length - least) // step * step
        start = min(max(start, round((total - length) / (2 * step)) * step), most)  # the photo is in the middle, nearly
        y = close_circle(y, dimension, total, start)
        position = (torch.arange(total) - start) % total
        depths.append(torch.minimum(position - length + 1, total - position))
        starts.append(start)
        ends.append(total - start - length)
    rows, cols = ((start + lost, end + lost) for start, end, lost in zip(starts, ends, blurred))
    return Padded(soften(y, depths, radii), starts[0], starts[1], size, (rows, cols))


def alignment(scale: int, multiple: int) -> int:
    """Low-resolution pixels that make a whole number of ``multiple`` high-resolution ones."""
    return multiple // math.gcd(multiple, scale)


def _nearest_border(length: int) -> Tensor:
    position = torch.arange(length)
    return torch.minimum(position, length - 1 - position)


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
    position = ((torch.arange(total) - start) % total).to(y.device)  # the gap follows the photo
    depth = (position - length + 1).clamp(min=0) / (total - length + 1)  # 0 in the photo, up to 1 where it begins anew
    shape = [1] * y.ndim
    shape[dimension] = total
    fade = (0.5 + 0.5 * (depth * torch.pi).cos()).to(y.dtype).view(shape)
    forward = y.index_select(dimension, mirror(position, length))
    backward = y.index_select(dimension, mirror(position - total, length))
    return torch.where(fade == 1, forward, fade * forward + (1 - fade) * backward)


def soften(y: Tensor, depths: list[Tensor], radii: list[int]) -> Tensor:
    """Fade ``y`` (B, C, H, W) into a circularly blurred copy of itself.

    ``depths`` (H) and (W) grow from 0, where ``y`` is kept, to the ``radii`` and beyond, where the copy
    stands alone; it is blurred by a Gaussian of half the larger radius.
    """
    radius = max(radii)
    span = min(2 * radius + 1, *(n - 1 + n % 2 for n in y.shape[-2:]))  # odd, and no larger than the picture
    if span < 3:
        return y
    keep = y.new_ones(1, 1)
    for depth, r, shape in zip(depths, radii, ((-1, 1), (1, -1))):
        share = depth.to(y.device, y.dtype).clamp(min=0) / (r + 1)
        keep = keep * (0.5 + 0.5 * (share.clamp(max=1) * torch.pi).cos()).view(shape)
    k = torch.as_tensor(gaussian(span, radius / 2), dtype=y.dtype, device=y.device)
    return torch.where(keep == 1, y, keep * y + (1 - keep) * blur(y, k[None, None]))
