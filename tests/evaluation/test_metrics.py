import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from blindsr.evaluation.metrics import kernel_correlation, luma_bt601, psnr, shifted_psnr, ssim
from blindsr.interfaces import BlindSRError
from blindsr.kernels.distance import kernel_distance
from blindsr.kernels.gaussian import gaussian
from blindsr.kernels.width import kernel_width


def test_psnr_of_a_known_error():
    x = torch.full((2, 3, 20, 20), 0.5)
    y = x + torch.tensor([0.1, 0.01])[:, None, None, None]
    assert psnr(y, x).tolist() == pytest.approx([20, 40], abs=1e-3)


def test_border_is_left_out():
    x = torch.zeros(1, 3, 20, 20)
    y = x.clone()
    y[..., :4, :] = 1
    y[..., 10, 10] = 0.5
    assert float(psnr(y, x, border=4)) == pytest.approx(-10 * math.log10(0.25 / 144), abs=1e-4)


def test_a_shift_is_forgiven_up_to_its_reach():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 3, 60, 80, generator=generator)
    y = (x + 0.05 * torch.randn(x.shape, generator=generator)).double()
    moved = y.roll((3, -5), (-2, -1))
    assert float(shifted_psnr(moved, x.double(), 6, 4)) == pytest.approx(float(psnr(y, x.double(), 9)), abs=1e-9)
    assert float(shifted_psnr(y, x.double(), 6, 4)) == float(psnr(y, x.double(), 4))
    assert float(shifted_psnr(moved, x.double(), 4, 4)) < 12  # as far as chance goes


def ssim_by_scipy(x, y):
    """One channel (H, W), from the formula."""

    def local(values):
        return gaussian_filter(values, 1.5, radius=5)[5:-5, 5:-5]

    mx, my = local(x), local(y)
    vx, vy, cov = local(x * x) - mx**2, local(y * y) - my**2, local(x * y) - mx * my
    return np.mean((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))


def test_ssim_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    x = gaussian_filter(rng.random((2, 3, 31, 40)), (0, 0, 2, 2))
    y = np.clip(x + rng.normal(0, 0.02, x.shape), 0, 1)
    inside = np.s_[..., 3:-3, 3:-3]
    expected = [np.mean([ssim_by_scipy(a, b) for a, b in zip(*pair)]) for pair in zip(x[inside], y[inside])]
    assert ssim(torch.from_numpy(x), torch.from_numpy(y), 3).tolist() == pytest.approx(expected, abs=1e-9)
    single = ssim(torch.from_numpy(x).float(), torch.from_numpy(y).float(), 3)
    assert single.dtype == torch.float32 and single.tolist() == pytest.approx(expected, abs=1e-5)


def test_ssim_of_equal_and_of_flat_pictures():
    x = torch.rand(1, 3, 11, 11, generator=torch.Generator().manual_seed(0))
    assert float(ssim(x, x)) == pytest.approx(1)
    dark, bright = torch.full((1, 1, 20, 20), 0.2), torch.full((1, 1, 20, 20), 0.6)
    assert float(ssim(dark, bright)) == pytest.approx((2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4), abs=1e-6)
    with pytest.raises(BlindSRError, match="at least 11 pixels"):
        ssim(x, x, border=1)


def test_luma_has_the_range_of_video():
    corners = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])[:, :, None, None].float()
    assert (255 * luma_bt601(corners)).flatten().tolist() == pytest.approx([16, 235, 81.481, 144.553, 40.966])
    x = torch.full((1, 3, 4, 4), 0.5)
    assert float(psnr(luma_bt601(x + 0.1), luma_bt601(x))) == pytest.approx(20 + 20 * math.log10(255 / 219), abs=1e-4)


def test_kernel_figures():
    k = torch.from_numpy(gaussian(25, 1.5))[None, None]
    moved = torch.roll(k, (2, -1), (-2, -1))
    assert float(kernel_distance(k, k)) == 0
    assert float(kernel_distance(0 * k, k)) == pytest.approx(1)
    assert float(kernel_correlation(moved, k)) == pytest.approx(1, abs=1e-6)
    assert float(kernel_distance(moved, k)) > 0.5
    assert float(kernel_distance(k[..., 2:-2, 2:-2], k)) < 1e-4 > float(kernel_distance(k, k[..., 2:-2, 2:-2]))
    assert kernel_width(moved[0, 0].numpy()) == pytest.approx(1.5, abs=1e-3)
    assert kernel_width(gaussian(25, 1.0, 2.0, 0.3)) == pytest.approx(math.sqrt(2.5), abs=1e-2)
