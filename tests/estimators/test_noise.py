from __future__ import annotations

import numpy as np
import pytest
import torch

from blindsr.estimators.noise import BLOCK, DB2_HIGH, estimate_noise, is_white, wavelet_noise

SIZE = 128


def flat() -> np.ndarray:
    return np.full((3, SIZE, SIZE), 0.5)


def ramp() -> np.ndarray:
    rows, cols = np.mgrid[:SIZE, :SIZE] / SIZE
    return np.stack([0.3 + 0.4 * rows, 0.3 + 0.4 * cols, 0.3 + 0.2 * (rows + cols)])


def textured() -> np.ndarray:
    """Waves of many directions under sharp-edged discs, as a stand-in for a photograph."""
    rng = np.random.default_rng(5)
    rows, cols = np.mgrid[:SIZE, :SIZE]
    picture = np.full((SIZE, SIZE), 0.5)
    for _ in range(12):
        angle, period = rng.uniform(0, np.pi), rng.uniform(6, 40)
        picture += 0.02 * np.sin(2 * np.pi * (rows * np.sin(angle) + cols * np.cos(angle)) / period)
    for _ in range(8):
        y, x, r = rng.uniform(0, SIZE, 2).tolist() + [rng.uniform(5, 25)]
        picture[(rows - y) ** 2 + (cols - x) ** 2 < r**2] += rng.uniform(-0.15, 0.15)
    return np.stack([picture] * 3)


def noisy(picture: np.ndarray, sigma: float, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(picture + np.random.default_rng(seed).normal(0, sigma, picture.shape))[None].float()


def test_the_filter_is_orthonormal_and_kills_ramps() -> None:
    high = np.array(DB2_HIGH)
    assert np.sum(high**2) == pytest.approx(1)
    assert high[:2] @ high[2:] == pytest.approx(0)
    assert high.sum() == pytest.approx(0, abs=1e-12)
    assert high @ np.arange(4) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("sigma", [2.55 / 255, 7.65 / 255, 25 / 255])
@pytest.mark.parametrize("picture", [flat, ramp])
def test_known_noise_on_smooth_pictures(picture, sigma: float) -> None:
    assert estimate_noise(noisy(picture(), sigma)).item() == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize("sigma", [7.65 / 255, 25 / 255])
def test_known_noise_on_texture(sigma: float) -> None:
    assert estimate_noise(noisy(textured(), sigma)).item() == pytest.approx(sigma, rel=0.1)


def test_a_clean_picture_has_hardly_any() -> None:
    assert estimate_noise(noisy(ramp(), 0)).item() < 1e-6
    assert estimate_noise(noisy(textured(), 0)).item() < 1.5 / 255


def test_eight_bit_rounding_is_seen_as_uniform_noise() -> None:
    rounded = (noisy(ramp(), 2 / 255) * 255).round() / 255
    assert estimate_noise(rounded).item() == pytest.approx(np.hypot(2, 12**-0.5) / 255, rel=0.05)


def test_clipped_areas_do_not_hide_the_noise() -> None:
    y = noisy(flat(), 0.04)
    y[..., : SIZE * 2 // 3] = 1  # a blown-out sky over most of the picture
    assert estimate_noise(y).item() == pytest.approx(0.04, rel=0.05)


def test_each_picture_of_a_batch_by_itself() -> None:
    batch = torch.cat([noisy(flat(), 0.01), noisy(flat(), 0.05)])
    sigma = estimate_noise(batch)
    assert sigma.shape == (2,)
    assert sigma[0] < 0.011 and sigma[1] > 0.045


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (4, 4), (5, 7)])
def test_tiny_pictures_give_a_number(size: tuple[int, int]) -> None:
    sigma = estimate_noise(torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0)))
    assert sigma.shape == (2,) and torch.isfinite(sigma).all()


@pytest.mark.parametrize("thin", [8, 9, 10, 11])
def test_thin_photos_are_too_small_to_tell_white_noise(thin: int) -> None:
    """They have blocks enough, but not all of them are left in the details."""
    for y in (torch.rand(1, 3, thin, 200 * BLOCK), torch.rand(1, 3, 200 * BLOCK, thin)):
        assert is_white(y, torch.full((1,), 0.3)).shape == (1,)


def test_autocast_makes_no_difference():
    """bfloat16 has a step of 1/256 near 1, more than the noise of most photos."""
    y = 0.5 + 0.3 / 255 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = estimate_noise(y)
    assert found.dtype == torch.float32 and torch.equal(found, estimate_noise(y))


def detailed() -> np.ndarray:
    """Texture down to single pixels nearly everywhere, as an enlarged photo has it, in colours that vary slowly."""
    rng = np.random.default_rng(7)
    gray = 0.08 * rng.standard_normal((SIZE, SIZE)) * np.linspace(0.02, 1, SIZE)[:, None]
    rows, cols = np.mgrid[:SIZE, :SIZE] / SIZE
    return 0.4 + gray + 0.1 * np.stack([rows, cols, 1 - rows])


@pytest.mark.parametrize("sigma", [2.55 / 255, 7.65 / 255])
def test_texture_that_colours_share_is_no_noise(sigma: float) -> None:
    y = noisy(detailed(), sigma)
    assert estimate_noise(y).item() == pytest.approx(sigma, rel=0.03)
    assert wavelet_noise(y).item() > 1.3 * sigma


@pytest.mark.parametrize("gains", [(1, 1, 1), (0.5, 1, 2)])
def test_noise_that_colours_share_is_not_taken_for_texture(gains: tuple[float, float, float]) -> None:
    """It is not white: who knows better is asked."""
    noise = np.random.default_rng(3).normal(0, 5 / 255, (1, SIZE, SIZE)) * np.array(gains)[:, None, None]
    y = torch.from_numpy(ramp() + noise)[None].float()
    assert estimate_noise(y, torch.tensor([0.017])).item() == pytest.approx(0.017)
    assert torch.equal(estimate_noise(y), wavelet_noise(y))


def test_colours_at_half_the_resolution_say_nothing() -> None:
    """As JPEG stores them: the noise of brightness is all that is left."""
    y = noisy(ramp(), 5 / 255)
    gray = y.mean(1, keepdim=True)
    colour = torch.nn.functional.avg_pool2d(y - gray, 2)
    y = gray + torch.nn.functional.interpolate(colour, scale_factor=2, mode="bilinear")
    assert torch.equal(estimate_noise(y, torch.tensor([0.25])), torch.tensor([0.25]))


def test_colours_are_asked_for_every_picture_by_itself() -> None:
    white, gray = noisy(ramp(), 0.02), noisy(ramp()[:1], 0.02).expand(-1, 3, -1, -1)
    found = estimate_noise(torch.cat([white, gray]), torch.tensor([0.5, 0.25]))
    assert found[0].item() == pytest.approx(0.02, rel=0.03) and found[1].item() == 0.25
    assert torch.equal(found[:1], estimate_noise(white, torch.tensor([0.5])))


def test_a_blown_out_sky_is_not_the_flattest_part() -> None:
    """Clipped noise would make every other noise look coloured or white by chance."""
    y = noisy(detailed(), 0.02)
    y[..., : SIZE // 2] = 1
    assert estimate_noise(y, torch.tensor([0.5])).item() == pytest.approx(0.02, rel=0.04)
    assert estimate_noise(torch.ones(1, 3, 32, 32), torch.tensor([0.5])).item() == 0.0
