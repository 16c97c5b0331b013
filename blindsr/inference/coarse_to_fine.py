"""A kernel out of the photo alone, from coarse to fine: camera shake, of which estimators find little, shows in edges.

Small pictures have small kernels, of which there is little to get wrong; every next size begins with what the one before
found, enlarged. On each, the two take turns (after Xu, Zheng, Jia, "Unnatural L0 sparse representation for natural image
deblurring", CVPR 2013; the order of sizes is that of Fergus et al., "Removing camera shake from a single photograph",
SIGGRAPH 2006):

    x̃ ← argmin ‖k ⊗ x̃ − y‖² + λ ‖∇x̃‖₀          (:func:`blindsr.ops.edges.l0_smooth`), strong edges first: λ falls
    k ← argmin ‖∇(k ⊗ x̃ − y)‖²,  non-negative    (:func:`blindsr.ops.least_squares.kernel_least_squares`)

For photos that are not to be enlarged: on low-resolution ones, where aliasing blurs what is left of the path, it found hardly
more than the estimators at ×2, and less at ×3 and ×4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from blindsr.kernels.placing import on_box, on_centroid
from blindsr.ops.edges import l0_smooth
from blindsr.ops.filtering import LUMA_NOISE, NO_MARGIN, Margin, inside
from blindsr.ops.least_squares import kernel_least_squares, non_negative

# Chosen on photos held back from training, under drawn camera shake (docs/experiments.md).
SMALLEST, RATIO = 3, 2**0.5  # side of the first kernel; from one size to the next
TURNS = 5  # on every size
STRONGEST, WEAKEST, FALL = 4e-3, 1e-4, 1.1  # λ, a squared contrast, and what it is divided by after every turn
ERROR = 1.0  # the share of the power of x̃ that is wrong
LEAST_TAP = 0.05  # of the largest: smaller ones are noise
LEAST_PHOTO, LEAST_CONTRAST = 4, 1e-3  # kernels a side; standard deviation


def coarse_to_fine(
    y: Tensor, size: int, sigma: Tensor, margin: Margin = NO_MARGIN
) -> tuple[Tensor, Tensor] | None:
    """The kernel (B, 1, size, size) that blurred ``y`` (B, 1, H, W), brightness with noise of ``sigma`` (B,) in [0, 1], and
    whether the photo shows one (B,); what lies in the ``margin`` does not count. Its place is that of camera shake
    (:func:`blindsr.kernels.placing.on_box`). None where photos are too small to tell, or none shows an edge."""
    shows = y.flatten(1).std(1) >= LEAST_CONTRAST
    if min(inside(y, margin).shape[-2:]) < LEAST_PHOTO * size or not shows.any():
        return None
    noise, strength = LUMA_NOISE * sigma, STRONGEST
    k = y.new_zeros(len(y), 1, SMALLEST, SMALLEST)
    k[..., SMALLEST // 2, SMALLEST // 2 :] = 0.5  # not a Dirac, which explains everything
    for n in _sides(size):
        share = n / size
        small = y
        if n < size:
            small = F.interpolate(y, scale_factor=share, mode="bicubic", antialias=True)
        if n != k.shape[-1]:
            k = non_negative(F.interpolate(k, size=(n, n), mode="bilinear", align_corners=False))
        here = noise * share  # the mean of several pixels has less
        error, spread = torch.full_like(sigma, ERROR), torch.full_like(k, 1 / n**2)
        (top, bottom), (left, right) = margin
        lost = (round(top * share), round(bottom * share)), (round(left * share), round(right * share))
        for _ in range(TURNS):
            strong = l0_smooth(small, strength, k)
            found = kernel_least_squares(strong, small, torch.zeros_like(k), 1, here, error, spread, margin=lost)
            shows &= found.amax((-3, -2, -1)) > 0
            k = on_centroid(non_negative(torch.where(shows[:, None, None, None], found, k), LEAST_TAP))
            strength = max(strength / FALL, WEAKEST)
    return on_box(k), shows


def _sides(last: int) -> list[int]:
    """Odd sides of kernels, from the smallest to ``last``."""
    sides = [last]
    while sides[-1] > SMALLEST:
        side = int(sides[-1] / RATIO)
        sides.append(max(side - 1 + side % 2, SMALLEST))
    return sides[::-1]
