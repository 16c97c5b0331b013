"""Resampling: the grids, and agreement with what others do."""

import cv2
import numpy as np
import pytest
import torch

from blindsr.ops.resize import bicubic_enlarge, bicubic_shrink, decimate


def smooth(height: int, width: int) -> torch.Tensor:
    rows, cols = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    return (0.5 + 0.3 * torch.sin(rows / 9 + 1) * torch.cos(cols / 7))[None, None]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_enlargement_lies_on_its_grid(scale, grid):
    offset = 0 if grid == "corner" else (scale - 1) / 2
    rows, cols = torch.meshgrid(torch.arange(96).double(), torch.arange(96).double(), indexing="ij")

    def scene(r, c):
        return 0.5 + 0.3 * torch.sin(r / 25 + 1) * torch.cos(c / 21)

    y = scene(rows[::scale, ::scale] + offset, cols[::scale, ::scale] + offset)[None, None]
    x = bicubic_enlarge(y, scale, grid)
    inside = slice(12, -12)
    error = (x[0, 0] - scene(rows, cols))[inside, inside].abs().max()
    assert error < 1e-3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrink_is_near_pillows_antialiased_bicubic(scale):
    from PIL import Image

    image = smooth(48, 60)[0, 0].float().numpy()
    small = Image.fromarray(image).resize((60 // scale, 48 // scale), Image.BICUBIC)
    ours = bicubic_shrink(torch.from_numpy(image)[None, None], scale)[0, 0]
    np.testing.assert_allclose(ours[2:-2, 2:-2], np.asarray(small)[2:-2, 2:-2], atol=2e-3)


def test_centre_enlargement_lies_on_opencvs():
    image = smooth(24, 30)[0, 0].float().numpy()
    ours = bicubic_enlarge(torch.from_numpy(image)[None, None], 3, "centre")[0, 0].numpy()
    theirs = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(ours[6:-6, 6:-6], theirs[6:-6, 6:-6], atol=4e-3)


def test_decimate_keeps_the_upper_left():
    x = torch.arange(36.0).view(1, 1, 6, 6)
    assert decimate(x, 3).flatten().tolist() == [0, 3, 18, 21]


def test_shrink_agrees_with_matlab():
    golden = np.load("tests/data/imresize.npz")
    for i in range(int(golden["count"])):
        ratio, given, expected = float(golden[f"ratio{i}"]), golden[f"in{i}"], golden[f"out{i}"]
        x = torch.from_numpy(given.astype(np.float64)).permute(2, 0, 1)[None]
        ours = bicubic_enlarge(x, int(ratio), "centre") if ratio > 1 else bicubic_shrink(x, round(1 / ratio))
        np.testing.assert_allclose(ours[0].permute(1, 2, 0), expected, atol=1e-5)


def test_autocast_does_not_coarsen_a_picture():
    x = smooth(24, 30).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(bicubic_enlarge(x, 2, "corner"), _outside_autocast(x))


def _outside_autocast(x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", enabled=False):
        return bicubic_enlarge(x, 2, "corner")
