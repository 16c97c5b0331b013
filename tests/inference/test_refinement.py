"""Refining a kernel on the photo itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blindsr import checkpoints, images
from blindsr.evaluation.metrics import psnr
from blindsr.inference import overshoot
from blindsr.inference.boundary import pad
from blindsr.inference.facade import BlindSR
from blindsr.inference.passage import Passage
from blindsr.inference.refinement import HARDLY, ROUNDS, refine
from blindsr.inference.result import DOUBTFUL
from blindsr.inference.trial import Trial
from blindsr.interfaces import BlindSRError, Iterate, Restoration
from blindsr.kernels.bicubic import bicubic_kernel
from blindsr.kernels.defocus import disk
from blindsr.kernels.distance import kernel_distance
from blindsr.kernels.gaussian import gaussian
from blindsr.kernels.gaussian_fit import nearest_gaussian
from blindsr.kernels.motion import shake_motion
from blindsr.kernels.placing import on_box
from blindsr.ops.filtering import blur
from blindsr.ops.fourier import grid_shift, move
from blindsr.ops.resize import bicubic_shrink, decimate

SAMPLE = Path(__file__).parents[2] / "docs" / "samples" / "harbour.png"


@pytest.fixture(scope="module")
def sharp(mirrored) -> torch.Tensor:
    return mirrored(144)


def as_kernel(k: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(k).float()[None, None]


def _twice(found: Restoration) -> Restoration:
    """The same of two photos that are alike."""
    pairs = [{name: torch.cat([v, v]) for name, v in vars(i).items()} for i in found.iterates]
    return Restoration(tuple(Iterate(**pair) for pair in pairs))


LONG = gaussian(25, 2.4, 1.2, 2.2)


@pytest.mark.parametrize(
    "grid, k, gain",
    [
        ("corner", disk(25, 3.0), 4.0),
        ("centre", disk(25, 3.0), 4.0),
        ("corner", LONG, 0.2),
        ("centre", LONG, 0.1),  # a resize is taken for granted there, and none went over this photo
    ],
)
def test_it_helps(tiny, sharp, grid, k, gain):
    """Blur out of focus was never seen in training; it has a hypothesis of its own, as Gaussians have."""
    true, shift = as_kernel(k), grid_shift(grid, 2)
    y = decimate(blur(sharp, true, shift=shift), 2)
    with torch.inference_mode():
        found = tiny(y, 2, shift=shift)
        refined = refine(tiny, pad(y, 2, None), 2, found, shift)
        together = refine(tiny, pad(y.repeat(2, 1, 1, 1), 2, None), 2, _twice(found), shift)
    torch.testing.assert_close(together.x[1:], refined.x, atol=2e-3, rtol=0)
    assert refined.iterates[: len(found.iterates)] == found.iterates
    assert len(refined.iterates) == len(found.iterates) + 1
    for iterate in refined.iterates[len(found.iterates) :]:
        least = 0 if grid == "corner" else -0.02  # of the largest: the filter of a resize has negative taps
        assert (iterate.kernel >= least * iterate.kernel.max()).all()
        assert iterate.kernel.sum().item() == pytest.approx(1, abs=1e-5)
    before, after = (psnr(r.x.clamp(0, 1), sharp, 4).item() for r in (found, refined))
    assert after > before + gain


@pytest.mark.parametrize("scale", [2, 4])
def test_the_filter_of_a_resize_is_part_of_the_blur(tiny, sharp, scale):
    """On the centre grid: nobody blurred this photo but the reduction."""
    y, shift = (255 * bicubic_shrink(sharp, scale)).round() / 255, grid_shift("centre", scale)
    padded, true = pad(y, scale, None), as_kernel(bicubic_kernel(scale))
    with torch.inference_mode():
        found = tiny(y, scale, shift=shift, least_sigma=0.29 / 255)
        refined = refine(tiny, padded, scale, found, shift)
        told = tiny(y, scale, true, found.sigma)
    loops, answer, oracle = (psnr(r.x.clamp(0, 1), sharp, 8).item() for r in (found, refined, told))
    assert answer > loops + 0.1 and answer > oracle - 0.2
    assert kernel_distance(move(refined.kernel, shift), true).item() < 0.1


def test_photos_of_a_batch_are_refined_as_each_alone(tiny, sharp):
    """One is done after a single round, the other is not."""
    y = torch.cat([decimate(blur(sharp, as_kernel(k)), 2) for k in (gaussian(25, 1.6), shake_motion(25, 3))])
    with torch.inference_mode():
        found = tiny(y, 2)
        together = refine(tiny, pad(y, 2, None), 2, found)
        for n in (0, 1):
            one = Restoration(tuple(Iterate(*(v[n : n + 1] for v in vars(i).values())) for i in found.iterates))
            alone = refine(tiny, pad(y[n : n + 1], 2, None), 2, one)
            assert len(alone.iterates) == len(one.iterates) + (1, ROUNDS)[n]
            torch.testing.assert_close(together.x[n : n + 1], alone.x, atol=2e-3, rtol=0)
    assert len(together.iterates) == len(found.iterates) + ROUNDS


def test_gaussians_in_noise_are_told_by_the_first_estimate(tiny, sharp, monkeypatch):
    """Where nothing is enlarged: every look at a restoration made them narrower. Each photo of a batch by its own noise."""
    monkeypatch.setattr(overshoot, "SHARE", 1.0)  # what is made of that for the range of brightness is another matter
    true = as_kernel(gaussian(25, 1.4))
    y = blur(sharp, true).repeat(2, 1, 1, 1)
    y[1] += torch.randn(y[1].shape, generator=torch.Generator().manual_seed(0)) * 7.65 / 255
    with torch.inference_mode():
        found = tiny(y, 1)
        refined = refine(tiny, pad(y, 1, None), 1, found)
    first, answer = nearest_gaussian(found.iterates[0].kernel.float()), refined.iterates[len(found.iterates)].kernel
    assert kernel_distance(answer, first)[1].item() < 1e-3 < kernel_distance(answer, first)[0].item()
    assert kernel_distance(answer, true)[1].item() < 0.5 * kernel_distance(found.kernel.float(), true)[1].item()


@pytest.mark.parametrize("scale, most", [(1, 0.05), (2, 0.05), (4, 0.35)])
def test_how_far_a_gaussian_is_doubted(tiny, sharp, scale, most):
    """Little is enlarged: less than the estimators had thought of their kernel. Else as far as they had."""
    y = decimate(blur(sharp, as_kernel(gaussian(25, 1.6))), scale)
    with torch.inference_mode():
        found = tiny(y, scale)
        last = replace(found.iterates[-1], doubt=torch.full((1,), 0.35))
        refined = refine(tiny, pad(y, scale, None), scale, Restoration((*found.iterates[:-1], last)))
    assert kernel_distance(nearest_gaussian(refined.kernel), refined.kernel).item() < 1e-3
    assert refined.iterates[-1].doubt.item() == pytest.approx(most)


def test_a_kernel_that_is_right_and_known_to_be_stays(tiny, sharp):
    """It does not drift to a Dirac, which explains every photo, nor anywhere else."""
    true = as_kernel(gaussian(25, 1.6))
    y, zero, sure = decimate(blur(sharp, true), 2), torch.zeros(1), torch.full((1,), 0.01)
    with torch.inference_mode():
        x = tiny(y, 2, true, zero).x
        refined = refine(tiny, pad(y, 2, None), 2, Restoration((Iterate(x, true, None, zero, sure),)))
    assert kernel_distance(refined.kernel, true).item() < 0.12
    assert kernel_distance(refined.kernel, as_kernel(gaussian(25, 0.3))).item() > 0.8


def test_camera_shake_of_which_little_was_found(tiny, sharp, monkeypatch):
    """Without enlargement the photo is asked once more, from coarse to fine."""
    true = as_kernel(shake_motion(25, 7))
    y = blur(sharp, true)
    with torch.inference_mode():
        found = tiny(y, 1)
        assert found.iterates[0].doubt.item() > HARDLY
        refined = refine(tiny, pad(y, 1, None), 1, found)
        flat = refine(tiny, pad(torch.full_like(y, 0.4), 1, None), 1, found)
        monkeypatch.setattr("blindsr.inference.refinement.coarse_to_fine", lambda *arguments: None)
        without = refine(tiny, pad(y, 1, None), 1, found)
    assert psnr(refined.x.clamp(0, 1), sharp, 4).item() > psnr(without.x.clamp(0, 1), sharp, 4).item() + 1
    assert DOUBTFUL[1] <= refined.iterates[-1].doubt.item() < HARDLY < without.iterates[-1].doubt.item()
    assert torch.isfinite(flat.x).all()


def test_camera_shake_is_put_in_its_place(tiny, sharp):
    """Moved, a kernel explains the photo as well, and all of the result lies beside where it should."""
    true, zero, unsure = on_box(as_kernel(shake_motion(25, 3))), torch.zeros(1), torch.full((1,), 0.9)
    y = decimate(blur(sharp, true), 2)
    with torch.inference_mode():
        x = tiny(y, 2, true, zero).x
        beside = Iterate(x.roll((-3, 2), (-2, -1)), true.roll((3, -2), (-2, -1)), None, zero, unsure)
        refined = refine(tiny, pad(y, 2, None), 2, Restoration((beside,)))
        trusted = refine(tiny, pad(y, 2, None), 2, Restoration((replace(beside, doubt=0.3 * unsure / 0.9),)))
    assert kernel_distance(trusted.kernel, beside.kernel).item() < 0.2  # hardly doubted it stays where it stands
    assert kernel_distance(beside.kernel, true).item() > 0.8 > 2 * kernel_distance(refined.kernel, true).item()
    before, after = (psnr(p.clamp(0, 1), sharp, 4).item() for p in (beside.x, refined.x))
    assert after > before + 5


def test_an_estimator_without_doubts(tiny, sharp):
    found = Restoration((Iterate(sharp, as_kernel(gaussian(25, 1.6)), None, torch.zeros(1)),))
    with pytest.raises(BlindSRError, match="how far to trust"):
        refine(tiny, pad(sharp[..., ::2, ::2], 2, None), 2, found)


def test_a_correction_without_doubts(tiny, sharp):
    """The first estimator judges its kernel and the correction does not: the first one's doubt goes on."""
    y = decimate(blur(sharp, as_kernel(gaussian(25, 1.6))), 2)
    with torch.inference_mode():
        found = tiny(y, 2)
        *before, last = found.iterates
        refined = refine(tiny, pad(y, 2, None), 2, Restoration((*before, replace(last, doubt=None))))
    assert torch.isfinite(refined.x).all() and len(refined.iterates) == 2 + 1


