"""What is made up around a photo fits the blur inside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from blindsr import checkpoints, images
from blindsr.evaluation.metrics import psnr
from blindsr.inference import passage
from blindsr.inference.boundary import pad
from blindsr.inference.facade import BlindSR
from blindsr.inference.surroundings import SHARE, _spectrum, surround
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import blur
from blindsr.ops.fourier import grid_shift
from blindsr.ops.resize import decimate

SAMPLE = Path(__file__).parents[2] / "docs" / "samples" / "harbour.png"
CUT = 36  # high-resolution pixels of the surroundings that the photo does not show


@pytest.fixture(scope="module")
def sharp() -> torch.Tensor:
    return torch.from_numpy(images.to_float(images.read(SAMPLE).pixels[:180, :204])).permute(2, 0, 1)[None]


def a_kernel(*arguments: float) -> torch.Tensor:
    return torch.from_numpy(gaussian(25, *arguments)).float()[None, None]


def shown(sharp: torch.Tensor, k: torch.Tensor, scale: int, shift: float = 0.0) -> torch.Tensor:
    """A photo of the middle of the scene; what was around it has gone into its blur."""
    return decimate(blur(sharp, k, shift=shift)[..., CUT:-CUT, CUT:-CUT], scale)


@pytest.mark.parametrize("scale, least", [(1, 10.0), (2, 4.0), (4, 0.7)])
def test_borders_are_restored_as_well_as_the_middle(sharp, scale, least) -> None:
    model, k = checkpoints.load("tiny").model.eval(), a_kernel(2.6, 1.4, 0.6)
    y, truth, sigma = (255 * shown(sharp, k, scale)).round() / 255, sharp[..., CUT:-CUT, CUT:-CUT], torch.zeros(1)
    padded = pad(y, scale, (25, 25), multiple=8)
    found = []
    with torch.inference_mode():
        for here in (padded, surround(padded, k, sigma, scale)):
            found.append(here.crop(model.restorer(here.y, k, sigma, scale), scale).clamp(0, 1))
    smooth, fitting = (float(psnr(x, truth)) for x in found)
    assert fitting > smooth + least


@pytest.mark.parametrize("grid", ["corner", "centre"])
def test_it_is_the_most_probable_one(sharp, grid) -> None:
    """Of two gaps that differ the one found has less energy in the field's metric than its neighbours, on each grid."""
    k, shift = a_kernel(1.2), grid_shift(grid, 2)
    padded, sigma = pad(shown(sharp, k, 2, shift), 2, (25, 25), multiple=8), torch.full((1,), 0.02)
    filled = surround(padded, k, sigma, 2, shift)
    assert torch.equal(filled.crop(filled.y, 1), padded.crop(padded.y, 1))  # the photo itself stays
    precision = 1 / _spectrum(k, SHARE * sigma, 2, tuple(padded.y.shape[-2:]), shift)
    mean = padded.crop(padded.y, 1).mean((-2, -1), keepdim=True)

    def energy(y: torch.Tensor) -> float:
        y = y - mean
        z = torch.fft.irfft2(precision * torch.fft.rfft2(y), s=y.shape[-2:])
        return float((z.double() * y.double()).sum())

    gap = torch.ones(padded.y.shape[-2:])
    gap[padded.top : padded.top + padded.size[0], padded.left : padded.left + padded.size[1]] = 0
    least, noise = energy(filled.y), torch.randn(padded.y.shape, generator=torch.Generator().manual_seed(0))
    assert least < energy(padded.y)
    for size in (0.01, -0.01):
        assert energy(filled.y + size * gap * noise) > least


@pytest.mark.parametrize("sigma", [0.0, 0.02])
def test_around_a_flat_photo_all_is_flat(sigma) -> None:
    """Whatever its brightness, and however much noise it is said to have."""
    padded = pad(torch.full((1, 3, 40, 52), 0.9), 2, (25, 25), multiple=8)
    filled = surround(padded, a_kernel(2.8), torch.tensor([sigma]), 2)
    assert float((filled.y - 0.9).abs().max()) < 1e-3


@pytest.mark.parametrize("sigma", [2.55, 10.0])
def test_borders_of_noisy_photos(sharp, sigma) -> None:
    """Are better than with padding by reflection too."""
    model, k, rng = checkpoints.load("tiny").model.eval(), a_kernel(2.6, 1.4, 0.6), torch.Generator().manual_seed(0)
    y, truth = shown(sharp, k, 2), sharp[..., CUT:-CUT, CUT:-CUT]
    y = y + sigma / 255 * torch.randn(y.shape, generator=rng)
    padded, told = pad(y, 2, (25, 25), multiple=8), torch.tensor([sigma / 255])
    with torch.inference_mode():
        smooth, fitting = (
            float(psnr(here.crop(model.restorer(here.y, k, told, 2), 2).clamp(0, 1), truth))
            for here in (padded, surround(padded, k, told, 2))
        )
    assert fitting > smooth + 0.3


def test_without_a_gap_nothing_changes(sharp) -> None:
    padded = pad(sharp, 2, (25, 25), "circular")
    assert surround(padded, a_kernel(1.2), torch.zeros(1), 2) is padded


def test_every_photo_of_a_batch_by_itself(sharp) -> None:
    kernels = torch.cat([a_kernel(1.2), a_kernel(2.5)])
    sigmas = torch.tensor([0.0, 0.03])
    photos = torch.cat([shown(sharp, k[None], 2) for k in kernels])
    together = surround(pad(photos, 2, (25, 25)), kernels, sigmas, 2).y
    for i in range(2):
        alone = surround(pad(photos[i : i + 1], 2, (25, 25)), kernels[i : i + 1], sigmas[i : i + 1], 2).y
        torch.testing.assert_close(together[i : i + 1], alone, atol=5e-3, rtol=0)  # the slower one decides the steps


@pytest.mark.parametrize("tile", [None, 40])
def test_through_the_facade(sharp, tile, monkeypatch) -> None:
    model, k = BlindSR.from_pretrained("tiny", precision="fp32"), a_kernel(2.6, 1.4, 0.6)
    y = images.from_float(shown(sharp, k, 2)[0].permute(1, 2, 0).numpy(), np.uint8)
    truth, found = sharp[..., CUT:-CUT, CUT:-CUT], []
    for around in (lambda padded, *rest: padded, surround):
        monkeypatch.setattr(passage, "surround", around)
        x = model.restore(y, 2, k[0, 0].numpy(), 0.0, grid="corner", tile=tile).image
        found.append(float(psnr(torch.from_numpy(images.to_float(x)).permute(2, 0, 1)[None], truth)))
    assert found[1] > found[0] + 3
