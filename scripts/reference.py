"""What the benchmarks measure against: USRNet as published, in float32, written plainly."""

from __future__ import annotations

import statistics
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blindsr.ops.fourier import psf_to_otf
from blindsr.restorers.resunet import ResUNet


class PublishedDataStep:
    """USRNet's eq. 6 to 9 as they stand in the paper; arguments as for :class:`blindsr.ops.fourier.DataStep`."""

    def __init__(self, k: Tensor, scale: int, size: tuple[int, int], shift: float = 0.0):
        self.scale, self.size = scale, size
        self.otf = torch.fft.fft2(torch.fft.irfft2(psf_to_otf(k, size, shift), s=size))
        self.power = self._mean(self.otf.abs().square())

    def _mean(self, spectrum: Tensor) -> Tensor:
        """Over the s² aliases of every low-resolution frequency."""
        b, c, h, w = spectrum.shape
        s = self.scale
        return spectrum.view(b, c, s, h // s, s, w // s).mean((2, 4))

    def __call__(self, x: Tensor, y: Tensor, alpha: Tensor) -> Tensor:
        s = self.scale
        filled = torch.zeros_like(x)
        filled[..., ::s, ::s] = y
        d = self.otf.conj() * torch.fft.fft2(filled) + torch.fft.fft2(alpha * x)
        inside = self._mean(self.otf * d) / (self.power + alpha)
        return torch.fft.ifft2((d - self.otf.conj() * inside.repeat(1, 1, s, s)) / alpha).real


Call = tuple[nn.Module, torch.Size]


def conv_calls(prior: ResUNet, x: Tensor) -> list[Call]:
    """The convolutions of one pass over ``x`` (B, C, H, W), in order, with the shapes that they are given."""
    calls: list[Call] = []
    convs = [m for m in prior.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    hooks = [m.register_forward_hook(lambda m, a, _: calls.append((m, a[0].shape))) for m in convs]
    with torch.no_grad():
        prior(x)
    for hook in hooks:
        hook.remove()
    return calls


def conv_operations(calls: list[Call]) -> int:
    """Multiplications and additions of these convolutions."""
    total = 0
    for module, (b, channels, height, width) in calls:
        taps = module.weight[0, 0].numel() * channels * module.out_channels
        places = b * height * width
        if isinstance(module, nn.Conv2d):
            places //= module.stride[0] * module.stride[1]
        total += 2 * taps * places
    return total


def conv_share(prior: ResUNet, size: tuple[int, int, int], backward: bool) -> float:
    """Time of the prior's convolutions alone, each on the shapes it gets for an input of ``size`` (B, H, W), as a share
    of the whole prior's, in float32: a slow reference would prove nothing."""
    batch, height, width = size
    x = torch.randn(batch, prior.in_channels, height, width)
    calls = conv_calls(prior, x)
    inputs = [torch.randn(shape, requires_grad=backward and m is not prior.head) for m, shape in calls]

    def finish(y: Tensor) -> None:
        if backward:
            y.sum().backward()

    def alone() -> None:
        for (m, _), a in zip(calls, inputs):
            function = F.conv_transpose2d if isinstance(m, nn.ConvTranspose2d) else F.conv2d
            finish(function(a, m.weight, stride=m.stride, padding=m.padding))

    times: dict[str, list[float]] = {"alone": [], "whole": []}
    with torch.set_grad_enabled(backward):
        for _ in range(6):
            for name, run_one in (("alone", alone), ("whole", lambda: finish(prior(x)))):
                begun = time.perf_counter()
                run_one()
                times[name].append(time.perf_counter() - begun)
    return statistics.median(times["alone"][1:]) / statistics.median(times["whole"][1:])