def test_a_kernel_trusted_fully_is_restored_with_as_a_true_one(tiny, sharp):
    """Also by models that doubt every kernel that was found."""
    y, k, sigma = sharp[..., ::2, ::2], as_kernel(gaussian(25, 1.6)), torch.zeros(1)
    careful = checkpoints.load("tiny-real").model.eval()
    for each in (tiny, careful):
        photo = Trial(each, pad(y, 2, None), 2, sigma, 0.0)
        with torch.inference_mode():
            torch.testing.assert_close(photo.restored(k, None).x, each(y, 2, k, sigma).x)


def test_through_the_facade(sharp):
    model = BlindSR.from_pretrained("tiny", precision="fp32")
    y = decimate(blur(sharp, as_kernel(disk(25, 3.0))), 2)[0].permute(1, 2, 0).numpy()
    photo = images.from_float(y, np.uint8)
    plain, refined = (model.restore(photo, 2, grid="corner", refine=r) for r in (False, True))
    assert refined.record()["settings"]["refined"] and "refined" not in plain.record()["settings"]
    assert len(refined.loops) == len(plain.loops) + 1
    assert not np.array_equal(refined.kernel, plain.kernel)
    estimated = model.estimate(photo, 2, grid="corner", refine=True)
    np.testing.assert_allclose(estimated.kernel, refined.kernel, atol=1e-5)
    tiled = model.restore(photo, 2, grid="corner", refine=True, tile=64)
    np.testing.assert_allclose(tiled.kernel, refined.kernel, atol=1e-5)
    with pytest.raises(BlindSRError, match="not refined; leave"):
        model.restore(photo, 2, "disk:3", refine=True)


