from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from blindsr.interfaces import BlindSRError
from blindsr.kernels.bicubic import bicubic_kernel, fit_bicubic_kernel
from blindsr.ops.filtering import blur
from blindsr.ops.resize import bicubic_shrink

DATA = Path(__file__).parents[1] / "data"
# Largest difference from the published kernels, which were found approximately: measured 0.0068, 0.0017, 0.0019.
PUBLISHED = {2: 0.007, 3: 0.002, 4: 0.002}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_fit_finds_the_exact_kernel(scale):
    assert np.abs(fit_bicubic_kernel(scale) - bicubic_kernel(scale)).max() < 1e-9


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_blur_and_decimation_equal_bicubic_reduction(scale):
    x = torch.from_numpy(np.random.default_rng(0).random((1, 1, 36 * scale, 30 * scale)))
    k = torch.from_numpy(bicubic_kernel(scale))[None, None]
    remade = blur(x, k)[..., ::scale, ::scale]
    margin = 4
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    assert (remade - bicubic_shrink(x, scale))[inside].abs().max() < 1e-12


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_close_to_the_published_kernels(scale):
    with np.load(DATA / "bicubic_kernels.npz") as file:
        published = file[f"x{scale}"].astype(np.float64)
    ours = bicubic_kernel(scale)
    assert np.abs(ours - published).max() < PUBLISHED[scale]
    assert np.corrcoef(ours.ravel(), published.ravel())[0, 1] > 0.997


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_off_centre_by_half_a_block(scale):
    k = bicubic_kernel(scale)
    assert k.shape == (25, 25) and abs(k.sum() - 1) < 1e-12
    at = np.arange(25) - 12
    assert abs((k.sum(0) * at).sum() + (scale - 1) / 2) < 1e-9
    assert abs((k.sum(1) * at).sum() + (scale - 1) / 2) < 1e-9
    assert (k.min() < -1e-3) == (scale > 1)


def test_a_caller_may_change_its_copy():
    bicubic_kernel(2)[:] = 0
    assert bicubic_kernel(2).sum() > 0.99


def test_errors():
    with pytest.raises(BlindSRError, match="scale 5"):
        bicubic_kernel(5)
    with pytest.raises(BlindSRError, match="larger images"):
        fit_bicubic_kernel(4, [np.random.default_rng(0).random((120, 120))])
    with pytest.raises(BlindSRError, match="too small"):
        fit_bicubic_kernel(2, [np.zeros((30, 30))])
