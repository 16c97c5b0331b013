"""Figures of merit for pictures and for kernels. Data range 1 unless stated."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from blindsr.interfaces import BlindSRError
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import blur, inside


def psnr(x: Tensor, reference: Tensor, border: int = 0) -> Tensor:
    """Peak signal-to-noise ratio in dB over all channels, (B,), inside a ``border`` of that many pixels.

    Both (B, C, H, W) in [0, 1]; nothing is clipped or rounded here, the protocol does that. Raises BlindSRError where
    nothing is left inside the border.
    """
    if min(x.shape[-2:]) <= 2 * border:
        raise BlindSRError(f"nothing is left of {x.shape[-1]}×{x.shape[-2]} pixels inside a border of {border}")
    x, reference = inside(x, border), inside(reference, border)
    return -10 * (x - reference).square().mean((1, 2, 3)).log10()


def shifted_psnr(x: Tensor, reference: Tensor, reach: int, border: int = 0) -> Tensor:
    """:func:`psnr` of one picture (1, C, H, W) at the shift, by at most ``reach`` whole pixels each way, that serves it best,
    inside the ``border`` and what was shifted in. Photo and kernel can move against each other unseen, so blind deblurring is
    judged so (Levin et al., "Understanding and evaluating blind deconvolution algorithms", CVPR 2009)."""
    size = (x.shape[-2], x.shape[-1])
    reach = min(reach, (min(size) - 2 * border - 1) // 4)
    near = crossed(x, reference, size).sum((0, 1)).roll((reach, reach), (-2, -1))[: 2 * reach + 1, : 2 * reach + 1]
    down, right = (i - reach for i in divmod(int(near.argmax()), 2 * reach + 1))
    shifted = psnr(x.roll((down, right), (-2, -1)), reference, border + max(abs(down), abs(right)))
    return torch.maximum(shifted, psnr(x, reference, border))  # the border may have had another say


def ssim(x: Tensor, reference: Tensor, border: int = 0) -> Tensor:
    """Structural similarity (Wang et al., IEEE TIP 2004), mean over all channels, (B,), inside a ``border``.

    Both (B, C, H, W) in [0, 1]. An 11×11 Gaussian window of width 1.5, where it fits wholly; K₁ = 0.01,
    K₂ = 0.03; computed in float64, as variances are small differences. Raises BlindSRError
    where fewer than 11 pixels a side are left.
    """
    x, reference = inside(x, border), inside(reference, border)
    if min(x.shape[-2:]) < 11:
        raise BlindSRError("SSIM needs at least 11 pixels a side; take a larger photo or a smaller border")
    window = torch.from_numpy(gaussian(11, 1.5))[None, None].to(x.device)
    x, y = x.double(), reference.double()
    c1, c2 = 0.01**2, 0.03**2
    local = partial(blur, k=window, boundary="valid")
    mean_x, mean_y = local(x), local(y)
    variances = local(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * (2 * covariance + c2) / (variances + c2)).mean((1, 2, 3)).to(reference.dtype)


def luma_bt601(x: Tensor) -> Tensor:
    """The Y channel that the field measures on: (B, 1, H, W) of RGB (B, 3, H, W) in [0, 1].

    MATLAB's ``rgb2ycbcr``, ITU-R BT.601 with black at 16/255 and white at 235/255, not rounded; the gray of
    :func:`blindsr.ops.filtering.luma` has the full range and a PSNR 1.32 dB lower.
    """
    weights = x.new_tensor((65.481, 128.553, 24.966))[:, None, None]
    return ((x * weights).sum(1, keepdim=True) + 16) / 255


def crossed(x: Tensor, reference: Tensor, size: tuple[int, int]) -> Tensor:
    """Σₙ x(n) · reference(n + d) for every shift d, (…, H, W): circular on ``size`` (H, W), to which zeros fill both up."""
    spectra = [torch.fft.rfft2(t, s=size) for t in (x, reference)]
    return torch.fft.irfft2(spectra[0].conj() * spectra[1], s=size)


def kernel_correlation(k: Tensor, reference: Tensor) -> Tensor:
    """Largest normalised cross-correlation over all whole-pixel shifts, (B,) in [0, 1] (Hu & Yang, ECCV 2012)."""
    products = crossed(k, reference, (2 * k.shape[-2], 2 * k.shape[-1]))
    return products.flatten(1).amax(1) / (k.flatten(1).norm(dim=1) * reference.flatten(1).norm(dim=1))
