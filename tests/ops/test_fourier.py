"""The data step against a dense solve, and kernels in the Fourier domain."""

import numpy as np
import pytest
import torch

from blindsr.ops.filtering import blur
from blindsr.ops.fourier import DataStep, grid_shift, psf_to_otf
from blindsr.ops.resize import decimate


def random_kernel(h: int, w: int, seed: int = 0, batch: int = 1) -> torch.Tensor:
    k = torch.rand(batch, 1, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return k / k.sum((-2, -1), keepdim=True)


def random_image(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("alpha", [1e-5, 1e-2, 1.0])
@pytest.mark.parametrize("shift", [0.0, -1.5])
def test_data_step_is_the_minimiser(scale, alpha, shift):
    """The normal equations (KᵀSᵀSK + αI) z = KᵀSᵀy + αx, with the operators as dense matrices."""
    height, width = 12, 24
    k = random_kernel(5, 3)
    identity = torch.eye(height * width, dtype=torch.float64).view(-1, 1, height, width)
    operator = decimate(blur(identity, k, shift=shift), scale).flatten(1).T
    x, y = random_image(1, 1, height, width), random_image(1, 1, height // scale, width // scale, seed=2)
    matrix = operator.T @ operator + alpha * torch.eye(height * width, dtype=torch.float64)
    expected = torch.linalg.solve(matrix, operator.T @ y.flatten() + alpha * x.flatten())
    z = DataStep(k, scale, (height, width), shift)(x, y, torch.full((1, 1, 1, 1), alpha, dtype=torch.float64))
    torch.testing.assert_close(z.flatten(), expected, rtol=0, atol=1e-8)


def test_float32_stays_exact_for_tiny_alpha():
    """The published form loses 2e-4 here; the residual form does not."""
    k, x, y = random_kernel(25, 25), random_image(1, 3, 96, 64), random_image(1, 3, 24, 16, seed=2)
    alpha = torch.full((1, 1, 1, 1), 1e-5, dtype=torch.float64)
    exact = DataStep(k, 4, (96, 64))(x, y, alpha)
    single = DataStep(k.float(), 4, (96, 64))(x.float(), y.float(), alpha.float())
    assert (single - exact).norm() / exact.norm() < 2e-5


@pytest.mark.parametrize("size", [(31, 37), (32, 40)])
def test_scale_one_is_wiener(size):
    """At s = 1 and x = 0 the data step is the Wiener filter k̂* ŷ / (|k̂|² + α)."""
    k, y = random_kernel(7, 7), random_image(1, 1, *size)
    otf = psf_to_otf(k, size)
    expected = torch.fft.irfft2(otf.conj() * torch.fft.rfft2(y) / (otf.abs() ** 2 + 0.03), s=size)
    z = DataStep(k, 1, size)(torch.zeros_like(y), y, torch.full((1, 1, 1, 1), 0.03, dtype=torch.float64))
    torch.testing.assert_close(z, expected)


def test_grid_shift_samples_block_centres():
    """On the centre grid, blur + decimation of a ramp reads the middle of each s×s block."""
    ramp = torch.arange(64, dtype=torch.float64)
    smooth = torch.cos(2 * torch.pi * ramp / 64)  # periodic, so that the circular shift is exact
    x = smooth.expand(1, 1, 64, 64)
    dirac = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    dirac[..., 1, 1] = 1
    for scale in (2, 4):
        y = decimate(blur(x, dirac, shift=grid_shift("centre", scale)), scale)[0, 0, 0]
        expected = torch.cos(2 * torch.pi * (torch.arange(64 // scale).double() * scale + (scale - 1) / 2) / 64)
        torch.testing.assert_close(y, expected)


def test_kernel_larger_than_image_is_refused():
    with pytest.raises(ValueError, match="larger than the image"):
        psf_to_otf(random_kernel(25, 25), (20, 40))


def test_blur_is_true_convolution():
    """An impulse gives the kernel itself (torch.conv2d would give it flipped)."""
    x = torch.zeros(1, 1, 15, 17, dtype=torch.float64)
    x[..., 7, 8] = 1
    k = random_kernel(5, 3)
    torch.testing.assert_close(blur(x, k)[..., 5:10, 7:10], k)


def test_boundaries_agree_inside():
    from scipy.ndimage import convolve

    k, x = random_kernel(5, 7), random_image(1, 1, 20, 22)
    kernel, image = k[0, 0].numpy(), x[0, 0].numpy()
    for boundary, mode in (("circular", "wrap"), ("reflect", "mirror")):
        np.testing.assert_allclose(blur(x, k, boundary)[0, 0], convolve(image, kernel, mode=mode), atol=1e-12)
    torch.testing.assert_close(blur(x, k, "valid"), blur(x, k)[..., 2:-2, 3:-3])
