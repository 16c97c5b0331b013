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


def belief(k: torch.Tensor, noise: float = 0.0, error: float = 1e-7, spread: float = 1.0) -> dict[str, torch.Tensor]:
    """The same for all samples; as it stands, that x is the true picture and the kernel may be anything."""
    each = torch.ones(len(k), dtype=k.dtype)
    return {"noise": noise * each, "error": error * each, "spread": torch.full_like(k, spread)}


@pytest.mark.parametrize("grid", ["corner", "centre"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(7, 7), (5, 9)])
def test_the_true_picture_gives_the_true_kernel(scale, grid, size):
    x, true, wrong = random(2, 1, 84, 96), kernel(*size, seed=1), kernel(*size, seed=2)
    shift = grid_shift(grid, scale)
    y = decimate(blur(x, true, shift=shift), scale)
    change = kernel_least_squares(x, y, wrong, scale, **belief(true), shift=shift)
    torch.testing.assert_close(wrong + change, true, atol=1e-6, rtol=0)
    sure = kernel_least_squares(x, y, wrong, scale, **belief(true, error=1.0, spread=1e-14), shift=shift)
    assert sure.abs().max() < 1e-6, "where the kernel cannot be wrong nothing changes"


def test_it_is_the_most_probable_change():
    """Against a dense solution: a design matrix of blurred impulses, whitened in Fourier space."""
    x, k, y, scale = random(1, 1, 24, 30), kernel(5, 3, seed=3)[:1], random(1, 1, 12, 15, seed=4), 2
    spread = 0.01 * random(1, 1, 5, 3, seed=5)
    noise, error = torch.tensor([0.05]).double(), torch.tensor([0.2]).double()
    columns = []
    for i in range(15):
        impulse = torch.zeros(1, 1, 5, 3, dtype=torch.float64)
        impulse.view(-1)[i] = 1
        columns.append(decimate(blur(x, impulse), scale)[0, 0])
    design = torch.stack(columns)
    residual = (y - decimate(blur(x, k), scale))[0, 0]
    corner = x[..., ::2, ::2]
    power = 2 * (corner - corner.roll(1, -1)).square().mean()
    rows, cols = torch.fft.fftfreq(12).double()[:, None], torch.fft.fftfreq(15).double()
    gradient = 4 - 2 * torch.cos(2 * torch.pi * rows) - 2 * torch.cos(2 * torch.pi * cols)
    variance = (error * power + noise**2 * gradient) / gradient.clamp_min(1e-12)  # of every frequency
    white = torch.fft.fft2(design) / variance.sqrt() / (12 * 15) ** 0.5
    seen = torch.fft.fft2(residual) / variance.sqrt() / (12 * 15) ** 0.5
    normal = torch.einsum("iab,jab->ij", white.conj(), white).real + torch.diag(1 / spread.flatten())
    right = torch.einsum("iab,ab->i", white.conj(), seen).real
    change = kernel_least_squares(x, y, k, scale, noise, error, spread)
    torch.testing.assert_close(change.flatten(), torch.linalg.solve(normal, right), atol=1e-6, rtol=1e-4)


def test_a_window_is_not_circular():
    """Of a window cut from a larger photo the faded margin keeps the border from spoiling the answer."""
    x, true = random(1, 1, 160, 160), kernel(7, 7, seed=5)[:1]
    wrong = torch.full_like(true, 1 / 49)
    y = decimate(blur(x, true), 2)
    x, y = x[..., 20:140, 20:140], y[..., 10:70, 10:70]
    errors = [
        float((wrong + kernel_least_squares(x, y, wrong, 2, **belief(wrong, error=0.01), margin=m) - true).norm())
        for m in (0, 6)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_the_gradient_of_the_solution():
    a, b = random(2, 4, 4).requires_grad_(), random(2, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: solve(a @ a.transpose(1, 2) + torch.eye(4), b), (a, b))


def test_gradients_after_inference_at_the_same_sizes():
    x, y, k = random(1, 1, 22, 26), random(1, 1, 11, 13), kernel(5, 5, seed=0)[:1]
    with torch.inference_mode():
        kernel_least_squares(x, y, k, 2, **belief(k))
    x.requires_grad_()
    kernel_least_squares(x, y, k, 2, **belief(k)).sum().backward()
    assert x.grad.isfinite().all() and x.grad.any()


def test_kernel_larger_than_picture_is_refused():
    with pytest.raises(ValueError, match="larger than the image"):
        k = kernel(9, 9, seed=0)[:1]
        kernel_least_squares(random(1, 1, 8, 8), random(1, 1, 4, 4), k, 2, **belief(k))
    assert psf_to_otf(kernel(7, 7, seed=0), (8, 8)).shape == (2, 1, 8, 5)
