"""Power below the noise of 8 bits: read only by who is told to, and nothing of what was learned before is lost by it."""

import pytest
import torch

from blindsr.estimators.faint import FAINTEST, kaiser, rings_and_sectors
from blindsr.estimators.spectral import FLOOR, VIEWS, SpectralConfig, SpectralEstimator, log_power, seen_as
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import blur


def photo(side: int = 96) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def estimator(faint: bool) -> SpectralEstimator:
    torch.manual_seed(0)
    return SpectralEstimator(SpectralConfig(head="softmax", size=9, hidden=8, faint=faint)).eval()


def test_who_learned_without_it_goes_on_from_there():
    before, after = estimator(False), estimator(True)
    with torch.no_grad():
        before.mlp[0].weight.mul_(2.0)
    after.load_state_dict(before.state_dict())
    y = photo()
    assert torch.equal(before(None, y, 2).kernel, after(None, y, 2).kernel)
    with torch.no_grad():
        after.faint.read.weight.normal_()
    assert not torch.allclose(before(None, y, 2).kernel, after(None, y, 2).kernel)
    again = estimator(True)
    again.load_state_dict(after.state_dict())  # its own weights are taken, not those of nothing
    assert torch.equal(again.faint.read.weight, after.faint.read.weight)


def test_a_state_that_lacks_a_part_of_it_is_refused():
    state = estimator(True).state_dict()
    del state["faint.read.weight"]
    with pytest.raises(RuntimeError, match="read.weight"):
        estimator(True).load_state_dict(state)


def test_it_tells_widths_that_rounding_hides():
    """At high frequencies, where of wide blur hardly a millionth is left."""
    narrow, wide = (blur(photo().double(), torch.from_numpy(gaussian(25, width))[None, None]) for width in (2.0, 2.2))
    own, hann = estimator(True), estimator(False).taper
    changes = []
    for taper, floor in ((own.faint.taper, FAINTEST), (hann, FLOOR)):
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
    spectra = log_power(estimator(True).windows(y), kaiser(n), FAINTEST)
    ours, turned = (spectrum.flatten(2) @ rings_and_sectors(n).T for spectrum in (spectra, seen_as(spectra, *view)))
    assert (ours.sort(-1).values - turned.sort(-1).values).abs().mean() < 0.2 < 1.0 < (ours - turned).abs().mean()
