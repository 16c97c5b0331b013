"""Photos whose noise is not white, gray ones and JPEG among them, restored by models that know no other."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from blindsr import checkpoints, images
from blindsr.inference.facade import BlindSR
from blindsr.inference.white import SIDE, Noise, first_estimate, is_gray, noise_of
from blindsr.interfaces import Estimate, Iterate
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
    """PSNR in dB of (H, W[, C]) in levels."""
    error = (image / 255 - truth[0].permute(1, 2, 0).numpy().reshape(image.shape))[16:-16, 16:-16]
    return -10 * np.log10((error**2).mean())


def noise(spread: np.ndarray, seed: int = 1) -> torch.Tensor:
    """(1, 3, 300, 400) with the covariance ``spread`` (3, 3) of its colours."""
    white = torch.randn(1, 3, 300, 400, generator=torch.Generator().manual_seed(seed))
    return torch.einsum("ac,bchw->bahw", torch.from_numpy(np.linalg.cholesky(spread + 1e-12 * np.eye(3))).float(), white)


@pytest.mark.parametrize("share", [0, 0.25, 0.5, 1])
def test_what_is_added_makes_the_noise_white(share):
    """``share`` of the variance is the same in all colours."""
    sigma = torch.tensor([0.1])
    own = noise(0.01 * ((1 - share) * np.eye(3) + share))
    known = Noise(chroma=sigma * (1 - share) ** 0.5)
    level = known.told(sigma)
    whitened = known.whitened(own, level)[0].flatten(1)
    torch.testing.assert_close(torch.cov(whitened) / level**2, torch.eye(3), atol=0.02, rtol=0)
    torch.testing.assert_close(whitened.mean(0), own[0].mean(0).flatten(), atol=1e-6, rtol=0)
    torch.testing.assert_close(known.own(level), sigma)


def test_white_noise_is_left_alone():
    y, level = torch.rand(2, 3, 20, 30), torch.tensor([0.1, 0.0])
    known = Noise(0.5)
    assert known.told(level) is level and known.own(level) is level and known.whitened(y, level) is y


def test_more_chroma_than_brightness_is_taken_as_it_is():
    known, sigma = Noise(chroma=torch.tensor([0.2])), torch.tensor([0.1])
    assert known.told(sigma) == sigma and known.own(sigma) == sigma
    y = torch.rand(1, 3, 20, 30)
    assert torch.equal(known.whitened(y, sigma), y)


def test_a_piece_gets_the_noise_of_its_place():
    y, level, known = torch.full((2, 3, SIDE + 60, 80), 0.5), torch.tensor([0.1, 0.0]), Noise(chroma=torch.zeros(2))
    whole = known.whitened(y, level)
    piece = known.whitened(y[..., SIDE - 20 : SIDE + 30, 7:40], level, SIDE - 20, 7)
    assert torch.equal(piece, whole[..., SIDE - 20 : SIDE + 30, 7:40])
    assert torch.equal(whole[1], y[1]) and not torch.equal(whole[0], y[0])


def test_what_is_gray():
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    assert not is_gray(pixels, 2) and is_gray(pixels[..., :1], 2) and is_gray(pixels[..., :1].repeat(3, 2), 2)
    assert is_gray(torch.ones(1, 3, 4, 4), 1) and not is_gray(torch.rand(1, 3, 4, 4), 1)


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_what_a_first_estimate_says(share):
    """Estimators see the luma, wavelets every colour; rounding is there at least."""
    own, chroma = torch.tensor([0.1, 0.0]), torch.tensor([0.1 * (1 - share) ** 0.5, 0.0])
    luma = (chroma**2 * LUMA_NOISE**2 + share * own**2).sqrt()
    known = Noise(0.001, chroma)
    by_luma = known.of_first(Estimate(None, luma / LUMA_NOISE, None), SimpleNamespace(initial=object()))
    by_wavelets = known.of_first(Estimate(None, own, None), SimpleNamespace(initial=None))
    expected = torch.tensor([0.1 * (1 + 2 * share) ** 0.5, 3**0.5 * 0.001])
    torch.testing.assert_close(by_luma.sigma, expected)
    torch.testing.assert_close(by_wavelets.sigma, expected)


def test_results_of_gray_photos_are_gray():
    x, level = torch.rand(1, 3, 8, 8), torch.tensor([0.1])
    iterate = Iterate(x, None, None, level, None)
    assert Noise(chroma=torch.zeros(1)).in_own(iterate).x is x
    gray = Noise(chroma=torch.zeros(1), gray=True).in_own(iterate)
    assert is_gray(gray.x, 1) and gray.sigma == pytest.approx(0.1 / 3**0.5)


@pytest.mark.parametrize("share, white", [(0, True), (0.6, False), (1, False)])
def test_how_white_noise_is_told(shipped, mirrored, share, white):
    """In colour photos, by what an estimator sees of it in the luma and wavelets in the flattest parts."""
    sharp = mirrored(96)
    rng = np.random.default_rng(0)
    gray, other = rng.normal(0, 5 / 255, (1, 1, *sharp.shape[-2:])), rng.normal(0, 5 / 255, sharp.shape)
    y = blur(sharp, torch.from_numpy(K).float()[None, None])
    y = y + torch.from_numpy(share**0.5 * gray + (1 - share) ** 0.5 * other).float()
    with torch.inference_mode():
        first = first_estimate(shipped.model, y, 1, 0.0, coded=False)
        known = noise_of(y, 0.0, False, False, False, first.sigma)
        by_given = noise_of(y, 0.0, False, False, False, torch.tensor([5 / 255]))
    assert (known.chroma is None) == (by_given.chroma is None) == white
    assert 255 * float(known.own(known.of_first(first, shipped.model).sigma)) == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize("quality_of_jpeg, subsampling", [(95, 2), (70, 2), (95, 0)])
def test_jpeg_is_restored(shipped, mirrored, tmp_path, quality_of_jpeg, subsampling):
    """Told the true kernel or not. With what JPEG leaves out taken for exact there had been 15 to 24 dB."""
    sharp = mirrored(96)
    y = blur(sharp, torch.from_numpy(K).float()[None, None])[0].permute(1, 2, 0).numpy()
    Image.fromarray((255 * y).round().clip(0, 255).astype(np.uint8)).save(
        tmp_path / "y.jpg", quality=quality_of_jpeg, subsampling=subsampling
    )
    photo = images.read(tmp_path / "y.jpg")
    told, blind = (shipped.restore(photo, 1, kernel=kernel) for kernel in (K, None))
    before, *after = (quality(p, sharp) for p in (photo.pixels, told.image, blind.image))
    assert min(after) > before + 1
    assert told.sigma >= photo.rounding - 1e-7 and told.photo.coding_noise is None
    if quality_of_jpeg < 95:  # the pixels alone tell as much
        assert np.abs(shipped.restore(photo.pixels, 1, kernel=K).image.astype(int) - told.image).max() <= 2


def test_what_a_model_has_learned_is_not_made_white():
    """Of JPEG; noise that colours share is, and of gray photos all."""
    y = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    learned, other = (noise_of(y, 0.01, False, True, known, None) for known in (True, False))
    assert learned.chroma is None and other.chroma is not None and learned.least == other.least == 0.01
    assert noise_of(y, 0.01, True, True, True, None).gray
    knows = {name: checkpoints.load(name).model.knows_cameras for name in ("tiny", "tiny-real")}
    assert knows == {"tiny": False, "tiny-real": True}


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