@pytest.mark.parametrize("boundary", ["reflect", "taper", "circular"])
def test_the_last_picture_of_a_small_photo_is_its_answer(boundary, monkeypatch):
    """The same as restoring it once more with the kernel that was found, in less time."""
    model, calls = BlindSR.from_pretrained("tiny", precision="fp32"), []
    forward = model.model.restorer.forward
    monkeypatch.setattr(model.model.restorer, "forward", lambda *a, **b: (calls.append(None), forward(*a, **b))[1])
    photo = images.read(SAMPLE).pixels[:96, :120]
    quick, fewer = model.restore(photo, 2, boundary=boundary).image, len(calls)
    estimate = Passage.estimate

    def forgetful(self):
        estimate(self)
        self._whole = None

    monkeypatch.setattr(Passage, "estimate", forgetful)
    calls.clear()
    again = model.restore(photo, 2, boundary=boundary).image
    assert len(calls) == fewer + 1
    off = np.abs(again.astype(int) - quick)  # tensors laid out otherwise add up in another order on some processors
    # By such a difference the conjugate gradients that fill the surroundings of a reflected photo may end a step sooner.
    assert off.max() <= 1 and off.mean() < (0.005 if boundary == "reflect" else 0.001)


def test_where_nobody_says(sharp):
    """It is part of a blind restoration by a model that looks at its restorations; with a given kernel never."""
    photo = images.from_float(sharp[0, :, :96, :96].permute(1, 2, 0).numpy(), np.uint8)
    tiny, real = (BlindSR.from_pretrained(name, precision="fp32") for name in ("tiny", "tiny-real"))
    assert tiny.estimate(photo, 2).refined and tiny.estimate(photo, 4).refined
    assert not tiny.estimate(photo, 2, refine=False).refined
    assert not tiny.restore(photo, 2, "disk:3").refined
    assert not real.estimate(photo, 2).refined
