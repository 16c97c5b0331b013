"""The shipped weights do what they are for, on the sample photos: quick checks, not the tables."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from blindsr import checkpoints, images, resources
from blindsr.estimators.noise import wavelet_noise
from blindsr.evaluation.metrics import psnr
from blindsr.interfaces import Estimate
from blindsr.kernels.distance import kernel_distance
from blindsr.kernels.gaussian import gaussian
from blindsr.kernels.motion import shake_motion
from blindsr.kernels.width import kernel_width
from blindsr.ops.filtering import blur
from blindsr.ops.fourier import grid_shift
from blindsr.ops.resize import bicubic_enlarge

SAMPLES = sorted((Path(__file__).parents[1] / "docs" / "samples").glob("*.[jp][pn]g"))


def as_kernel(k: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(k).float()[None, None]


@pytest.fixture(scope="module")
def model():
    return checkpoints.load("tiny").model


@pytest.fixture(scope="module")
def photos() -> list[torch.Tensor]:
    """The larger sample photos as sharp ones, (1, 3, 336, 336), mirrored because the first estimate needs a photo of
    some size: the spectrum of a few dozen pixels says little."""
    pixels = [images.to_float(images.read(path).pixels[:168, :168]) for path in SAMPLES]
    pixels = [p for p in pixels if p.shape[:2] == (168, 168)]
    pixels = [np.concatenate([p, p[:, ::-1]], axis=1) for p in pixels]
    pixels = [np.concatenate([p, p[::-1]], axis=0) for p in pixels]
    return [torch.from_numpy(np.ascontiguousarray(p.transpose(2, 0, 1)))[None] for p in pixels]


def test_the_file(model):
    path = resources.shipped("weights") / "tiny.safetensors"
    assert path.stat().st_size < 7_000_000
    assert model.blind and (path.parent / "tiny.md").exists()
    assert checkpoints.load("tiny").card["trained"] == ["restorer", "initial", "estimator"]


@pytest.mark.parametrize("scale", [2, 4])
def test_the_estimate_follows_the_photo(model, photos, scale):
    """One picture under Gaussians of four widths gives four kernels whose widths come in that order."""
    found = []
    for width in (0.8, 1.4, 2.0, 2.8):
        y = blur(photos[0], as_kernel(gaussian(25, width)))[..., ::scale, ::scale]
        with torch.inference_mode():
            found.append(kernel_width(model(y, scale).kernel[0, 0].numpy()))
    assert found == sorted(found)
    assert found[-1] - found[0] > 0.5


def test_a_wrong_kernel_costs(model, photos):
    narrow, wide = as_kernel(gaussian(25, 0.7)), as_kernel(gaussian(25, 2.65, 1.41, 0.5))
    x = photos[0]
    y = blur(x, narrow)[..., ::2, ::2]
    with torch.inference_mode():
        right, wrong = (psnr(model(y, 2, k, torch.zeros(1)).x, x, 4) for k in (narrow, wide))
    assert right > wrong + 0.5


def measured(model, x: torch.Tensor, k: torch.Tensor, scale: int) -> dict[str, float]:
    """PSNR of bicubic, with the true kernel and of either loop; errors of the kernels of the loops, and of the last one's had
    it seen the bicubic picture."""
    y = blur(x, k)[..., ::scale, ::scale]
    enlarged, (first, last) = bicubic_enlarge(y, scale, "corner"), model(y, scale).iterates
    pictures = {"bicubic": enlarged, "true": model(y, scale, k, torch.zeros(1)).x, "loop 1": first.x, "loop 2": last.x}
    cell = {name: float(psnr(picture.clamp(0, 1), x, scale**2)) for name, picture in pictures.items()}
    before = Estimate(first.code, first.sigma, first.kernel, first.doubt)
    blurred = model.correct(enlarged, y, scale, before)
    found = {"error 1": first, "error 2": last, "error bicubic": blurred}
    return cell | {name: float(kernel_distance(estimate.kernel, k)) for name, estimate in found.items()}


def mean(cells: list[dict[str, float]], column: str) -> float:
    return float(np.mean([cell[column] for cell in cells]))


@pytest.fixture(scope="module")
def cells(model, photos) -> list[dict[str, float]]:
    kernels = [gaussian(25, 1.2), gaussian(25, 1.2, 2.8, 0.8), shake_motion(25, 1), shake_motion(25, 5)]
    with torch.inference_mode():
        return [
            measured(model, x, as_kernel(k), s) | {"scale": s, "gaussian": i < 2}
            for x in photos
            for i, k in enumerate(kernels)
            for s in (2, 4)
        ]


@pytest.mark.parametrize("scale, gain", [(2, 0.5), (4, 0.1)])
def test_blind_beats_bicubic(cells, scale, gain):
    here = [c for c in cells if c["scale"] == scale]
    assert mean(here, "loop 2") > mean(here, "bicubic") + gain
    assert mean(here, "true") > mean(here, "bicubic") + gain


def test_the_alternation_earns_its_place(cells):
    assert mean(cells, "loop 2") > mean(cells, "loop 1")
    gaussian = [c for c in cells if c["gaussian"]]  # motion kernels it hardly finds, with any number of loops
    assert mean(gaussian, "error 2") < 1.05 * mean(gaussian, "error 1")
    assert mean(cells, "error bicubic") > mean(cells, "error 2")


@pytest.mark.parametrize("scale, most", [(1, 0.2), (2, 0.3), (4, 0.8)])
def test_the_noise_level_is_found(model, photos, scale, most):
    """Mean absolute error of 255, of blurred photos; with less than the classical estimate."""
    found, classical = [], []
    for i, x in enumerate(photos):
        clean = blur(x, as_kernel(gaussian(25, 1.2)))[..., ::scale, ::scale]
        for sigma in (0, 2.55, 10):
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(i))
            y = clean + sigma / 255 * noise
            with torch.inference_mode():
                found.append(abs(float(model.first_estimate(y, scale).sigma) * 255 - sigma))
            classical.append(abs(float(wavelet_noise(y)) * 255 - sigma))
    assert np.mean(found) < most and np.mean(found) < np.mean(classical)


def test_the_model_for_photos(model, photos):
    """Told a kernel it does as `tiny` did that it was made from; left alone it takes away what compression and noise did."""
    weights = resources.shipped("weights")
    assert sum(path.stat().st_size for path in weights.glob("*.safetensors")) < 12_000_000
    assert (weights / "tiny-real.md").exists()
    real = checkpoints.load("tiny-real").model
    x = photos[1][..., :168, :168]
    k, sigma = as_kernel(gaussian(25, 1.2)), torch.zeros(1)
    y = blur(x, k)[..., ::2, ::2]
    with torch.inference_mode():
        told, tiny = (psnr(m(y, 2, k, sigma).x, x, 4) for m in (real, model))
        assert told > psnr(bicubic_enlarge(y, 2, "corner"), x, 4) + 1 and abs(told - tiny) < 0.5
    y = torch.nn.functional.avg_pool2d(blur(x, k), 2)  # as an ordinary reduction lies: on the centre grid
    noisy = (y + 0.04 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    levels = (255 * noisy[0].permute(1, 2, 0).numpy()).round().astype(np.uint8)
    coded = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    spoilt = torch.from_numpy(cv2.imdecode(coded, cv2.IMREAD_COLOR)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        ours, other = (psnr(m(spoilt, 2, shift=grid_shift("centre", 2)).x.clamp(0, 1), x, 4) for m in (real, model))
    assert ours > other + 0.2 and ours > psnr(bicubic_enlarge(spoilt, 2, "centre").clamp(0, 1), x, 4)
