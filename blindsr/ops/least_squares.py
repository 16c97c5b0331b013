"""The kernel that explains a low-resolution photo, when a sharp version of it is at hand: linear least squares.

With the phases x_b(n) = x(s·n − b) of the sharp picture and those of the kernel, k_b(m) = k(s·m + b), blur and
decimation are a sum of s² convolutions on the low-resolution grid, y = Σ_b k_b ⊗ x_b. Its normal equations hold
the correlations of the phases, which the FFT gives; aliasing is part of the model, not noise.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from blindsr.ops.filtering import NO_MARGIN, Margin, sides
from blindsr.ops.fourier import gradient_power, move, psf_to_otf


def kernel_least_squares(
    x: Tensor,
    y: Tensor,
    k: Tensor,
    scale: int,
    noise: Tensor,
    error: Tensor,
    spread: Tensor,
    shift: float = 0.0,
    margin: int | Margin = 0,
) -> Tensor:
    """How the kernel ``k`` should change for ``x`` to explain ``y``: (B, 1, h, w), like ``k``.

    ``x`` (B, 1, s·H, s·W), ``y`` (B, 1, H, W). The answer is the most probable Δ in  y = S (K + Δ) x + n  when

    * Δ has independent normal values with the variances ``spread`` (B, 1, h, w);
    * n has white noise of standard deviation ``noise`` (B,) and, because x is not quite right either, an error with
      the spectrum of a natural picture, whose gradients have the share ``error`` (B,) of the power of those of x.

    That is least squares, whitened by both and damped by the first. Without noise the residuals count by their
    gradients, as in Cho & Lee, "Fast Motion Deblurring" (SIGGRAPH Asia 2009). Circular; of a window cut from a
    photo the outer ``margin`` of y is faded out. ``shift`` moves the kernel, as everywhere.
    Differentiable in everything.

    It is evidence for an estimator, not an estimate: an x that was restored with ``k`` explains y well,
    whatever the true kernel is, and Δ is then near 0.
    """
    height, width = y.shape[-2:]
    h, w = k.shape[-2:]
    if shift:
        x = move(x, shift)
    size = (x.shape[-2], x.shape[-1])
    residual = y - torch.fft.irfft2(psf_to_otf(k, size) * torch.fft.rfft2(x), s=size)[..., ::scale, ::scale]
    phases = torch.cat(
        [torch.roll(x, (a, b), (-2, -1))[..., ::scale, ::scale] for a in range(scale) for b in range(scale)], dim=1
    )
    if sides(margin) != NO_MARGIN:
        vertical, horizontal = sides(margin)
        fade = fading(height, vertical, y)[:, None] * fading(width, horizontal, y)
        residual, phases = residual * fade, (phases - phases.mean((-2, -1), keepdim=True)) * fade
    gradient = gradient_power((height, width), y)
    power = (phases[:, :1] - torch.roll(phases[:, :1], 1, -1)).square().mean((-2, -1), keepdim=True) * 2
    whiten = gradient / (error[:, None, None, None] * power + noise[:, None, None, None] ** 2 * gradient + 1e-8)
    spectra = torch.fft.rfft2(phases)
    seen = torch.fft.irfft2(spectra.conj() * torch.fft.rfft2(residual) * whiten, s=(height, width))
    crossed = spectra.conj()[:, :, None] * (spectra * whiten)[:, None]
    correlations = torch.fft.irfft2(crossed, s=(height, width))
    right, left = (i.to(y.device) for i in places(h, w, scale, height, width))
    b = seen.flatten(1)[:, right]
    a = correlations.flatten(1)[:, left].view(len(x), h * w, h * w)
    # In units of the spread the matrix is well-conditioned: one plus what was seen.
    unit = spread.flatten(1).sqrt()
    a = a * unit[:, :, None] * unit[:, None, :] + torch.eye(h * w, dtype=y.dtype, device=y.device)
    return (solve(a, b * unit) * unit).view(-1, 1, h, w)


def likely(kernel: Tensor) -> Tensor:
    """Variances (B, 1, h, w) of the change that a completely doubtful ``kernel`` may need: half of its energy near
    where it is now, half anywhere."""
    near = F.avg_pool2d(kernel, 5, stride=1, padding=2)
    energy = kernel.square().sum((-2, -1), keepdim=True)
    return energy * (0.5 * near / near.sum((-2, -1), keepdim=True) + 0.5 / kernel[0].numel())


def non_negative(kernel: Tensor, least: float = 0.0) -> Tensor:
    """(B, 1, h, w) without negative taps, and without those below the share ``least`` of the largest; sum 1."""
    kernel = kernel.clamp_min(0)
    kernel = kernel * (kernel >= least * kernel.amax((-2, -1), keepdim=True))
    return kernel / kernel.sum((-2, -1), keepdim=True)


def solve(a: Tensor, b: Tensor) -> Tensor:
    """The solution (B, n) of a z = b for symmetric positive ``a`` (B, n, n), with a gradient that costs another
    solve instead of the far dearer one of a Cholesky factor."""
    with torch.no_grad():
        factor = torch.linalg.cholesky_ex(a).L  # of what is not finite it makes NaN, which others watch for
        z = torch.cholesky_solve(b[..., None], factor)
    # The correction is zero but for rounding; its derivative, a⁻¹(db − da z), is that of the solution.
    return (z + torch.cholesky_solve(b[..., None] - a @ z, factor))[..., 0]


def fading(length: int, ends: tuple[int, int], like: Tensor) -> Tensor:
    """One inside, falling to zero as a cosine over so many pixels at either end: (length,)."""
    at = torch.arange(length, dtype=like.dtype, device=like.device) + 0.5
    first, last = (max(end, 0.5) for end in ends)  # half a pixel is none
    return 0.5 - 0.5 * torch.cos(torch.pi * torch.minimum(at / first, (length - at) / last).clamp(0, 1))


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # gradients may be asked for later, at the same sizes
def places(h: int, w: int, scale: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where the right side (h·w) and the matrix (h·w · h·w) of the normal equations stand among the correlations."""
    rows, cols = torch.arange(h) - h // 2, torch.arange(w) - w // 2
    phase = (rows % scale)[:, None] * scale + cols % scale
    m = torch.div(rows, scale, rounding_mode="floor")[:, None].expand(h, w).flatten()
    n = torch.div(cols, scale, rounding_mode="floor")[None].expand(h, w).flatten()
    phase = phase.flatten()
    right = (phase * height + m % height) * width + n % width
    lag = ((m[:, None] - m) % height) * width + (n[:, None] - n) % width
    left = (phase[:, None] * scale**2 + phase) * (height * width) + lag
    return right, left.flatten()
