import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from blindsr import images
from blindsr.evaluation.niqe import niqe
from blindsr.interfaces import BlindSRError

ROOT = Path(__file__).resolve().parents[2]


def sample(name: str) -> np.ndarray:
    """A shipped photo, mirrored at its lower and right edges so that it holds several blocks: (2H, 2W, 3) uint8."""
    pixels = images.read(ROOT / "docs" / "samples" / name).pixels
    return np.pad(pixels, ((0, pixels.shape[0]), (0, pixels.shape[1]), (0, 0)), mode="symmetric")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return sample("harbour.png")


# Values of the reference with its released parameters; MATLAB's for the baboon is 5.7296.
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("set14/baboon.png", 5.7300),
        ("set5/butterfly.png", 5.1549),
        ("bsd68/test_01.png", 2.8178),
        ("realsrset/tiger.png", 7.1274),
        ("set14/lenna.png", 5.1973),
    ],
)
def test_agrees_with_the_reference(name, value):
    """Needs the usual test photos in test/ of the folder BLINDSR_DATA, or of a folder ``data`` beside the checkout."""
    data = os.environ.get("BLINDSR_DATA")
    folders = [Path(data)] if data else sorted(ROOT.parent.glob("*/data"))
    paths = [folder / "test" / name for folder in folders if (folder / "test" / name).is_file()]
    if not paths:
        pytest.skip("the test photos are not at hand (set BLINDSR_DATA)")
    assert niqe(images.read(paths[0]).pixels) == pytest.approx(value, abs=0.001)


# Computed here, by the program that passes the test above.
@pytest.mark.parametrize(("name", "value"), [("kitten.png", 4.7813), ("harbour.png", 4.8809)])
def test_shipped_photos(name, value):
    assert niqe(sample(name)) == pytest.approx(value, abs=0.002)


def test_one_block_has_a_value():
    assert niqe(images.read(ROOT / "docs" / "samples" / "harbour.png").pixels) == pytest.approx(5.2931, abs=0.002)


def test_noise_and_blur_make_it_worse(photo):
    noise = np.random.default_rng(0).normal(0, 1, photo.shape)
    noisy = [niqe(np.clip(photo / 255 + level / 255 * noise, 0, 1)) for level in (0, 5, 10, 25, 50)]
    blurred = [niqe(photo), *(niqe(cv2.GaussianBlur(photo, (0, 0), width)) for width in (1, 2, 3))]
    assert noisy == sorted(noisy) and noisy[-1] > noisy[0] + 5
    assert blurred == sorted(blurred) and blurred[-1] > blurred[0] + 3


def test_the_depth_does_not_matter(photo):
    assert niqe(photo.astype(np.uint16) * 257) == pytest.approx(niqe(photo), abs=1e-9)
    assert niqe(photo / 255) == pytest.approx(niqe(photo), abs=1e-9)
    assert niqe(photo.astype(np.float32) / 255) == pytest.approx(niqe(photo), abs=1e-3)


def test_gray_counts_as_equal_channels(photo):
    gray = photo[..., 1]
    assert niqe(gray) == niqe(gray[..., None]) == niqe(np.repeat(gray[..., None], 3, axis=2))


def test_border_and_incomplete_blocks_are_left_out(photo):
    framed = np.pad(photo, ((4, 4), (4, 4), (0, 0)), constant_values=255)
    assert niqe(framed, border=4) == niqe(photo)
    assert niqe(photo[:192, :192]) == niqe(photo)


@pytest.mark.parametrize(
    ("image", "border", "words"),
    [
        (np.zeros((95, 200, 3), np.uint8), 0, r"96×96 pixels, not 200×95"),
        (np.zeros((120, 120), np.uint8), 13, r"96×96 pixels, not 94×94"),
        (np.zeros((40, 40), np.uint8), 50, r"96×96 pixels, not 0×0"),
        (np.full((200, 200, 3), 0.3), 0, "flat"),
        (np.full((96, 96), 77, np.uint8), 0, "flat"),
        (np.full((96, 96), np.nan), 0, "NaN"),
        (np.zeros((96, 96, 4), np.uint8), 0, "gray or RGB"),
        (np.zeros((96, 96), np.int64), 0, "gray or RGB"),
        (np.zeros(96, np.uint8), 0, "gray or RGB"),
    ],
)
def test_what_cannot_be_judged_is_refused(image, border, words):
    with pytest.raises(BlindSRError, match=words) as error:
        niqe(image, border)
    assert "\n" not in str(error.value)
