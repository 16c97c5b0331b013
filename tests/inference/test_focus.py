"""Photos out of focus: the disk is found in their spectrum."""


import numpy as np
import pytest
import torch

from blindsr.evaluation.metrics import psnr
from blindsr.inference import focus
from blindsr.inference.boundary import pad
from blindsr.inference.focus import _by_spectrum
from blindsr.inference.refinement import refine
from blindsr.inference.trial import Trial
from blindsr.kernels.defocus import disk
from blindsr.kernels.disk_fit import all_disks, nearest_disk
from blindsr.kernels.distance import kernel_distance
from blindsr.kernels.gaussian import gaussian
from blindsr.kernels.motion import linear_motion
from blindsr.ops.filtering import LUMA_NOISE, blur, luma
from blindsr.ops.fourier import grid_shift
from blindsr.ops.resize import decimate

ROUNDING = torch.tensor([0.29 / 255])


@pytest.fixture(scope="module")
def sharp(mirrored) -> torch.Tensor:
    return mirrored(120)


def as_kernel(k: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(k).float()[None, None]


def degraded(x: torch.Tensor, k: torch.Tensor, scale: int, shift: float = 0.0) -> torch.Tensor:
    """8 bits, as files have."""
    return (255 * decimate(blur(x, k, shift=shift), scale)).round().clamp(0, 255) / 255


def test_noise_has_its_variance_at_every_frequency() -> None:
    y = 0.5 + 0.1 * torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 400, 300)))
    inner = focus._periodogram(y)[0, 3:-3, 3:-3]
    assert inner.mean().item() == pytest.approx(0.01, rel=0.03)
    assert inner.std().item() < 0.002


def preferred(y: torch.Tensor, scale: int, sigma: float) -> tuple[float, float]:
    """The radius of the most likely disk, and by how much it is more likely than any isotropic Gaussian."""
    power = focus._periodogram(luma(y).double())[0]
    means = [focus._means(power, LUMA_NOISE * sigma, focus._family(kind, 25, scale)[1]) for kind in ("disk", "gaussian")]
    return all_disks(25)[0][int(means[0].argmin())].item(), (means[1].min() - means[0].min()).item()


@pytest.mark.parametrize("scale, radius", [(1, 1.5), (1, 2.5), (2, 2.5), (2, 4.0), (3, 4.0), (4, 6.0)])
def test_the_spectrum_tells_the_radius(sharp, scale: int, radius: float) -> None:
    found, gain = preferred(degraded(sharp, as_kernel(disk(25, radius)), scale), scale, 0.29 / 255)
    assert abs(found - radius) < 0.16 and gain > 2 * focus.LIKELIER


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("width", [0.8, 1.5, 2.5])
def test_a_gaussian_is_no_disk(sharp, scale: int, width: float) -> None:
    for sigma in (0.29, 2.55):
        y = degraded(sharp, as_kernel(gaussian(25, width)), scale)
        noise = torch.from_numpy(np.random.default_rng(0).standard_normal(y.shape)).float()
        assert preferred(y + sigma / 255 * noise * (sigma > 1), scale, sigma / 255)[1] < focus.LIKELIER


@pytest.mark.parametrize("grid, scale, radius", [("corner", 2, 2.5), ("centre", 3, 4.0), ("corner", 1, 1.5)])
def test_a_photo_out_of_focus_is_restored_with_a_disk(tiny, sharp, monkeypatch, grid, scale, radius) -> None:
    """Though the loops take its blur for a Gaussian."""
    true, shift = as_kernel(disk(25, radius)), grid_shift(grid, scale)
    y = degraded(sharp, true, scale, shift)
    padded = pad(y, scale, (25, 25), "circular", 8)
    with torch.inference_mode():
        found = tiny(y, scale, shift=shift, least_sigma=0.29 / 255)
        refined = refine(tiny, padded, scale, found, shift)
        monkeypatch.setattr(focus, "LIKELIER", torch.inf)
        monkeypatch.setattr(focus, "WAVES", torch.inf)
        without = refine(tiny, padded, scale, found, shift)
    assert len(refined.iterates) == len(found.iterates) + 1
    assert refined.iterates[-1].doubt.item() == pytest.approx(focus.DOUBT)
    assert kernel_distance(refined.kernel, true).item() < 0.2 < kernel_distance(without.kernel, true).item()
    after, before = (psnr(r.x.clamp(0, 1), sharp, 8).item() for r in (refined, without))
    assert after > before + 1


def test_small_photos_say_nothing(tiny, sharp) -> None:
    """A window of the spectrum does not fit in."""
    y = degraded(sharp[..., :90, :90], as_kernel(disk(25, 2.5)), 2)
    with torch.inference_mode():
        refined = refine(tiny, pad(y, 2, (25, 25), "circular", 8), 2, tiny(y, 2, least_sigma=0.29 / 255))
    assert torch.isfinite(refined.x).all()


def test_kernels_larger_than_a_window_say_nothing() -> None:
    k = as_kernel(disk(51, 3.0))
    padded = pad(torch.rand(1, 3, 120, 120), 1, (51, 51), "circular", 8)
    trial = Trial(None, padded, 1, torch.zeros(1), 0.0)
    kernel, likelier = _by_spectrum(trial, k, k)
    assert torch.equal(kernel, k) and not likelier.any()


def test_the_nearest_disk() -> None:
    kernels = [disk(25, 3.0), disk(25, 2.95), gaussian(25, 1.0), gaussian(25, 3.0), linear_motion(25, 15.0, 30.0)]
    radii, off = nearest_disk(torch.cat([as_kernel(k) for k in kernels]))
    assert radii[:2].tolist() == pytest.approx([3.0, 2.9], abs=0.11)
    exact, near, narrow, wide, line = off.tolist()
    assert exact < 1e-3 < near < 0.1 < min(narrow, wide) and max(narrow, wide) < 0.4 and line > 0.7
