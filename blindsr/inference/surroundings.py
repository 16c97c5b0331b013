"""What most probably lies around a photo, for a model that blurs circularly.

Padding leaves a gap between opposite borders of a photo. What stands there must look as if the same kernel had blurred
it: a data step that trusts the photo answers anything else with ringing, which from a gap that is merely smooth reaches
16 pixels into a photo, and all over it under motion blur. So the photo, without its mean, is taken for a piece of a Gaussian random field with the
spectrum of a natural picture (a power law: its gradients are white), blurred by the kernel, decimated, with noise::

    P = S (C |k̂|² / |∇̂|²) + σ²          S: the mean over the s² aliases of a frequency

and the gap is filled with its mean, given the photo: the g that minimises ‖P^(−1/2) (y + g)‖². That is the Tikhonov way to
deconvolve with unknown borders (compare Almeida & Figueiredo, "Deconvolving images with unknown boundaries using the
alternating direction method of multipliers", IEEE TIP 2013), all on the low-resolution grid. Conjugate gradients find it,
with P itself, inside the gap, for a preconditioner.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from blindsr.inference.boundary import Padded
from blindsr.ops.fourier import gradient_power, psf_to_otf

CONTRAST = 2e-3  # C: mean square of a photo's differences between neighbours, of [0, 1]
LEAST_SIGMA = 0.29 / 255  # what rounding to 8 bits does
SHARE = 1 / 6  # of the noise: edges at a border have far more contrast than C. Told all of it, borders came out 0.5 dB worse
TINY = 1e-30
NEAR = 1e-2  # of the first distance to the solution, where it ends; further on no border gained 0.1 dB
MOST = 200  # steps; wide kernels without noise take most


def surround(padded: Padded, k: Tensor, sigma: Tensor, scale: int, shift: float = 0.0) -> Padded:
    """``padded`` with its gap filled anew, as fits the kernel ``k`` (B, 1, h, w) on the high-resolution grid, moved by
    ``shift``, and the noise ``sigma`` (B,) in [0, 1]. Without a gap nothing changes."""
    y, (height, width) = padded.y.float(), padded.size
    size = (y.shape[-2], y.shape[-1])
    if size == padded.size:
        return padded
    gap = y.new_ones(size)
    gap[padded.top : padded.top + height, padded.left : padded.left + width] = 0
    power = _spectrum(k.float(), (SHARE * sigma.float()).clamp_min(LEAST_SIGMA), scale, size, shift)

    def within(weights: Tensor, z: Tensor) -> Tensor:
        return gap * torch.fft.irfft2(weights * torch.fft.rfft2(z), s=size)

    mean = (y * (1 - gap)).sum((-2, -1), keepdim=True) / (height * width)  # of which a field of mean 0 would make a step
    y = y - mean
    x, precision = y * gap, 1 / power
    residual = -within(precision, y)
    direction = step = within(power, residual)
    product = _dot(residual, step)
    start = product
    for _ in range(MOST):
        going = (product > NEAR**2 * start).any(1, keepdim=True)  # each photo of a batch ends where it would alone
        if not going.any():
            break
        turned = within(precision, direction)
        length = going * product / _dot(direction, turned).clamp_min(TINY)
        x, residual = x + length * direction, residual - length * turned
        step = within(power, residual)
        before, product = product, _dot(residual, step)
        direction = step + product / before.clamp_min(TINY) * direction
    return replace(padded, y=torch.where(gap == 0, padded.y, (x + mean).to(padded.y.dtype)))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)


def _spectrum(k: Tensor, sigma: Tensor, scale: int, size: tuple[int, int], shift: float) -> Tensor:
    """P on the low-resolution grid, half of it: (B, 1, H, W//2+1)."""
    fine = (size[0] * scale, size[1] * scale)
    gradient = gradient_power(fine, k)
    gradient[0, 0] = gradient[0, 1] / 4  # the mean of a photo is hardly known beforehand
    sharp = CONTRAST * psf_to_otf(k, fine, shift).abs().square() / gradient
    correlation = torch.fft.irfft2(sharp, s=fine)[..., ::scale, ::scale]
    return torch.fft.rfft2(correlation).real.clamp_min(0) + sigma.square()[:, None, None, None]
