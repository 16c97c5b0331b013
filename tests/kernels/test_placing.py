"""Kernels moved to where kernels usually are."""

import numpy as np
import pytest
import torch

from blindsr.kernels.gaussian import gaussian
from blindsr.kernels.motion import MotionKernels, MotionKernelsConfig
from blindsr.kernels.placing import on_box, on_centroid


def drawn(centre: str) -> torch.Tensor:
    config = MotionKernelsConfig(size=25, extent=(0.1, 0.3), centre=centre)
    return torch.from_numpy(MotionKernels(config).sample(20, np.random.default_rng(0)))[:, None]


@pytest.mark.parametrize("place, centre, within", [(on_box, "box", 1), (on_centroid, "centroid", 0)])
def test_drawn_kernels_come_back(place, centre, within):
    kernels = drawn(centre)
    for down, right in ((3, -2), (-4, 0), (0, 1)):
        back = place(torch.roll(kernels, (down, right), (-2, -1)))
        torch.testing.assert_close(back, place(kernels))  # wherever they were
        for kernel, found in zip(kernels, back):
            moves = [(a, b) for a in range(-within, within + 1) for b in range(-within, within + 1)]
            assert any(torch.allclose(torch.roll(kernel, m, (-2, -1)), found, atol=1e-6) for m in moves)


def test_symmetric_kernels_stay():
    kernel = torch.from_numpy(gaussian(15, 2.0, 1.0, 0.5)).float()[None, None]
    torch.testing.assert_close(on_box(kernel), kernel)
    torch.testing.assert_close(on_centroid(kernel), kernel)


def test_specks_beside_the_path_do_not_count():
    kernel = torch.zeros(1, 1, 15, 15)
    kernel[..., 7, 4:9] = 0.194
    kernel[..., 1, 13] = 0.03
    assert on_box(kernel)[0, 0, 7].nonzero().flatten().tolist() == [5, 6, 7, 8, 9]


def test_a_path_may_be_found_in_pieces():
    kernel = torch.zeros(1, 1, 15, 15)
    kernel[..., 7, 3:6], kernel[..., 7, 10:12] = 0.25, 0.125
    assert on_box(kernel)[0, 0, 7].nonzero().flatten().tolist() == [3, 4, 5, 10, 11]


def test_between_two_pixels_the_centroid_decides():
    kernel = torch.zeros(2, 1, 9, 9)
    kernel[0, 0, 4, 3:7] = torch.tensor([0.1, 0.1, 0.1, 0.7])  # its middle lies at half a pixel, its mass beyond
    kernel[1, 0, 4, 3:7] = torch.tensor([0.7, 0.1, 0.1, 0.1])
    places = [k[0, 4].nonzero().flatten().tolist() for k in on_box(kernel)]
    assert places == [[2, 3, 4, 5], [3, 4, 5, 6]]


def test_what_leaves_the_square_is_lost():
    kernel = torch.zeros(1, 1, 5, 5)
    kernel[..., 0, 0], kernel[..., 4, 4] = 0.9, 0.1
    moved = on_centroid(kernel)
    assert moved[0, 0, 2, 2] == 1 and moved.sum() == 1
