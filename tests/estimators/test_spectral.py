"""The spectral estimator: its features follow the blur, and any size works."""

import pytest
import torch

from blindsr.estimators.spectral import SpectralConfig, SpectralEstimator, pad_to
from blindsr.interfaces import SCALES


@pytest.fixture(scope="module")
def estimator() -> SpectralEstimator:
    torch.manual_seed(0)
    return SpectralEstimator(SpectralConfig(code=5, window=16, hidden=8))


@pytest.mark.parametrize("size", [(5, 7), (16, 16), (15, 80), (64, 48)])
def test_any_size_and_scale(estimator, size):
    for scale in SCALES:
        estimate = estimator(None, torch.rand(2, 3, *size), scale)
        assert estimate.code.shape == (2, 5)
        assert (estimate.sigma >= 0).all() and torch.isfinite(estimate.code).all()


def test_flat_photo_is_finite(estimator):
    assert torch.isfinite(estimator(None, torch.full((1, 3, 32, 32), 0.5), 2).code).all()


def test_spectrum_falls_with_blur_and_rises_with_noise(estimator):
    from blindsr.kernels.gaussian import gaussian
    from blindsr.ops.filtering import blur

    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    n = estimator.config.window

    def high_frequencies(y: torch.Tensor) -> float:
        spectra = estimator.features(y)[0, :-1].view(3, n, n // 2 + 1)
        return float(spectra[:, n // 2, n // 2].mean())

    softer = blur(x, torch.from_numpy(gaussian(25, 0.8)).float()[None, None])
    assert high_frequencies(softer) < high_frequencies(x) - 0.1
    assert high_frequencies(softer + 0.05 * torch.randn(x.shape)) > high_frequencies(softer) + 0.1


def test_features_do_not_change_with_contrast(estimator):
    y = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    strong, weak = estimator.features(y)[:, :-1], estimator.features(0.4 + 0.2 * y)[:, :-1]
    assert (strong - weak).abs().mean() < 0.01


def test_pad_to_mirrors():
    y = torch.arange(6.0).view(1, 1, 2, 3)
    padded = pad_to(y, 5)
    assert padded.shape[-2:] == (5, 5)
    assert padded[0, 0, 2].tolist() == padded[0, 0, 1].tolist()
