"""The classical degradation: one seed, one result; files and batches agree with the definition."""

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from blindsr import registry
from blindsr.degradation.classical import Classical, ClassicalConfig, degrade
from blindsr.kernels.gaussian import GaussianKernelsConfig

CONFIG = ClassicalConfig(kernels=GaussianKernelsConfig(size=9))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_definition(scale):
    """True convolution, wrap-around, upper-left pixel of every block, as scipy does it."""
    rng = np.random.default_rng(0)
    x, k = rng.random((24, 36)), rng.random((9, 9))
    k /= k.sum()
    y = degrade(torch.from_numpy(x)[None, None], torch.from_numpy(k)[None, None], scale)[0, 0]
    np.testing.assert_allclose(y, convolve(x, k, mode="wrap")[::scale, ::scale], atol=1e-12)


def test_the_same_seed_gives_the_same_photo():
    hr = np.random.default_rng(1).random((50, 61, 3)).astype(np.float32)
    make = Classical(CONFIG)
    first, again, other = (make(hr, 3, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.lr, again.lr)
    assert not np.array_equal(first.lr, other.lr)
    import json

    replayed = make.replay(hr, json.loads(json.dumps(first.record)))
    np.testing.assert_array_equal(replayed.lr, first.lr)
    assert first.lr.shape == (16, 20, 3) and first.hr.shape == (48, 60, 3) and first.grid == "corner"
    assert first.kernel.sum() == pytest.approx(1, abs=1e-5)


def test_noise_has_the_stated_strength():
    make = Classical(ClassicalConfig(GaussianKernelsConfig(size=9), sigma_255=(25, 25), noiseless=0))
    x = torch.full((2, 3, 200, 200), 0.5)
    made = make.batch(x, 2, np.random.default_rng(0))
    y, _k, sigma = made.y, made.k, made.sigma
    assert y.std().item() == pytest.approx(25 / 255, rel=0.02)
    assert sigma.tolist() == pytest.approx([25 / 255] * 2)


def test_share_without_noise():
    sigma = Classical(CONFIG).draw(2000, np.random.default_rng(0)).sigma
    assert (sigma == 0).float().mean() == pytest.approx(0.3, abs=0.04)
    assert sigma.max() <= 25 / 255


@pytest.mark.parametrize("wrong", [{"sigma_255": [5, 1]}, {"sigma_255": [-1, 1]}, {"noiseless": 2}, {"rounded": -1}])
def test_ranges_are_checked(wrong):
    with pytest.raises(registry.ConfigError):
        registry.parse_component("degradation")({"name": "classical", "kernels": "gaussian", **wrong}, "x")


def test_rounded_samples_hold_whole_levels_and_tell_of_it():
    make = Classical(ClassicalConfig(GaussianKernelsConfig(size=9), sigma_255=(5, 25), noiseless=0.5, rounded=0.5))
    x = torch.rand(200, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    made = make.batch(x, 2, np.random.default_rng(0))
    levels = made.y * 255
    whole = ((levels - levels.round()).abs() < 1e-4).flatten(1).all(1)
    assert whole.float().mean() == pytest.approx(0.5, abs=0.1)
    assert made.y[whole].min() >= 0 and made.y[whole].max() <= 1
    noiseless = made.sigma * 255 < 1
    assert 60 < noiseless.sum() < 140
    torch.testing.assert_close(made.sigma[noiseless] * 255, whole[noiseless] * 12**-0.5)
    exact = degrade(x, made.k, 2)
    error = (made.y - exact)[whole & noiseless].std() * 255
    assert error == pytest.approx(12**-0.5, rel=0.05)


def test_what_lies_around_is_degraded_alike():
    make = Classical(ClassicalConfig(GaussianKernelsConfig(size=9), noiseless=1, rounded=0.5))
    around = torch.rand(8, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    made = make.batch(around[..., 8:40, 8:40], 2, np.random.default_rng(0), around)
    inside = slice(2, -2)  # beyond the reach of the kernel, where the small picture wraps around
    torch.testing.assert_close(made.y[..., inside, inside], made.context[..., 6:-6, 6:-6], rtol=0, atol=1e-5)
