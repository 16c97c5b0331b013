from __future__ import annotations

import numpy as np
import pytest
import torch

from blindsr.estimators.noise import DB2_HIGH, estimate_noise

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


def test_autocast_makes_no_difference():
    """bfloat16 has a step of 1/256 near 1, more than the noise of most photos."""
    y = 0.5 + 0.3 / 255 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = estimate_noise(y)
    assert found.dtype == torch.float32 and torch.equal(found, estimate_noise(y))
