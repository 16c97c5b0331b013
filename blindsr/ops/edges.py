"""Edges of a picture without what lies between them."""

from __future__ import annotations

import torch
from torch import Tensor

from blindsr.ops.fourier import gradient_power, psf_to_otf

STIFFEST = 100.0  # coupling at which gradients and picture agree


def l0_smooth(x: Tensor, strength: float, k: Tensor | None = None) -> Tensor:
    """``x`` (…, H, W) with few gradients: the strong edges stay, and get steeper; texture, noise and ringing go.

    Minimises  ‖s − x‖² + strength · #{pixels whose gradient is not zero}  by half-quadratic splitting, circularly (Xu,
    Lu, Xu, Jia, "Image smoothing via L0 gradient minimization", SIGGRAPH Asia 2011). ``strength`` is a squared
    contrast: 0.004 drops steps below 0.06. Where ``x`` (B, 1, H, W) is blurred by ``k`` (B, 1, h, w), s is the picture
    before that: ‖k ⊗ s − x‖² then.
    """
    size = (x.shape[-2], x.shape[-1])
    stiffness = gradient_power(size, x)
    spectrum, power, s, coupling = torch.fft.rfft2(x), 1.0, x, 2 * strength
    if k is not None:
        otf = psf_to_otf(k, size)
        spectrum, power = otf.conj() * spectrum, otf.abs().square()
    while coupling < STIFFEST:
        across, down = torch.roll(s, -1, -1) - s, torch.roll(s, -1, -2) - s
        kept = across.square() + down.square() > strength / coupling
        across, down = across * kept, down * kept
        divergence = torch.roll(across, 1, -1) - across + torch.roll(down, 1, -2) - down
        s = torch.fft.irfft2((spectrum + coupling * torch.fft.rfft2(divergence)) / (power + coupling * stiffness), s=size)
        coupling *= 2
    return s
