"""Least squares for the kernel: exact where the sharp picture is known, and differentiable."""

import pytest
import torch

from blindsr.ops.filtering import blur
from blindsr.ops.fourier import grid_shift, psf_to_otf
from blindsr.ops.least_squares import kernel_least_squares, solve
from blindsr.ops.resize import decimate


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def kernel(h: int, w: int, seed: int) -> torch.Tensor:
    k = random(2, 1, h, w, seed=seed)
    return k / k.sum((-2, -1), keepdim=True)


@pytest.mark.parametrize("grid", ["corner", "centre"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(7, 7), (5, 9)])
def test_the_true_picture_gives_the_true_kernel(scale, grid, size):
    x, true, wrong = random(2, 1, 84, 96), kernel(*size, seed=1), kernel(*size, seed=2)
    shift = grid_shift(grid, scale)
    y = decimate(blur(x, true, shift=shift), scale)
    change = kernel_least_squares(x, y, wrong, scale, shift, dampings=(1e-10, 1e6))
    torch.testing.assert_close(wrong + change[:, :1], true, atol=1e-6, rtol=0)
    assert change[:, 1].abs().max() < 1e-6  # damped away


def test_equals_the_dense_normal_equations():
    """With damping, against a matrix that is built by blurring with one impulse after another."""
    x, k, y, scale = random(1, 1, 24, 30), kernel(5, 3, seed=3)[:1], random(1, 1, 12, 15, seed=4), 2

    def gradients(picture: torch.Tensor) -> torch.Tensor:
        return torch.cat([(picture - picture.roll(1, d)).flatten() for d in (-2, -1)])

    columns = []
    for i in range(15):
        impulse = torch.zeros(1, 1, 5, 3, dtype=torch.float64)
        impulse.view(-1)[i] = 1
        columns.append(gradients(decimate(blur(x, impulse), scale)))
    design = torch.stack(columns, dim=1)
    residual = gradients(y - decimate(blur(x, k), scale))
    normal = design.T @ design
    expected = torch.linalg.solve(normal + 0.1 * normal.diagonal().mean() * torch.eye(15), design.T @ residual)
    change = kernel_least_squares(x, y, k, scale, dampings=(0.1,))
    torch.testing.assert_close(change.flatten(), expected, atol=1e-6, rtol=1e-5)


def test_a_window_is_not_circular():
    """Of a window cut from a larger photo the faded margin keeps the border from spoiling the answer."""
    x, true = random(1, 1, 160, 160), kernel(7, 7, seed=5)[:1]
    wrong = torch.full_like(true, 1 / 49)
    y = decimate(blur(x, true), 2)
    x, y = x[..., 20:140, 20:140], y[..., 10:70, 10:70]
    errors = [
        float((wrong + kernel_least_squares(x, y, wrong, 2, dampings=(0.001,), margin=m) - true).norm()) for m in (0, 6)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_the_gradient_of_the_solution():
    a, b = random(2, 4, 4).requires_grad_(), random(2, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: solve(a @ a.transpose(1, 2) + torch.eye(4), b), (a, b))


def test_kernel_larger_than_picture_is_refused():
    with pytest.raises(ValueError, match="larger than the image"):
        kernel_least_squares(random(1, 1, 8, 8), random(1, 1, 4, 4), kernel(9, 9, seed=0)[:1], 2)
    assert psf_to_otf(kernel(7, 7, seed=0), (8, 8)).shape == (2, 1, 8, 5)
