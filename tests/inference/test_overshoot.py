"""Gaussians that are wider than the blur."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from blindsr.evaluation.metrics import psnr
from blindsr.inference.boundary import pad
from blindsr.inference.facade import BlindSR
from blindsr.inference.overshoot import MOST, NARROWER, SHARE, narrowed, outside, overshoot, shows_width, within_range
from blindsr.inference.trial import Trial
from blindsr.kernels.distance import kernel_distance
from blindsr.kernels.gaussian import gaussian
from blindsr.kernels.resized import resized
from blindsr.ops.filtering import blur
from blindsr.ops.fourier import grid_shift
from blindsr.ops.resize import bicubic_shrink, decimate

WIDTH = 2.0


def as_kernel(k: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(k).float()[None, None]


@pytest.fixture(scope="module")
def contrasty(mirrored) -> torch.Tensor:
    """With some black and white."""
    x = mirrored(96)
    low, high = torch.quantile(x, 0.002), torch.quantile(x, 0.998)
    return ((x - low) / (high - low)).clamp(0, 1)


def _trial(model, x: torch.Tensor, kernel: torch.Tensor, grid: str) -> Trial:
    shift = grid_shift(grid, 2)
    y = (255 * decimate(blur(x, kernel, shift=shift), 2)).round() / 255
    return Trial(model, pad(y, 2, None), 2, torch.full((len(y),), 0.29 / 255), shift)


@pytest.fixture(scope="module")
def page() -> torch.Tensor:
    """Black print on white."""
    gray = np.full((192, 192), 255, np.uint8)
    for line in range(5):
        cv2.putText(gray, "blind 0123", (4, 36 + 36 * line), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 0, 3, cv2.LINE_AA)
    return (torch.from_numpy(gray).float() / 255).repeat(1, 3, 1, 1)


@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_too_wide_a_kernel_is_made_narrower(tiny, contrasty, grid):
    wide, true = (as_kernel(gaussian(25, width)) for width in (1.2 * WIDTH, WIDTH))
    stands_for = (lambda k: resized(k, 2)) if grid == "centre" else (lambda k: k)
    trial, sure = _trial(tiny, contrasty, stands_for(true), grid), torch.tensor([0.05])
    with torch.inference_mode():
        before = trial.restored(stands_for(wide), sure)
        after = within_range(trial, wide, torch.tensor([True]), before)
        untouched = within_range(trial, wide, torch.tensor([False]), before)
        right = trial.restored(stands_for(true), sure)
    assert untouched is before
    assert overshoot(trial, before.x) > SHARE
    assert overshoot(trial, after.x) == pytest.approx(SHARE, rel=0.5)
    gain = psnr(after.x.clamp(0, 1), contrasty, 8) - psnr(before.x.clamp(0, 1), contrasty, 8)
    assert gain > 2
    errors = [kernel_distance(i.kernel, right.kernel).item() for i in (before, after)]
    assert errors[1] < 0.6 * errors[0]


def test_a_right_kernel_stays(tiny, contrasty):
    """Also in this photo, which overshoots a little with the true one, nothing is lost; less contrast shows nothing."""
    true, wanted = as_kernel(gaussian(25, 1.4)), torch.tensor([True])
    trial, dull = (_trial(tiny, x, true, "corner") for x in (contrasty, 0.1 + 0.8 * contrasty))
    with torch.inference_mode():
        found = trial.restored(true, torch.tensor([0.05]))
        after = within_range(trial, true, wanted, found)
        without = dull.restored(true, torch.tensor([0.05]))
        assert within_range(dull, true, wanted, without) is without
    before, after = (psnr(i.x.clamp(0, 1), contrasty, 8).item() for i in (found, after))
    assert after > before - 0.2


def test_print_says_nothing(tiny, page):
    """With the true kernel as much of it is outside as of a photo with one that is far too wide."""
    true = as_kernel(gaussian(25, 1.4))
    trial = _trial(tiny, page, true, "corner")
    with torch.inference_mode():
        found = trial.restored(true, torch.tensor([0.05]))
        assert overshoot(trial, found.x) > MOST
        assert within_range(trial, true, torch.tensor([True]), found) is found


def test_where_a_narrower_kernel_is_the_same_nothing_more_is_tried(tiny, contrasty, monkeypatch):
    """A photo that was merely reduced: the narrowest that a kernel can be is the filter of the reduction."""
    shift, narrow, calls = grid_shift("centre", 2), as_kernel(gaussian(25, 0.5)), []
    y = (255 * bicubic_shrink(contrasty, 2)).round() / 255
    trial = Trial(tiny, pad(y, 2, None), 2, torch.tensor([0.29 / 255]), shift)
    with torch.inference_mode():
        found = trial.restored(resized(narrow, 2), torch.tensor([0.05]))
        found.x[..., 1::2, :] *= 1.2  # so that it seems to overshoot
        restored = Trial.restored
        monkeypatch.setattr(Trial, "restored", lambda *given: (calls.append(None), restored(*given), found)[2])
        assert SHARE < overshoot(trial, found.x) < MOST
        assert within_range(trial, narrow, torch.tensor([True]), found) is found
    assert len(calls) == 1


def test_photos_of_a_batch_as_each_alone(tiny, contrasty):
    """One overshoots, the other, the same without its contrast, does not."""
    wide, both = as_kernel(gaussian(25, 1.2 * WIDTH)), torch.cat([contrasty, 0.3 + 0.4 * contrasty])
    trial = _trial(tiny, both, as_kernel(gaussian(25, WIDTH)), "corner")
    alone = _trial(tiny, contrasty, as_kernel(gaussian(25, WIDTH)), "corner")
    wanted, doubt = torch.tensor([True, True]), torch.tensor([0.05, 0.05])
    with torch.inference_mode():
        found = trial.restored(wide.repeat(2, 1, 1, 1), doubt)
        after = within_range(trial, wide.repeat(2, 1, 1, 1), wanted, found)
        single = within_range(alone, wide, wanted[:1], alone.restored(wide, doubt[:1]))
    torch.testing.assert_close(after.kernel[:1], single.kernel, atol=1e-5, rtol=0)
    assert torch.equal(after.kernel[1:], wide)
    torch.testing.assert_close(after.x[1:], found.x[1:], atol=2e-3, rtol=0)


def test_a_gaussian_is_narrowed_by_the_factor(tiny, contrasty):
    trial = _trial(tiny, contrasty, as_kernel(gaussian(25, 2.0)), "corner")
    for factor in NARROWER:
        k = narrowed(trial, as_kernel(gaussian(25, 2.0, 1.0, 0.4)), torch.tensor([factor]))
        torch.testing.assert_close(k, as_kernel(gaussian(25, 2.0 * factor, factor, 0.4)), atol=1e-6, rtol=0)


def test_a_pixel_is_outside_by_any_colour():
    x = torch.full((1, 3, 2, 2), 0.5)
    x[0, 0, 0, 0], x[0, 1, 0, 1], x[0, 2, 1, 0] = -0.03, 1.03, 1.01
    expected = torch.tensor([[True, True], [False, False]])
    assert torch.equal(outside(x)[0], expected)
    assert torch.equal(outside(x[0].permute(1, 2, 0), dim=-1), expected)


def test_people_are_told_of_a_given_kernel_that_is_too_wide(contrasty):
    """And not where it is right, nor of an estimate alone."""
    model = BlindSR.from_pretrained("tiny", precision="fp32")
    y = decimate(blur(contrasty, as_kernel(gaussian(25, 1.4))), 2)[0].permute(1, 2, 0)
    photo = (255 * y.clamp(0, 1)).round().to(torch.uint8).numpy()
    right, wide = (model.restore(photo, 2, f"gaussian:{width}", 0.0, "corner", "circular") for width in (1.4, 2.4))
    assert right.advice() is None and right.record()["overshoot"] < 2 * SHARE
    told = f"{100 * wide.overshoot:.0f} % of the result left the range of brightness, as by a kernel wider than the blur"
    assert wide.advice() == told + " or borders that are not circular; compare with a narrower one"
    tiled = model.restore(photo, 2, "gaussian:2.4", 0.0, "corner", tile=48)
    assert tiled.tiles > 1 and tiled.overshoot == pytest.approx(wide.overshoot, rel=0.3)
    assert tiled.advice().endswith("wider than the blur; compare with a narrower one")
    estimate = model.estimate(photo, 2)
    assert estimate.overshoot is None and "overshoot" not in estimate.record()


def test_nobody_is_told_where_it_means_nothing(page):
    model = BlindSR.from_pretrained("tiny", precision="fp32")
    y = decimate(blur(page, as_kernel(gaussian(25, 1.4))), 2)[0].permute(1, 2, 0)
    photo = (255 * y.clamp(0, 1)).round().to(torch.uint8).numpy()
    restored = model.restore(photo, 2, "gaussian:1.4", 0.0, "corner", "circular")
    assert restored.overshoot is None and restored.advice() is None and "overshoot" not in restored.record()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_which_photos_show_the_width_of_a_kernel(dtype):
    top = np.iinfo(dtype).max
    pixels = np.full((300, 10, 3), top // 2, dtype)
    pixels[:30, :, 1] = top
    assert shows_width(pixels)
    pixels[299, 0, 2] = 0
    assert not shows_width(pixels)
