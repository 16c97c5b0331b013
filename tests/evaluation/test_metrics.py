import math

import pytest
import torch

from blindsr.evaluation.metrics import kernel_correlation, kernel_distance, psnr
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


def test_kernel_figures():
    k = torch.from_numpy(gaussian(25, 1.5))[None, None]
    moved = torch.roll(k, (2, -1), (-2, -1))
    assert float(kernel_distance(k, k)) == 0
    assert float(kernel_distance(0 * k, k)) == pytest.approx(1)
    assert float(kernel_correlation(moved, k)) == pytest.approx(1, abs=1e-6)
    assert float(kernel_distance(moved, k)) > 0.5
    assert kernel_width(moved[0, 0].numpy()) == pytest.approx(1.5, abs=1e-3)
    assert kernel_width(gaussian(25, 1.0, 2.0, 0.3)) == pytest.approx(math.sqrt(2.5), abs=1e-2)
