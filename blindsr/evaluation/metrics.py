"""Figures of merit for pictures and for kernels. Data range 1 unless stated."""

from __future__ import annotations

import torch
from torch import Tensor


def psnr(x: Tensor, reference: Tensor, border: int = 0) -> Tensor:
    """Peak signal-to-noise ratio in dB over all channels, (B,), inside a ``border`` of that many pixels.

    Both (B, C, H, W) in [0, 1]; nothing is clipped or rounded here, the protocol does that.
    """
    if border:
        x, reference = (t[..., border:-border, border:-border] for t in (x, reference))
    return -10 * (x - reference).square().mean((1, 2, 3)).log10()


def kernel_distance(k: Tensor, reference: Tensor) -> Tensor:
    """Relative error ‖k − k*‖₂ / ‖k*‖₂ of kernels (B, 1, h, w): (B,). Not aligned: a shift counts."""
    return (k - reference).flatten(1).norm(dim=1) / reference.flatten(1).norm(dim=1)


def kernel_correlation(k: Tensor, reference: Tensor) -> Tensor:
    """Largest normalised cross-correlation over all whole-pixel shifts, (B,) in [0, 1] (Hu & Yang, ECCV 2012)."""
    size = (2 * k.shape[-2], 2 * k.shape[-1])
    crossed = torch.fft.irfft2(torch.fft.rfft2(k, s=size).conj() * torch.fft.rfft2(reference, s=size), s=size)
    return crossed.flatten(1).amax(1) / (k.flatten(1).norm(dim=1) * reference.flatten(1).norm(dim=1))
