"""Is a photo out of focus?

The blur of a lens out of focus is an even disk. To the estimators, which have seen Gaussians and camera shake, it looks like a
Gaussian; but the spectrum of a disk has zeros, and of what a photo holds there a Gaussian makes waves all over the picture.

The zeros stand in the spectrum of the photo too, where decimation and noise left them, and tell the radius to a tenth of a
pixel. Photos without blur have much the same spectrum, a power law, so that blurred, decimated and noisy they are expected to
have the power

    P = C · S(|k̂|² / |∇̂|^2γ) + σ²                     S: the mean over the s² aliases of a frequency

and the more likely kernel is the one with the smaller mean of log P + |Y|²/P (Whittle, "The analysis of multiple stationary
time series", JRSS B 1953), where |Y|² is the mean over windows of the photo (Welch 1967), up to the frequency at which the
photo is lost in noise. The most likely disk is the answer where it is clearly more likely than any Gaussian. Of wide blur at
×1 the noise leaves too little of the spectrum. There waves tell, that is total variation, and the radius is the one whose
restoration, degraded again, gives the photo: where its zeros are not those of the photo, it does not by far.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from blindsr.inference.trial import Trial, each
from blindsr.kernels.disk_fit import STEP, all_disks, disks
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import LUMA_NOISE, luma
from blindsr.ops.fourier import gradient_power, psf_to_otf

# Chosen on photos held back from training (docs/experiments.md).
LIKELIER = 0.03  # by how much the mean must be less under a disk; under Gaussian blur it was by 0.013 at most
WAVES, NO_MORE = 2.3, 1.05  # times the disk's total variation: the Gaussian's at least; times the free kernel's: the disk's at most
NEAR = tuple(np.linspace(0.8, 1.2, 9).tolist())  # times the radius of the kernel that was found
DIP = 0.5  # times the misfit at both ends of these radii, that of the best one at most
DOUBT = 0.1  # of a disk that was found

WINDOW = 48  # low-resolution pixels a side
SMALLEST_PHOTO = 72  # the same: four windows say enough, one does not
LEAST_SIGMA = 0.05 / 255  # a spectrum has no zeros
LOWEST = 2.5  # periods in a window: below, windows bend the spectrum
ABOVE = 3.0  # times the noise: a ring of frequencies with so much power counts, and all below it
NARROWEST = 0.4  # width of a Gaussian, in pixels of the result
SLOPES = 1.0, 1.3  # γ
CONTRASTS = np.logspace(-3, 1.5, 19)  # C, beside the median of what the frequencies ask for


def out_of_focus(
    trial: Trial, middle: Trial, kernel: Tensor, radius: Tensor, nearest: Tensor, free: Tensor, smooth: Tensor
) -> tuple[Tensor, Tensor]:
    """A disk (B, 1, h, h) for each photo, and whether it is to be taken (B,) in place of the round ``kernel`` that was found,
    to which a disk of this ``radius`` (B,) and this Gaussian are ``nearest``. ``free`` and ``smooth`` (B,) are the total
    variation of the ``middle`` of the photo under the kernel and under the Gaussian."""
    likely, likelier = _by_spectrum(trial, kernel, nearest)
    if likelier.all():
        return likely, likelier
    clear, clearer = _by_waves(middle, kernel, radius, free, smooth)
    return torch.where(each(likelier), likely, clear), likelier | clearer


def _by_spectrum(trial: Trial, kernel: Tensor, nearest: Tensor) -> tuple[Tensor, Tensor]:
    """The most likely disks, and whether each is clearly more likely than any Gaussian."""
    y = luma(trial.photo()).cpu().double()
    if min(y.shape[-2:]) < SMALLEST_PHOTO or kernel.shape[-1] > WINDOW * trial.scale:
        return kernel, torch.zeros(len(y), dtype=torch.bool, device=kernel.device)
    known, powers = _family("disk", kernel.shape[-1], trial.scale)
    _, others = _family("gaussian", kernel.shape[-1], trial.scale)
    beside = _powers(nearest.cpu().double(), trial.scale)
    chosen, likelier = [], []
    for power, sigma, own in zip(_periodogram(y), (LUMA_NOISE * trial.sigma).tolist(), beside):
        means = _means(power, sigma, powers)
        chosen.append(int(means.argmin()))
        likelier.append(bool(_means(power, sigma, torch.cat([others, own[None]])).min() - means.min() > LIKELIER))
    return known[chosen].to(kernel), torch.tensor(likelier, device=kernel.device)


def _by_waves(middle: Trial, kernel: Tensor, radius: Tensor, free: Tensor, smooth: Tensor) -> tuple[Tensor, Tensor]:
    """The disks of about that ``radius`` that explain the photo best, and whether each does so by far, and without waves."""
    size = kernel.shape[-1]
    taken = smooth > WAVES * middle.tried(disks(radius, size)).variation
    if not taken.any():
        return kernel, taken
    tries = [middle.tried(disks(radius * factor, size)) for factor in NEAR]
    variation, misfit = (torch.stack(values) for values in zip(*tries))
    least, at = misfit[1:-1].min(0)
    own = variation[1:-1].gather(0, at[None])[0]
    taken = (smooth > WAVES * own) & (own <= NO_MORE * free) & (least < DIP * torch.minimum(misfit[0], misfit[-1]))
    # Between the tries: the lowest point of the parabola through the logarithms of three.
    low, here, high = (misfit.clamp_min(1e-9).log().gather(0, at[None] + n)[0] for n in range(3))
    beside = 0.5 * (low - high) / (low + high - 2 * here).clamp_min(1e-6)
    return disks(radius * (NEAR[1] + (at + beside.clamp(-0.5, 0.5)) * (NEAR[1] - NEAR[0])), size), taken


def _means(power: Tensor, sigma: float, models: Tensor) -> Tensor:
    """The mean of log P + |Y|²/P under each of ``models`` (K, γ, rows, cols), with the best C and γ, (K,); ``power`` (rows,
    cols) is |Y|², ``sigma`` the noise level of the same brightness."""
    used = _usable(power, sigma)
    p, q, floor = power[used], models[..., used], max(sigma, LEAST_SIGMA) ** 2
    c = (p / (q + 1e-12)).median(-1, keepdim=True).values
    least = torch.full(models.shape[:2], torch.inf, dtype=p.dtype)
    for factor in CONTRASTS:
        expected = factor * c * q + floor
        least = torch.minimum(least, (expected.log() + p / expected).mean(-1))
    return least.amin(-1)


def _usable(power: Tensor, sigma: float) -> Tensor:
    """Which frequencies count: neither the lowest, nor those on the axes, where straight edges stand, nor any above the last
    ring that is clear of the noise."""
    rows, cols = torch.fft.fftfreq(WINDOW)[:, None] * WINDOW, torch.fft.rfftfreq(WINDOW) * WINDOW
    radius = torch.hypot(rows, cols.expand(WINDOW, -1))
    ring = radius.round().long().flatten()
    clear = torch.bincount(ring, power.flatten()) / torch.bincount(ring).clamp_min(1) > ABOVE * sigma**2
    last = max(int(clear.nonzero().max()) if clear.any() else 0, WINDOW // 8)
    return (radius > LOWEST) & (radius <= last) & (rows.abs() > 0.5) & (cols > 0.5)


def _periodogram(y: Tensor) -> Tensor:
    """The mean power (B, WINDOW, WINDOW//2+1) of half-overlapping windows of ``y`` (B, 1, H, W); that of white noise is its
    variance."""
    taper = torch.hann_window(WINDOW + 2, periodic=False, dtype=y.dtype)[1:-1]
    taper = taper[:, None] * taper
    taper = taper / taper.square().mean().sqrt()
    windows = y[:, 0].unfold(1, WINDOW, WINDOW // 2).unfold(2, WINDOW, WINDOW // 2).flatten(1, 2)
    total = torch.zeros(len(y), WINDOW, WINDOW // 2 + 1, dtype=y.dtype)
    for some in windows.split(256, 1):
        some = some - (some * taper).sum((-2, -1), keepdim=True) / taper.sum()
        total += torch.fft.rfft2(some * taper).abs().square().sum(1)
    return total / (windows.shape[1] * WINDOW**2)


def _powers(kernels: Tensor, scale: int) -> Tensor:
    """What P is made of, but for C and σ²: S(|k̂|² / |∇̂|^2γ) of ``kernels`` (K, 1, h, w), (K, γ, WINDOW, WINDOW//2+1)."""
    side = WINDOW * scale
    gradient = gradient_power((side, side), kernels)
    gradient[0, 0] = torch.inf  # means do not count
    blurred = psf_to_otf(kernels, (side, side)).abs().square()
    sharp = torch.stack([gradient**-slope for slope in SLOPES])
    correlation = torch.fft.irfft2(blurred * sharp, s=(side, side))[..., ::scale, ::scale]
    return torch.fft.rfft2(correlation).real.clamp_min(0)


@cache
def _family(kind: str, size: int, scale: int) -> tuple[Tensor, Tensor]:
    """Disks or isotropic Gaussians (K, 1, size, size), and their :func:`_powers`."""
    if kind == "disk":
        kernels = all_disks(size)[1]
    else:
        widths = np.arange(NARROWEST, size / 6, STEP)
        kernels = torch.from_numpy(np.stack([gaussian(size, width) for width in widths]))[:, None]
    return kernels, _powers(kernels, scale)
