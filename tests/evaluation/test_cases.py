"""Given kernels: what a model is told of the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.ndimage
from PIL import Image

from blindsr import images
from blindsr.evaluation.cases import CaseSpec, Kernel, make_case
from blindsr.evaluation.protocol import load_protocol
from blindsr.kernels.gaussian import gaussian


def told(folder: Path, kernel: np.ndarray, scale: int = 2, **changes) -> np.ndarray:
    """The kernel (h, w) that dan_setting2, with ``changes``, makes of a file that holds ``kernel``."""
    scipy.io.savemat(folder / "kernel_1.mat", {"Kernel": kernel})
    Image.new("RGB", (8, 8)).save(folder / "im_1.png")
    spec = CaseSpec("div2krk", "1", None, folder / "im_1.png", folder / "kernel_1.mat", scale, 0.0, None)
    return make_case(spec, replace(load_protocol("dan_setting2")[1], **changes)).k[0, 0].numpy()


def test_kernels_are_taken_as_they_are_or_turned(tmp_path):
    kernel = np.random.default_rng(0).random((11, 11))
    kernel /= kernel.sum()
    as_it_is = told(tmp_path, kernel, flip_kernels=False, centre_kernels=False)
    np.testing.assert_allclose(as_it_is, kernel, atol=1e-7)
    np.testing.assert_allclose(told(tmp_path, kernel, centre_kernels=False), kernel[::-1, ::-1], atol=1e-7)


@pytest.mark.parametrize("scale", [2, 4])
def test_kernels_are_moved_to_where_the_grid_wants_them(tmp_path, scale):
    """Whether the file holds the offset of the grid already, half of it, or the opposite one."""
    kernel, right = gaussian(19, 1.5, 1.0, 0.4), (scale - 1) / 2
    for offset in (0.0, right, right / 2, -right):  # of a kernel for correlation
        found = told(tmp_path, scipy.ndimage.shift(kernel, offset, order=5), scale)
        assert found.sum() == pytest.approx(1, abs=1e-5)
        centre = np.subtract(scipy.ndimage.center_of_mass(found), np.floor_divide(found.shape, 2))
        np.testing.assert_allclose(centre, -right, atol=0.01)


def test_a_kernel_in_its_place_stays(tmp_path):
    kernel = scipy.ndimage.shift(gaussian(19, 1.5, 1.0, 0.4), 0.5, order=5)
    found = told(tmp_path, kernel)
    margin = (len(found) - len(kernel)) // 2
    np.testing.assert_allclose(found[margin:-margin, margin:-margin], kernel[::-1, ::-1], atol=1e-4)


@pytest.mark.parametrize("dtype, least", [(np.uint8, 0.29), (np.uint16, 0.29 / 257)])
def test_rounding_of_given_photos(tmp_path, dtype, least):
    pixels = np.full((8, 8, 3), 77, dtype)
    images.write(tmp_path / "im_1.png", images.Photo(pixels))
    spec = CaseSpec("set", "1", None, tmp_path / "im_1.png", None, 2, 0.0, None)
    assert 255 * make_case(spec, load_protocol("dan_setting2")[1]).rounding == pytest.approx(least, rel=0.01)


@pytest.mark.parametrize("name, least", [("usrnet_table1", 0.29), ("float_blur", 0)])
def test_rounding_of_photos_made_here(tmp_path, name, least):
    protocol = load_protocol(name)[1]
    rng = np.random.default_rng(0)
    images.write(tmp_path / "1.png", images.Photo(rng.integers(0, 256, (48, 48, 3)).astype(np.uint8)))
    kernel = Kernel("k", gaussian(9, 1.2, 1.0, 0.3))
    case = make_case(CaseSpec("set", "1", tmp_path / "1.png", None, None, 2, 0.0, kernel), protocol)
    assert 255 * case.rounding == pytest.approx(least, rel=0.01) and float(case.sigma) == 0
    levels = 255 * case.y.double()
    assert bool(((levels - levels.round()).abs() < 1e-4).all()) == (least > 0)
