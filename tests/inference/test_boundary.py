"""Padding: sizes, continuity across the wrap-around, and that it does what it is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import next_fast_len

from blindsr.inference.boundary import MARGIN, close_circle, fast_length, mirror, pad
from blindsr.interfaces import BlindSRError
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import blur, inside
from blindsr.ops.fourier import DataStep


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth, not periodic, with a strong slope, so that its borders differ."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:height, :width]
    x = 0.2 + 0.5 * cols / width + 0.2 * rows / height
    for _ in range(6):
        angle, period = rng.uniform(0, np.pi), rng.uniform(8, 30)
        x = x + 0.03 * np.sin(2 * np.pi * (rows * np.sin(angle) + cols * np.cos(angle)) / period + rng.uniform(0, 6))
    x[height // 3 : height // 2] += 0.15
    return torch.from_numpy(np.stack([x, 1 - x, x * x]))[None].float()


@pytest.mark.parametrize("boundary", ["reflect", "taper", "circular"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (17, 31), (64, 40)])
def test_the_crop_undoes_the_padding(size: tuple[int, int], scale: int, boundary: str) -> None:
    y = picture(*size)
    padded = pad(y, scale, (25, 21), boundary, multiple=8)
    assert torch.isfinite(padded.y).all()
    if boundary != "taper":
        assert torch.equal(padded.crop(padded.y, 1), y)
    enlarged = padded.y.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    assert padded.crop(enlarged, scale).shape == (1, 3, size[0] * scale, size[1] * scale)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [(1, 1), (25, 25), (71, 9)])
def test_reflection_leaves_room_for_the_kernel_in_sizes_quick_to_transform(scale: int, kernel: tuple[int, int]) -> None:
    padded = pad(picture(37, 53), scale, kernel, "reflect", multiple=8)
    places = zip((padded.top, padded.left), (37, 53), padded.y.shape[-2:], kernel, padded.margin)
    for start, length, total, side, (before, after) in places:
        least = -(-(side // 2) // scale) + MARGIN
        assert start >= least and total - start - length >= least
        assert start * scale % 8 == 0 and total * scale % 8 == 0
        assert next_fast_len(total * scale) == total * scale
        assert total <= 1.6 * (length + 2 * least) + 16
        assert before >= start and after >= total - start - length  # all that is made up
        assert before + after <= total - length // 2
        assert abs(total - length - 2 * start) <= 8 or start - 8 < least or total - length - start - 8 < least  # the middle


def test_fast_length() -> None:
    assert [fast_length(n, 1) for n in (1, 16, 17, 97)] == [1, 16, 18, 98]
    assert fast_length(13, 3, 8) == 16 and fast_length(150, 4, 8) == 150


@pytest.mark.parametrize("length", [2, 3, 7])
def test_mirroring_is_that_of_numpy_however_far(length: int) -> None:
    expected = np.pad(np.arange(length), 40, mode="reflect")
    assert mirror(torch.arange(-40, length + 40), length).tolist() == expected.tolist()
    assert mirror(torch.arange(-3, 4), 1).tolist() == [0] * 7


def test_the_padded_photo_closes_on_itself() -> None:
    y = picture(40, 60)
    wide = close_circle(y, -1, 90, 15)
    jumps = (wide - wide.roll(1, -1)).abs()
    assert (y[..., 0] - y[..., -1]).abs().max() > 0.4  # what plain wrap-around would jump by
    assert jumps.max() < 2 * y.diff(dim=-1).abs().max()
    padded = pad(y, 2, (25, 25)).y
    for dimension in (-1, -2):
        seam = (padded.select(dimension, 0) - padded.select(dimension, -1)).abs().max()
        assert seam < 1.5 * y.diff(dim=dimension).abs().max()


def test_taper_softens_the_seam_and_keeps_the_middle() -> None:
    y = picture(64, 64)
    tapered = pad(y, 1, (25, 25), "taper").y
    assert torch.equal(tapered[..., 16:48, 16:48], y[..., 16:48, 16:48])
    assert (tapered[..., 0] - tapered[..., -1]).abs().mean() < 0.2 * (y[..., 0] - y[..., -1]).abs().mean()


def test_it_prevents_ringing() -> None:
    """Deblurring a photo whose surroundings went into the blur: closed form, no network."""
    k = torch.from_numpy(gaussian(15, 1.5))[None, None].float()
    whole = picture(94, 94)
    truth, y = whole[..., 7:-7, 7:-7], blur(whole, k, "valid")

    def error(boundary: str) -> float:
        padded = pad(y, 1, (15, 15), boundary)
        step = DataStep(k, 1, tuple(padded.y.shape[-2:]))
        z = padded.crop(step(padded.y, padded.y, torch.tensor(1e-3)), 1)
        return float((z - truth).square().mean().sqrt())

    assert error("reflect") < 0.35 * error("circular")
    assert error("reflect") < error("taper") < 0.7 * error("circular")


def test_another_word_is_refused() -> None:
    with pytest.raises(BlindSRError, match="boundary 'wrap' is not known; use one of reflect, taper, circular"):
        pad(picture(8, 8), 1, (3, 3), "wrap")


@pytest.mark.parametrize("boundary", ["reflect", "taper"])
@pytest.mark.parametrize("scale", [1, 4])
def test_of_every_photo_something_counts(boundary: str, scale: int) -> None:
    """However thin it is, and however much is made up on its other sides: all but what the kernel reaches, or half."""
    for height, width in ((56, 256), (56, 257), (257, 56), (9, 120), (1, 40), (150, 150)):
        padded = pad(picture(height, width), scale, (25, 25), boundary, multiple=8)
        kept = inside(padded.y, padded.margin)
        reach = -(-12 // scale)
        assert kept.shape[-2:] == tuple(n - 2 * min(reach, n // 4) for n in (height, width))
        if boundary == "reflect":
            outer = 3 * reach  # of the photo itself the middle is kept
            if min(height, width) > 2 * outer:
                top, left = ((n - m) // 2 for n, m in zip((height, width), kept.shape[-2:]))
                assert torch.equal(kept, picture(height, width)[..., top : height - top, left : width - left])
