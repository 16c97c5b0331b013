"""Disks out of focus."""

import math

import numpy as np
import pytest

from blindsr.kernels.defocus import disk
from blindsr.kernels.width import kernel_width


@pytest.mark.parametrize("radius", [0.1, 0.5, 1.0, 2.5, 7.3, 12.0])
def test_an_even_disk(radius):
    k = disk(25, radius)
    assert k.shape == (25, 25) and k.sum() == pytest.approx(1) and (k >= 0).all()
    np.testing.assert_allclose(k, k[::-1, ::-1])
    np.testing.assert_allclose(k, k.T)
    if radius >= 2:  # second moment of a disk: r²/4 along either axis, and 1/12 for a pixel's own area
        rows = np.arange(25) - 12
        assert (k.sum(1) * rows**2).sum() == pytest.approx(radius**2 / 4 + 1 / 12, rel=0.05)
        assert k.max() == pytest.approx(1 / (math.pi * radius**2), rel=0.03)


def test_wider_disks_are_wider():
    assert kernel_width(disk(25, 2)) < kernel_width(disk(25, 4))


@pytest.mark.parametrize("size, radius", [(25, 0.0), (25, -1.0), (25, 13.0), (24, 3.0)])
def test_what_is_no_disk(size, radius):
    with pytest.raises(ValueError):
        disk(size, radius)
