"""Edges of a picture without what lies between them."""

from __future__ import annotations

import torch
from torch import Tensor

STIFFEST = 100.0  # coupling at which gradients and picture agree


def l0_smooth(x: Tensor, strength: float) -> Tensor:
    """``x`` (…, H, W) with few gradients: the strong edges stay, and get steeper; texture, noise and ringing go.

    Minimises  ‖s − x‖² + strength · #{pixels whose gradient is not zero}  by half-quadratic splitting, circularly (Xu,
    Lu, Xu, Jia, "Image smoothing via L0 gradient minimization", SIGGRAPH Asia 2011). ``strength`` is a squared
    contrast: 0.004 drops steps below 0.06.
    """
    size = (x.shape[-2], x.shape[-1])
    rows, cols = (torch.fft.fftfreq(n, dtype=x.dtype, device=x.device) for n in size)
    cols = cols[: size[1] // 2 + 1]
    stiffness = (2 - 2 * torch.cos(2 * torch.pi * rows))[:, None] + (2 - 2 * torch.cos(2 * torch.pi * cols))
    spectrum, s, coupling = torch.fft.rfft2(x), x, 2 * strength
    while coupling < STIFFEST:
        across, down = torch.roll(s, -1, -1) - s, torch.roll(s, -1, -2) - s
        kept = across.square() + down.square() > strength / coupling
        across, down = across * kept, down * kept
        divergence = torch.roll(across, 1, -1) - across + torch.roll(down, 1, -2) - down
        s = torch.fft.irfft2((spectrum + coupling * torch.fft.rfft2(divergence)) / (1 + coupling * stiffness), s=size)
        coupling *= 2
    return s
