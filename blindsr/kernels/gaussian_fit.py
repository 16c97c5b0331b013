"""The Gaussian that a kernel nearly is."""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 40  # of Levenberg and Marquardt; a kernel that is nearly Gaussian takes about six
NARROWEST = 0.2  # pixels, the width at which the fit starts at least: narrower Gaussians hardly differ


def nearest_gaussian(k: Tensor) -> Tensor:
    """The centred Gaussian (B, 1, h, w) that is nearest to each kernel ``k`` (B, 1, h, w), sampled at whole pixels as by
    :func:`blindsr.kernels.gaussian.gaussian`, with sum 1.

    It is the g of ``min ‖k − A g‖``; its amplitude A takes up what noise has spread over the other taps. The logarithm of
    a Gaussian is linear in its inverse covariance θ, ``g = softmax(Φ θ)``: three numbers, found by damped Gauss–Newton
    steps (Marquardt, SIAM Journal 11, 1963) from the covariance of ``k``. On the CPU, wherever ``k`` lies: hundreds of
    small operations in float64 are no quicker on a GPU, and MPS has no float64.
    """
    batch, _, h, w = k.shape
    target = k.reshape(batch, h * w).cpu().double()
    y = torch.arange(h, dtype=torch.float64)[:, None] - h // 2
    x = torch.arange(w, dtype=torch.float64) - w // 2
    phi = torch.stack([(-x * x / 2).expand(h, w), -x * y, (-y * y / 2).expand(h, w)]).reshape(3, h * w)

    theta = _precision(target.clamp_min(0) @ phi.T)
    damping = theta.new_full((batch, 1), 1e-3)
    g = (theta @ phi).softmax(1)
    error = _missed(target, g).square().sum(1, keepdim=True)
    for _ in range(STEPS):
        slope = _amplitude(target, g)[:, None] * g[:, None] * (phi - (g @ phi.T)[:, :, None])  # (B, 3, h·w)
        normal = slope @ slope.mT
        scaled = normal + torch.diag_embed(damping * normal.diagonal(dim1=1, dim2=2) + 1e-12)
        step = torch.linalg.solve(scaled, slope @ _missed(target, g)[:, :, None])[..., 0]
        trial = ((theta + step) @ phi).softmax(1)
        less = _missed(target, trial).square().sum(1, keepdim=True)
        better = (less < error) & _falls(theta + step)
        theta, g = torch.where(better, theta + step, theta), torch.where(better, trial, g)
        error, damping = torch.where(better, less, error), torch.where(better, damping / 10, damping * 10)
        damping = damping.clamp(1e-9, 1e9)
    return g.to(k).view_as(k)


def _amplitude(target: Tensor, g: Tensor) -> Tensor:
    """The A (B, 1) that brings A g nearest to the target."""
    return (target * g).sum(1, keepdim=True) / g.square().sum(1, keepdim=True)


def _missed(target: Tensor, g: Tensor) -> Tensor:
    return target - _amplitude(target, g) * g


def _precision(moments: Tensor) -> Tensor:
    """θ (B, 3) of the Gaussian whose covariance is that of ``moments`` (B, 3), the means of Φ."""
    xx, xy, yy = -2 * moments[:, 0] + NARROWEST**2, -moments[:, 1], -2 * moments[:, 2] + NARROWEST**2
    return torch.stack([yy, -xy, xx], dim=1) / (xx * yy - xy * xy)[:, None]


def _falls(theta: Tensor) -> Tensor:
    """(B, 1): whether the Gaussian falls off in every direction."""
    a, b, c = theta.unbind(1)
    return ((a > 0) & (c > 0) & (a * c > b * b))[:, None]
