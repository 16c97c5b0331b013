"""Gray photos, whose noise is the same in every colour, restored by models that know white noise."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from blindsr import images
from blindsr.inference.facade import BlindSR
from blindsr.inference.gray import SIDE, WHITE, is_gray, of_gray, whitened
from blindsr.interfaces import Estimate
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import LUMA_NOISE, blur

K = gaussian(25, 2.2)


@pytest.fixture(scope="module", params=["tiny", "tiny-real"])
def shipped(request) -> BlindSR:
    return BlindSR.from_pretrained(request.param, device="cpu")


@pytest.fixture(scope="module")
def truth(mirrored) -> torch.Tensor:
    return mirrored(96).mean(1, keepdim=True)


def photo(truth: torch.Tensor, sigma_255: float) -> np.ndarray:
    """(H, W) uint8"""
    y = 255 * blur(truth, torch.from_numpy(K).float()[None, None])[0, 0].numpy()
    return (y + np.random.default_rng(0).normal(0, sigma_255, y.shape)).clip(0, 255).round().astype(np.uint8)


def quality(image: np.ndarray, truth: torch.Tensor) -> float:
    error = (image / 255 - truth[0, 0].numpy())[16:-16, 16:-16]
    return -10 * np.log10((error**2).mean())


def test_what_is_added_makes_the_noise_white():
    level = torch.tensor([0.1])
    own = torch.randn(1, 1, 300, 400, generator=torch.Generator().manual_seed(1)).expand(-1, 3, -1, -1)
    noise = whitened(own * level / WHITE, level)[0].flatten(1)
    torch.testing.assert_close(torch.cov(noise) / level**2, torch.eye(3), atol=0.02, rtol=0)
    torch.testing.assert_close(noise.mean(0), (own * level / WHITE)[0, 0].flatten(), atol=1e-6, rtol=0)


def test_a_piece_gets_the_noise_of_its_place():
    y, level = torch.full((2, 3, SIDE + 60, 80), 0.5), torch.tensor([0.1, 0.0])
    whole = whitened(y, level)
    piece = whitened(y[..., SIDE - 20 : SIDE + 30, 7:40], level, SIDE - 20, 7)
    assert torch.equal(piece, whole[..., SIDE - 20 : SIDE + 30, 7:40])
    assert torch.equal(whole[1], y[1]) and not torch.equal(whole[0], y[0])


def test_what_is_gray():
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    assert not is_gray(pixels, 2) and is_gray(pixels[..., :1], 2) and is_gray(pixels[..., :1].repeat(3, 2), 2)
    assert is_gray(torch.ones(1, 3, 4, 4), 1) and not is_gray(torch.rand(1, 3, 4, 4), 1)


def test_what_an_estimate_of_a_gray_photo_says():
    first = Estimate(None, torch.tensor([0.1, 0.0]), None)
    by_brightness, by_wavelets = (of_gray(first, SimpleNamespace(initial=i), 0.001).sigma for i in (object(), None))
    torch.testing.assert_close(by_brightness, WHITE * torch.tensor([0.1 * LUMA_NOISE, 0.001]))
    torch.testing.assert_close(by_wavelets, WHITE * torch.tensor([0.1, 0.001]))


@pytest.mark.parametrize("sigma_255", [0, 5])
def test_gray_photos_are_restored(shipped, truth, sigma_255):
    """Told the true kernel or not; of rounding alone there had been 19 dB, of more noise 6."""
    y = photo(truth, sigma_255)
    told = shipped.restore(y, 1, kernel=K, sigma=sigma_255 / 255, boundary="circular")
    blind = shipped.restore(y, 1, boundary="circular")
    least = quality(y, truth) + 1
    assert quality(told.image, truth) > least and quality(blind.image, truth) > least - 0.5
    assert told.sigma == pytest.approx(sigma_255 / 255) and 255 * blind.sigma == pytest.approx(sigma_255, abs=1)
    assert told.image.shape == blind.image.shape == y.shape


def test_files_with_three_equal_colours_are_gray_too(shipped, truth):
    y = photo(truth, 5)
    one, three = (shipped.restore(p, 1, kernel=K, sigma=5 / 255).image for p in (y, np.stack([y] * 3, axis=-1)))
    assert np.array_equal(np.stack([one] * 3, axis=-1), three)


def test_tiles_of_gray_photos_join(shipped, truth):
    y = photo(truth, 5)
    whole, tiles = (shipped.restore(y, 1, kernel=K, sigma=5 / 255, tile=tile).image for tile in (None, 96))
    assert np.abs(whole.astype(int) - tiles)[16:-16, 16:-16].max() <= 3


def test_a_kernel_for_every_part(shipped, truth):
    y = photo(truth, 5)
    varying = shipped.restore(y, 1, per_tile=True)
    assert quality(varying.image, truth) > quality(y, truth) + 0.5 and 255 * varying.sigma == pytest.approx(5, abs=1)


def test_sixteen_bits(shipped, truth):
    y = images.from_float(blur(truth, torch.from_numpy(K).float()[None, None])[0, 0].numpy(), np.uint16)
    image = shipped.restore(y, 1, kernel=K, boundary="circular").image
    assert quality(image / 257, truth) > quality(y / 257, truth) + 3
