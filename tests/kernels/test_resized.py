"""Gaussians that hold the filter of a resize."""

import pytest
import torch

from blindsr.kernels.bicubic import bicubic_kernel
from blindsr.kernels.distance import kernel_distance
from blindsr.kernels.gaussian import gaussian
from blindsr.kernels.gaussian_fit import nearest_gaussian
from blindsr.kernels.resized import resized
from blindsr.ops.filtering import blur
from blindsr.ops.fourier import grid_shift, move

BLURS = [(0.6, 0.6, 0.0), (1.0, 1.0, 0.0), (2.0, 1.0, 0.5), (2.0, 1.0, 2.2), (3.0, 1.5, 1.2)]


def reduction(scale: int) -> torch.Tensor:
    return move(torch.from_numpy(bicubic_kernel(scale))[None, None], -grid_shift("centre", scale))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_blur_and_reduction_are_told_from_the_gaussian_that_looks_like_them(scale: int) -> None:
    first = torch.stack([torch.from_numpy(gaussian(25, *widths))[None] for widths in BLURS])
    both = blur(reduction(scale).expand(len(BLURS), -1, -1, -1), first)
    looks = nearest_gaussian(both.clamp_min(0))
    found = resized(looks, scale)
    assert (kernel_distance(looks, both) > 0.02).all() and (kernel_distance(found, both) < 2e-3).all()
    assert torch.allclose(found.sum((1, 2, 3)), torch.ones(len(BLURS), dtype=found.dtype))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("width", [0.3, 0.8])
def test_what_is_sharper_than_a_reduction_is_one(scale: int, width: float) -> None:
    found = resized(torch.from_numpy(gaussian(25, width * scale / 2))[None, None].float(), scale)
    assert found.dtype == torch.float32
    assert float(kernel_distance(found.double(), reduction(scale))) < 0.02


@pytest.mark.parametrize("size", [21, 31])
def test_kernels_of_any_size(size: int) -> None:
    found = resized(torch.from_numpy(gaussian(size, 1.8))[None, None], 2)
    middle = slice((size - 21) // 2, (size - 21) // 2 + 21)
    expected = resized(torch.from_numpy(gaussian(25, 1.8))[None, None], 2)[..., 2:-2, 2:-2]
    torch.testing.assert_close(found[..., middle, middle], expected, atol=1e-3, rtol=0)
