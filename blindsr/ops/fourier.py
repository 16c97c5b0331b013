"""Kernels in the Fourier domain, and the closed-form data step of deep unfolding.

All transforms are real-to-complex (`torch.fft.rfft2`) and stay in the precision of their input,
at least float32: half precision is hopeless here.
"""

from __future__ import annotations

import torch
from torch import Tensor


def psf_to_otf(k: Tensor, size: tuple[int, int], shift: float = 0.0) -> Tensor:
    """Optical transfer function of a kernel on an image of ``size`` (H, W).

    ``k`` is (B, 1, h, w) with its centre at (h//2, w//2) and h ≤ H, w ≤ W; the result is its half
    spectrum (B, 1, H, W//2+1), complex. ``shift`` moves the kernel by that many pixels down and right
    (fractions too, as a phase); see :func:`grid_shift`.

    Raises ValueError when the kernel is larger than the image.
    """
    h, w = k.shape[-2:]
    height, width = size
    if h > height or w > width:
        raise ValueError(f"kernel {h}×{w} is larger than the image {height}×{width}")
    padded = k.new_zeros(*k.shape[:-2], height, width)
    padded[..., :h, :w] = k
    otf = torch.fft.rfft2(torch.roll(padded, (-(h // 2), -(w // 2)), (-2, -1)))
    if shift:
        otf = otf * _phase(height, width, shift, k)
    return otf


def _phase(height: int, width: int, shift: float, like: Tensor) -> Tensor:
    """Spectrum (H, W//2+1) of a circular shift by ``shift`` pixels down and right."""
    rows = torch.fft.fftfreq(height, dtype=like.dtype, device=like.device)
    cols = torch.fft.rfftfreq(width, dtype=like.dtype, device=like.device)

    def factor(frequency: Tensor) -> Tensor:
        angle = -2 * torch.pi * frequency * shift
        # At the Nyquist frequency only the cosine belongs to a real signal.
        sine = torch.where(frequency.abs() == 0.5, torch.zeros_like(angle), angle.sin())
        return torch.complex(angle.cos(), sine)

    return factor(rows)[:, None] * factor(cols)[None, :]


def gradient_power(size: tuple[int, int], like: Tensor) -> Tensor:
    """|∇̂|², the half spectrum (H, W//2+1) of what differences of neighbours, across and down, leave of the power of a
    picture of ``size`` (H, W); device and precision as ``like``."""
    rows = torch.fft.fftfreq(size[0], dtype=like.dtype, device=like.device)
    cols = torch.fft.rfftfreq(size[1], dtype=like.dtype, device=like.device)
    return 4 * ((torch.pi * rows).sin().square()[:, None] + (torch.pi * cols).sin().square())


def move(x: Tensor, shift: float) -> Tensor:
    """``x`` (…, H, W) moved circularly by ``shift`` pixels down and right, fractions too."""
    size = (x.shape[-2], x.shape[-1])
    return torch.fft.irfft2(torch.fft.rfft2(x) * _phase(*size, shift, x), s=size)


def grid_shift(grid: str, scale: int) -> float:
    """High-resolution pixels by which a kernel moves to serve ``grid`` in a corner-grid model.

    On the centre grid low-resolution pixel ``i`` lies at ``i·s + (s−1)/2``; decimation keeps ``i·s``,
    so the blur must fetch its value from (s−1)/2 pixels further on: a convolution kernel moved by
    −(s−1)/2.
    """
    return -(scale - 1) / 2 if grid == "centre" else 0.0


class DataStep:
    """The minimiser over z of ``‖y − S K z‖² + alpha ‖z − x‖²`` (Zhang et al., "Deep Unfolding Network
    for Image Super-Resolution", CVPR 2020, eq. 6–9), in residual form.

    K blurs circularly by ``k``, S keeps the upper-left pixel of every s×s block. By the Woodbury
    identity::

        z = x + (SK)ᵀ (alpha I + S K Kᵀ Sᵀ)⁻¹ (y − S K x)

    ``S K Kᵀ Sᵀ`` is diagonal in the low-resolution Fourier domain; its eigenvalues are the mean of
    |k̂|² over the s² aliases, that is, the spectrum of the decimated autocorrelation of the kernel.
    The published form divides a difference of two nearly equal spectra by alpha; this one does not,
    and keeps float32 accuracy for any alpha.

    Everything that depends on the kernel, the scale and the size alone is computed once, here.
    """

    def __init__(self, k: Tensor, scale: int, size: tuple[int, int], shift: float = 0.0):
        """``k`` (B, 1, h, w); ``size`` is that of the high-resolution image, a multiple of ``scale``."""
        self.scale, self.size = scale, size
        self.otf = psf_to_otf(k, size, shift)
        power = torch.fft.irfft2(self.otf.abs().square(), s=size)
        self.eigenvalues = torch.fft.fft2(power[..., ::scale, ::scale]).real

    def __call__(self, x: Tensor, y: Tensor, alpha: Tensor) -> Tensor:
        """``x`` (B, C, s·H, s·W), ``y`` (B, C, H, W), ``alpha`` broadcastable to (B, 1, 1, 1), positive."""
        s, width = self.scale, self.size[1]
        blurred = torch.fft.irfft2(self.otf * torch.fft.rfft2(x), s=self.size)
        residual = torch.fft.fft2(y - blurred[..., ::s, ::s]) / (self.eigenvalues + alpha)
        # Zero-filling repeats the spectrum; only its first half is needed.
        columns = width // 2 + 1
        spectrum = residual.repeat(1, 1, s, (columns + width // s - 1) // (width // s))[..., :columns]
        return x + torch.fft.irfft2(self.otf.conj() * spectrum, s=self.size)
