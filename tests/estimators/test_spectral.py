"""The spectral estimator: its features follow the blur, and any size works."""

import pytest
import torch

from blindsr.estimators.spectral import VIEWS, SpectralConfig, SpectralEstimator, pad_to, seen_as, turned_back
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
        spectra = estimator.features(estimator.spectra(estimator.windows(y)))[0, :-1].view(3, n, n // 2 + 1)
        return float(spectra[:, n // 2, n // 2].mean())

    softer = blur(x, torch.from_numpy(gaussian(25, 0.8)).float()[None, None])
    assert high_frequencies(softer) < high_frequencies(x) - 0.1
    assert high_frequencies(softer + 0.05 * torch.randn(x.shape)) > high_frequencies(softer) + 0.1


def test_features_do_not_change_with_contrast(estimator):
    y = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    strong, weak = (estimator.features(estimator.spectra(estimator.windows(p)))[:, :-1] for p in (y, 0.4 + 0.2 * y))
    assert (strong - weak).abs().mean() < 0.01


def test_pad_to_mirrors():
    y = torch.arange(6.0).view(1, 1, 2, 3)
    padded = pad_to(y, 5)
    assert padded.shape[-2:] == (5, 5)
    assert padded[0, 0, 2].tolist() == padded[0, 0, 1].tolist()


def as_seen(picture: torch.Tensor, flip: bool, transpose: bool) -> torch.Tensor:
    picture = picture.flip(-1) if flip else picture
    return picture.transpose(-2, -1) if transpose else picture


@pytest.mark.parametrize("view", VIEWS)
def test_spectra_of_turned_pictures(estimator, view):
    """As if the picture itself had been turned (a picture of whole windows, so that the same ones are averaged), but
    for the weights of the windows, which come from half of each spectrum."""
    y = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    expected = estimator.spectra(estimator.windows(as_seen(y, *view).contiguous()))
    assert (seen_as(estimator.spectra(estimator.windows(y)), *view) - expected).abs().max() < 0.05
    assert view == (False, False) or (estimator.spectra(estimator.windows(y)) - expected).abs().max() > 0.5
    k = torch.rand(1, 1, 5, 5)
    assert torch.equal(turned_back(as_seen(k, *view), *view), k)


def test_a_turned_photo_has_the_turned_kernel():
    """Nearly, however little the perceptron knows; while it learns it looks once."""
    torch.manual_seed(3)
    estimator = SpectralEstimator(SpectralConfig(head="softmax", code=5, size=9, window=16, hidden=8)).eval()
    estimator.standardise.seen.fill_(1e6)  # it has seen enough to stay as it is
    y = torch.rand(1, 3, 64, 64)
    k = estimator(None, y, 2).kernel
    assert k.sum().item() == pytest.approx(1, abs=1e-5)

    def changes(estimator: SpectralEstimator) -> float:
        turned = [turned_back(estimator(None, as_seen(y, *v).contiguous(), 2).kernel, *v) for v in VIEWS]
        return float(torch.cat(turned).detach().std(0).mean())

    together = changes(estimator)
    assert together < 0.5 * changes(estimator.train())
    assert changes(estimator.requires_grad_(False)) == pytest.approx(together)
