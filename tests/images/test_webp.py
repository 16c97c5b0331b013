"""The quantiser that a WebP file names."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from blindsr import images
from blindsr.images.webp import STEPS, quantiser_step


def stored(**options) -> io.BytesIO:
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    mode = options.pop("mode", "RGB")
    small = Image.fromarray(rng.integers(0, 255, (12, 12, len(mode)), np.uint8), mode)
    small.resize((96, 96), Image.Resampling.BICUBIC).save(file, "WEBP", **options)
    return file


def test_steps() -> None:
    assert len(STEPS) == 128 and (STEPS[0], STEPS[54], STEPS[127]) == (4, 58, 284) and list(STEPS) == sorted(STEPS)


def test_the_best_quality_has_the_finest_steps_and_others_coarser_ones() -> None:
    steps = [quantiser_step(stored(quality=quality)) for quality in (100, 90, 75, 50, 20, 0)]
    assert steps[0] == 4 and steps == sorted(steps) and steps[-1] > 100


@pytest.mark.parametrize("options", [{"mode": "RGBA"}, {"icc_profile": b"profile"}, {"exif": b"Exif\0\0 odd"}])
def test_whatever_else_is_in_the_file(options) -> None:
    """Extended files hold other chunks before the pixels; of RGBA the colours are stored as those of RGB are."""
    assert quantiser_step(stored(quality=60, **options)) == quantiser_step(stored(quality=60, mode=options.get("mode", "RGB")))
    assert 10 < quantiser_step(stored(quality=60, **options)) < 60


def test_the_first_frame_of_an_animation() -> None:
    still = Image.open(stored(quality=60))
    file = io.BytesIO()
    still.save(file, "WEBP", quality=60, save_all=True, append_images=[still.rotate(90)])
    assert b"ANMF" in file.getvalue() and 10 < quantiser_step(file) < 80


def test_none_without_loss_or_understanding() -> None:
    assert quantiser_step(stored(lossless=True)) is None
    for data in (b"", b"RIFF", b"RIFF\0\0\0\0WEBPVP8 \xff\xff\xff\xff", b"RIFF\0\0\0\0WEBP" + b"abcd\0\0\0\0" * 9):
        assert quantiser_step(io.BytesIO(data)) is None
    cut = stored(quality=50).getvalue()[:32]
    assert quantiser_step(io.BytesIO(cut)) is not None  # zeros follow; the decoder of the pixels will complain


def test_a_photo_knows_what_its_webp_left_out(tmp_path) -> None:
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8))
    sharp = np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC))
    images.write(tmp_path / "y.png", images.Photo(sharp))
    noise = []
    for quality in (95, 80, 50):
        Image.fromarray(sharp).save(tmp_path / "y.webp", quality=quality)
        photo = images.read(tmp_path / "y.webp")
        error = ((photo.pixels.astype(float) - sharp) @ [0.299, 0.587, 0.114]).std()
        noise.append(photo.coding_noise)
        assert 0.5 * error < photo.coding_noise < 3 * error
    assert noise == sorted(noise) and images.read(tmp_path / "y.png").coding_noise is None
