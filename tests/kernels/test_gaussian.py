from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blindsr.config import ConfigError, parse
from blindsr.kernels.gaussian import GaussianKernels, GaussianKernelsConfig, gaussian
from blindsr.registry import build, parse_component

DATA = Path(__file__).parents[1] / "data"


def widths(kernels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Larger and smaller standard deviation of kernels (n, h, w), from their second moments."""
    kernels = kernels.astype(np.float64)
    at = np.arange(kernels.shape[-1]) - kernels.shape[-1] // 2
    yy = (kernels * at[:, None] ** 2).sum((1, 2))
    xx = (kernels * at**2).sum((1, 2))
    xy = (kernels * at[:, None] * at).sum((1, 2))
    eigenvalues = np.linalg.eigvalsh(np.stack([np.stack([yy, xy], -1), np.stack([xy, xx], -1)], -1))
    small, large = np.sqrt(np.maximum(eigenvalues, 0)).T
    return large, small


@pytest.mark.parametrize("case", range(6))
def test_published_gaussians(case):
    with np.load(DATA / "bsrgan_gaussians.npz") as golden:
        size, width = golden[f"iso{case}_params"]
        assert np.abs(gaussian(int(size), width) - golden[f"iso{case}"]).max() < 1e-5
        size, angle, l1, l2 = golden[f"aniso{case}_params"]
        ours = gaussian(int(size), l1**0.5, l2**0.5, angle)
        assert np.abs(ours - golden[f"aniso{case}"]).max() < 1e-5


def test_angle_turns_from_columns_towards_rows():
    k = gaussian(25, 4.0, 1.0, np.pi / 4)
    assert k[12 + 3, 12 + 3] > 10 * k[12 + 3, 12 - 3]
    assert gaussian(25, 4.0, 1.0)[12, 16] > gaussian(25, 4.0, 1.0)[16, 12]


def test_tiny_width_is_a_dirac():
    k = gaussian(5, 1e-6)
    assert k[2, 2] == 1 and k.sum() == 1


@pytest.mark.parametrize("arguments", [(4, 1.0), (25, 0.0), (25, -1.0), (25, float("nan")), (25, 1.0, 0.0)])
def test_impossible_gaussians(arguments):
    with pytest.raises(ValueError):
        gaussian(*arguments)


def test_samples_are_kernels_and_repeat():
    family = GaussianKernels(GaussianKernelsConfig(size=21))
    first, second = (family.sample(500, np.random.default_rng(7)) for _ in range(2))
    assert first.dtype == np.float32 and first.shape == (500, 21, 21)
    assert np.array_equal(first, second)
    assert first.min() >= 0 and np.allclose(first.sum((1, 2)), 1, atol=1e-5)


def test_widths_and_share_follow_the_configuration():
    config = GaussianKernelsConfig(size=41, width=(1.0, 4.0), isotropic=0.4, ratio=0.25)
    large, small = widths(GaussianKernels(config).sample(4000, np.random.default_rng(0)))
    assert large.min() > 0.98 and large.max() < 4.02 and small.min() > 0.98
    assert abs(np.mean(large / small < 1.001) - 0.4) < 0.03
    assert abs(large.mean() - 2.5) < 0.05


def test_variance_law_expresses_the_published_ranges():
    config = GaussianKernelsConfig(size=41, width=(0.1**0.5, 10.1**0.5), isotropic=0, ratio=0, law="variance")
    large, small = widths(GaussianKernels(config).sample(4000, np.random.default_rng(0)))
    assert abs((large**2).mean() - 5.1) < 0.15  # uniform in 0.1 … 10.1
    assert abs((small**2).mean() - 2.6) < 0.15  # uniform in 0.1 … the larger


def test_axes_law_draws_both_widths_alike():
    config = GaussianKernelsConfig(size=41, width=(1.0, 4.0), isotropic=0, ratio=0, law="axes")
    large, small = widths(GaussianKernels(config).sample(4000, np.random.default_rng(0)))
    assert abs(large.mean() - 3.0) < 0.05 and abs(small.mean() - 2.0) < 0.05


def test_configuration():
    config = parse_component("kernels")({"name": "gaussian", "size": 21, "width": [1, 2]}, "here")
    assert build(config).size == 21
    for wrong in ({"size": 20}, {"width": [3, 1]}, {"isotropic": 2}, {"ratio": -1}, {"law": "sigma"}):
        with pytest.raises(ConfigError):
            parse(GaussianKernelsConfig, wrong, "here")
