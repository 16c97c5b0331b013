"""Pixels tell of the JPEG that they were, and of none where there was none."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from blindsr import images
from blindsr.images.containers import jpeg_step
from blindsr.images.history import past_step


def picture(side: int = 192, seed: int = 0) -> np.ndarray:
    """(side, side, 3) uint8 of many scales, as photos are; a corner of it is cut off at white."""
    axes = np.fft.fftfreq(side)[:, None, None], np.fft.rfftfreq(side)[None, :, None]
    spectrum = np.fft.rfft2(np.random.default_rng(seed).normal(size=(side, side, 3)), axes=(0, 1))
    wave = np.fft.irfft2(spectrum / (0.01 + np.hypot(*axes)) ** 1.6, (side, side), axes=(0, 1))
    levels = 128 + 40 * (wave - wave.mean()) / wave.std()
    levels[:40, :40] += 150
    return levels.clip(0, 255).round().astype(np.uint8)


def as_jpeg(pixels: np.ndarray, quality: int, **options) -> tuple[np.ndarray, float]:
    """What a JPEG leaves of the pixels, and its own steps."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, **options)
    read = Image.open(file)
    return np.asarray(read), jpeg_step(read)


@pytest.mark.parametrize("quality", [95, 85, 70, 50, 30])
@pytest.mark.parametrize("top, left", [(0, 0), (3, 6)])
def test_the_steps_of_a_jpeg_are_found(quality: int, top: int, left: int) -> None:
    """To the step, however it was cropped; at 95, where most are 1, to a tenth."""
    pixels, step = as_jpeg(picture(), quality)
    assert past_step(pixels[top:, left:]) == pytest.approx(step, rel=0.1 if quality == 95 else 0.02)


def test_other_jpegs() -> None:
    """Colours at full resolution, gray, and steps that are not in the usual proportion."""
    flat = [[6] * 64, [6] * 64]
    for pixels, options in ((picture(), {"subsampling": 0}), (picture()[..., 0], {}), (picture(), {"qtables": flat})):
        kept, step = as_jpeg(pixels, 75, **options)
        assert past_step(kept if kept.ndim == 3 else kept[..., None]) == pytest.approx(step, rel=0.1)


def test_a_large_one_is_looked_at_in_pieces() -> None:
    pixels, step = as_jpeg(np.tile(picture(), (6, 7, 1)), 70)
    assert past_step(pixels[1:, 5:]) == pytest.approx(step, rel=0.02)


def test_none_where_there_was_none() -> None:
    sharp = picture()
    kept, _ = as_jpeg(sharp, 70)
    rows, cols = np.indices((128, 128))
    drawn = np.stack([(rows // 8 + cols // 8) % 2 * 200, rows, np.full_like(rows, 77)], axis=2).astype(np.uint8)
    others = {
        "never": sharp,
        "best quality": as_jpeg(sharp, 100)[0],
        "coarse levels": sharp // 16 * 16,
        "larger pixels": sharp[:48, :48].repeat(8, 0).repeat(8, 1),
        "smaller": cv2.resize(kept, (150, 150), interpolation=cv2.INTER_AREA),
        "larger": cv2.resize(kept, (300, 300), interpolation=cv2.INTER_CUBIC),
        "smoothed": cv2.GaussianBlur(kept, (0, 0), 0.7),
        "drawn": drawn,
        "one colour": np.full((64, 64, 3), 99, np.uint8),
        "white": np.full((64, 64, 3), 255, np.uint8),
        "one pixel": sharp[:1, :1],
        "a line": sharp[:3],
    }
    assert {name: past_step(pixels) for name, pixels in others.items()} == dict.fromkeys(others)


def test_a_photo_with_its_history() -> None:
    kept, step = as_jpeg(picture(), 60)
    photo = images.Photo(kept)
    assert images.with_history(photo).coding_noise == pytest.approx(images.CODING_NOISE["JPEG"] * step**0.5, rel=0.02)
    assert images.with_history(images.Photo(kept, coding_noise=3.0)).coding_noise == 3.0  # its file knows best
    assert images.with_history(images.Photo(picture())).coding_noise == 0 and not images.Photo(picture()).coded
    assert images.with_history(images.Photo(kept.astype(np.uint16) * 257)).coding_noise is None
