"""The noise level without any training, from the finest diagonal wavelet coefficients.

Texture raises the classical estimate, and few pixels are left to an enlarged photo that are not texture. But texture is
much the same in red, green and blue, while white noise is another in each: in that colour in which the finest details
are weakest, hardly any of them is left. (Principal components of patches serve to tell noise from texture since Pyatykh,
Hesser, Zheng, "Image noise level estimation by principal component analysis", TIP 2013; here of three colours alone.)
Noise of gray photos, of scans, and of photos whose colours were stored at half the resolution, as JPEG does, is not white in
this sense. That shows: the flattest parts of the photo have details, and the weakest colour has none; or an estimator that
learned to tell noise in luma from texture sees more of it than white noise would have.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from blindsr.ops.filtering import LUMA_NOISE

# Daubechies' high-pass filter with two vanishing moments, of unit norm: ramps vanish, white noise keeps its level.
_ROOT3 = 3**0.5
DB2_HIGH = tuple(v / (4 * 2**0.5) for v in (1 - _ROOT3, _ROOT3 - 3, 3 + _ROOT3, -1 - _ROOT3))

NORMAL_MAD = 0.6745  # median of |n| for a standard normal n
ENOUGH = 64  # fewer usable coefficients than this say nothing

# Chosen on photos held back from training. Of white noise of 2.55 of 255 and more the quotient was 2.5 at most, of gray noise
# and of noise that had been through JPEG, of 5, it was 3.0 at least.
BLOCK, FLATTEST = 8, 0.05  # pixels a side; the share of blocks that have fewer details than the flattest part
WHITE = 3.0  # times the details of the weakest colour that the flattest part may have
NOTHING = 1e-5  # that arithmetic leaves of flat areas

# On 17 photos of BSD68 under four kernels at ×2 and ×4 none of 272 with white noise of 2.55 and 7.65 was taken for another; at ×2,
# 117 of 136 where half of the noise was the same in all colours. Of less than SURE estimators know nothing.
MORE = 1.25  # times the chroma that both what is seen in luma and what the flattest blocks have of brightness must be
AGREE = 0.65  # of the noise that follows from what is seen, that the flattest blocks must have; 0.78 is usual, of texture 0.6
SURE = 2 / 255
MANY = 150  # blocks of a picture, fewer than which may all be full of texture; photos of BSD68 at ×4 have 150
CHROMA = ((2**-0.5, -(2**-0.5), 0.0), (6**-0.5, 6**-0.5, -2 * 6**-0.5))  # axes of unit length on which gray is nothing


def diagonal_details(y: Tensor) -> Tensor:
    """Finest diagonal (HH) coefficients, at every position: (B, C, H, W) -> (B, C, H−3, W−3)."""
    high = y.new_tensor(DB2_HIGH)
    channels = y.shape[1]
    rows = high.view(1, 1, 4, 1).expand(channels, 1, 4, 1)
    cols = high.view(1, 1, 1, 4).expand(channels, 1, 1, 4)
    return F.conv2d(F.conv2d(y, rows, groups=channels), cols, groups=channels)


def estimate_noise(y: Tensor, otherwise: Tensor | None = None) -> Tensor:
    """Standard deviation of white Gaussian noise in ``y`` (B, C, H, W) in [0, 1]: ``sigma`` (B,), same scale.

    Of RGB photos it is that of their weakest colour (see the module's first lines). Where their noise is not white, and
    with another number of channels, ``otherwise`` (B,), what an estimator saw in the luma, is the answer, or the classical
    estimate :func:`wavelet_noise`.
    """
    seen, otherwise = otherwise, wavelet_noise(y) if otherwise is None else otherwise
    if y.shape[1] != 3 or min(y.shape[-2:]) < BLOCK + 3:
        return otherwise
    with torch.autocast(y.device.type, enabled=False):  # bfloat16 is coarser than the noise
        y = _exact(y)
        details, usable = diagonal_details(y), _usable(y).all(1)
        found = torch.stack([_weakest_colour(d, u, o) for d, u, o in zip(details, usable, otherwise.to(y))])
        if seen is not None:
            found = torch.where(is_white(y, seen), found, otherwise.to(y))
    return found.to(otherwise.dtype)


def chroma_noise(y: Tensor) -> Tensor:
    """The level (B,) that white noise has where the chroma of ``y`` (B, 3, H, W) in [0, 1] has as many of the finest details;
    0 of a picture smaller than 4×4."""
    if min(y.shape[-2:]) < 4:
        return y.new_zeros(y.shape[0])
    y = _exact(y)
    with torch.autocast(y.device.type, enabled=False):
        chroma = torch.einsum("ac,bchw->bahw", y.new_tensor(CHROMA), diagonal_details(y)).abs()
        usable = _usable(y).all(1, keepdim=True).expand_as(chroma)
    return torch.stack([_kept(d, u).median() for d, u in zip(chroma, usable)]) / NORMAL_MAD


def is_white(y: Tensor, seen: Tensor) -> Tensor:
    """Whether the noise of ``y`` (B, 3, H, W) in [0, 1] may well be white, where an estimator has ``seen`` so much of it in
    the luma (B,), as a level of white noise: a bool (B,). Texture is taken for noise by either alone, hardly
    by estimators and wavelets both. Of a picture that is too small to tell, it may.
    """
    height, width = y.shape[-2:]
    if min(height, width) < BLOCK + 3 or (height // BLOCK) * (width // BLOCK) < MANY:  # the details have 3 pixels less
        return torch.ones_like(seen, dtype=torch.bool)
    chroma = chroma_noise(y)
    seen, least = seen.to(chroma), MORE * chroma
    with torch.autocast(y.device.type, enabled=False):
        brightness = 3**0.5 * diagonal_details(_exact(y)).mean(1, keepdim=True).abs()
    flattest = torch.stack([_flattest(d, u) for d, u in zip(brightness, _usable(y).all(1))]) / NORMAL_MAD
    texture = flattest <= torch.maximum(least + NOTHING, AGREE * white_level(seen, chroma))
    return (seen <= least) | (seen < SURE) | texture


def white_level(seen: Tensor, chroma: Tensor) -> Tensor:
    """The level along the axis of brightness, (R + G + B)/√3, of noise that has the level ``chroma`` (B,) along those of chroma,
    where an estimator has ``seen`` so much of it in the luma (B,), as a level of white noise."""
    beyond = (seen**2 - chroma**2).clamp_min(0)  # what luma has beyond that of white noise
    return (seen**2 + (3 * LUMA_NOISE**2 - 1) * beyond).sqrt()


def wavelet_noise(y: Tensor) -> Tensor:
    """The classical estimate of the same, with any number of channels.

    ``median |d| / 0.6745`` over the finest diagonal coefficients ``d`` of all channels (Donoho and
    Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994, section 4.2).
    Coefficients that touch a clipped pixel (exactly 0 or 1) carry no noise and are left out where
    enough others remain. Texture raises the estimate; 8-bit rounding alone gives about 0.3/255.
    A picture smaller than 4×4 gives 0.
    """
    if min(y.shape[-2:]) < 4:
        return y.new_zeros(y.shape[0])
    y = _exact(y)
    with torch.autocast(y.device.type, enabled=False):
        details = diagonal_details(y).abs()
    return torch.stack([_kept(d, u).median() for d, u in zip(details, _usable(y))]) / NORMAL_MAD


def _weakest_colour(details: Tensor, usable: Tensor, otherwise: Tensor) -> Tensor:
    """The level in the weakest colour of ``details`` (3, h, w), those that are ``usable`` (h, w); ``otherwise`` where the
    flattest part of the photo has clearly more."""
    kept = _kept(details, usable.expand_as(details)).view(3, -1)
    spread = (kept @ kept.T / kept.shape[1]).cpu().double()
    weakest = torch.linalg.eigh(spread).eigenvectors[:, 0].to(kept)
    level = (weakest @ kept).abs().median()
    return torch.where(_flattest(details.abs(), usable) > WHITE * level + NOTHING, otherwise, level / NORMAL_MAD)


def _flattest(details: Tensor, usable: Tensor) -> Tensor:
    """The median of the absolute ``details`` (C, h, w) in the flattest blocks of those that are ``usable`` (h, w)."""
    medians = _blocks(details).median(1).values
    whole = _blocks(usable[None]).all(1)
    medians = (medians[whole] if whole.any() else medians).sort().values
    return medians[int(FLATTEST * len(medians))]


def _blocks(details: Tensor) -> Tensor:
    """(C, h, w) -> (blocks, what each holds)."""
    return details.unfold(1, BLOCK, BLOCK).unfold(2, BLOCK, BLOCK).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)


def _exact(y: Tensor) -> Tensor:
    return y if y.dtype == torch.float64 else y.float()


def _usable(y: Tensor) -> Tensor:
    """Which details touch no clipped pixel."""
    return F.max_pool2d(((y == 0) | (y == 1)).to(y.dtype), 4, stride=1) == 0


def _kept(details: Tensor, usable: Tensor) -> Tensor:
    """The usable details in one row, or all where hardly any is."""
    kept = details[usable]
    return kept if kept.numel() >= max(ENOUGH, details.numel() // 20) else details.flatten()
