"""Layers for quiet photos: used for these alone, once they are fitted, and nothing of what was learned before is lost by them."""

import pytest
import torch

from blindsr.estimators.quiet import FAINTEST, QUIET, kaiser, rings_and_sectors
from blindsr.estimators.spectral import FLOOR, VIEWS, SpectralConfig, SpectralEstimator, log_power, seen_as
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import blur


def photo(side: int = 96) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def estimator(quiet: bool = True, sigma: float = -9.0) -> SpectralEstimator:
    """One that takes every photo for one of little noise, or (``sigma`` 0) of much."""
    torch.manual_seed(0)
    made = SpectralEstimator(SpectralConfig(head="softmax", size=9, hidden=8, quiet=quiet)).eval()
    with torch.no_grad():
        made.mlp[-1].bias[-2] = sigma
    return made


def fitted(made: SpectralEstimator) -> SpectralEstimator:
    """The same, its layers for quiet photos as the others."""
    made.quiet.begin_as(made.mlp)
    made.quiet.fitted.fill_(1)
    return made


def test_who_learned_without_them_goes_on_from_there():
    before, after = estimator(quiet=False), estimator()
    after.load_state_dict(before.state_dict())
    y = photo()
    assert torch.equal(before(None, y, 2).kernel, after(None, y, 2).kernel)  # not fitted: of no use
    assert torch.allclose(before(None, y, 2).kernel, fitted(after)(None, y, 2).kernel)
    with torch.no_grad():
        after.quiet.read.weight.normal_()
    assert not torch.allclose(before(None, y, 2).kernel, after(None, y, 2).kernel)
    again = estimator()
    again.load_state_dict(after.state_dict())  # their own weights are taken, not those of nothing
    assert torch.equal(after(None, y, 2).kernel, again(None, y, 2).kernel)


def test_noisy_photos_are_not_their_business():
    made = fitted(estimator(sigma=0.0))
    y = photo()
    answer = made(None, y, 2)
    assert answer.sigma > QUIET
    with torch.no_grad():
        made.quiet.rest[-1].bias.normal_()
    assert torch.equal(answer.kernel, made(None, y, 2).kernel)
    with torch.no_grad():
        made.mlp[-1].bias[-2] = -9.0
    assert not torch.allclose(answer.kernel, made(None, y, 2).kernel)


def test_when_the_others_learn_on_they_serve_no_more():
    made = fitted(estimator())
    made.requires_grad_(False).train()(None, photo(), 2)  # part of a model whose other parts learn
    assert made.quiet.fitted
    made.requires_grad_(True)(None, photo(), 2)
    assert not made.quiet.fitted


def test_a_state_that_lacks_a_part_of_them_is_refused():
    state = estimator().state_dict()
    del state["quiet.read.weight"]
    with pytest.raises(RuntimeError, match="read.weight"):
        estimator().load_state_dict(state)


def test_it_tells_widths_that_rounding_hides():
    """At high frequencies, where of wide blur hardly a millionth is left."""
    narrow, wide = (blur(photo().double(), torch.from_numpy(gaussian(25, width))[None, None]) for width in (2.0, 2.2))
    own, hann = estimator(), estimator(quiet=False).taper
    changes = []
    for taper, floor in ((own.quiet.taper, FAINTEST), (hann, FLOOR)):
        powers = [log_power(own.windows(y), taper, floor)[0, :, 10, 0] for y in (narrow, wide)]
        changes.append(float((powers[0] - powers[1]).mean()))
    assert changes[0] > 2.0 > 0.1 > changes[1]


@pytest.mark.parametrize("n", [16, 32])
def test_parts_of_the_spectrum(n):
    """All frequencies but the lowest are in one each, and means over them stay in their order up to the order of sectors."""
    bins = rings_and_sectors(n)
    assert torch.allclose(bins.sum(1), torch.ones(len(bins)))
    covered = (bins > 0).sum(0).view(n, n // 2 + 1)
    assert covered[0, 0] == 0 and (covered.flatten()[1:] == 1).all()
    assert kaiser(n).square().sum().item() == pytest.approx(1)


@pytest.mark.parametrize("view", VIEWS[1:])
def test_turned_photos_have_the_same_parts_in_another_order(view):
    """But for the frequencies on the borders of sectors, which belong to one side."""
    n = 32
    y = blur(photo(), torch.from_numpy(gaussian(25, 1.5, 0.7, 0.6)).float()[None, None])
    spectra = log_power(estimator().windows(y), kaiser(n), FAINTEST)
    ours, turned = (spectrum.flatten(2) @ rings_and_sectors(n).T for spectrum in (spectra, seen_as(spectra, *view)))
    assert (ours.sort(-1).values - turned.sort(-1).values).abs().mean() < 0.2 < 1.0 < (ours - turned).abs().mean()
