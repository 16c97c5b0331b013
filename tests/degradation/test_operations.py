"""Every operation of the shuffled degradation: what it is for, and that nothing in it is left to chance."""

import json

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from blindsr import registry
from blindsr.degradation.blur import convolve
from blindsr.degradation.camera import demosaic, mosaic, process, unprocess
from blindsr.degradation.noise import random_covariance, white
from blindsr.degradation.operation import Pair
from blindsr.degradation.resample import shift_kernel
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import LUMA
from blindsr.ops.resize import bicubic_shrink

NAMES = registry.names("operation")


def photo(height: int = 48, width: int = 56, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((height // 8, width // 8, 3), dtype=np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_draw_gives_the_same_picture(name):
    operation, x = registry.default("operation", name), photo()
    for seed in range(8):
        drawn = operation.draw(np.random.default_rng(seed), 4)
        again = json.loads(json.dumps(drawn))
        assert again == drawn == operation.draw(np.random.default_rng(seed), 4)
        before = x.copy()
        one, two = (operation.apply(Pair(x, x, (12, 14)), d) for d in (drawn, again))
        assert np.array_equal(x, before), "the picture that was given may not change"
        assert np.array_equal(one.lr, two.lr) and np.array_equal(one.hr, two.hr)
        assert one.lr.dtype == one.hr.dtype == np.float32 and one.hr.shape == x.shape
        assert np.isfinite(one.lr).all() and one.lr.min() > -1e-4 and one.lr.max() < 1 + 1e-4


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("camera", "sharpen")])
def test_the_sharp_photo_stays(name):
    operation, x = registry.default("operation", name), photo()
    pair = operation.apply(Pair(x, x, (12, 14)), operation.draw(np.random.default_rng(0), 4))
    assert pair.hr is x


@pytest.mark.parametrize("kernel", [gaussian(25, 0.7, 2.8, 0.6), gaussian(7, 0.3), gaussian(15, 2.5, 0.02, 1.0)])
def test_convolution_is_that_of_scipy(kernel):
    x = photo()
    expected = ndimage.convolve(x, kernel[..., None], mode="mirror")
    np.testing.assert_allclose(convolve(x, kernel), expected, atol=2e-4)


def test_convolution_flips_and_does_not_move():
    kernel = np.random.default_rng(1).random((5, 7))
    kernel /= kernel.sum()
    x = photo()
    np.testing.assert_allclose(convolve(x, kernel), ndimage.convolve(x, kernel[..., None], mode="mirror"), atol=2e-4)


def test_shifted_kernels_are_the_published_ones():
    with np.load("tests/data/bsrgan_kernel_shift.npz") as golden:
        for case in range(6):
            scale = int(golden[f"shift{case}_params"][0])
            ours = shift_kernel(golden[f"shift{case}_in"], (scale - 1) / 2)
            np.testing.assert_allclose(ours, golden[f"shift{case}"], atol=1e-5)


@pytest.mark.parametrize("method", ["linear", "cubic", "area", "nearest"])
def test_resampling_keeps_the_centre_grid(method):
    """The centre of mass of a blob must stay at the same place of the picture."""
    at = np.arange(64, dtype=np.float32)
    blob = np.exp(-((at[:, None] - 29) ** 2 + (at - 35) ** 2) / 60)[..., None].repeat(3, axis=2)
    name = "shrink" if method == "nearest" else "fit"
    drawn = {"method": method, "scale": 4, "size": 25, "width": 1.5}
    lr = registry.default("operation", name).apply(Pair(blob, blob, (16, 16)), drawn).lr[..., 0].astype(np.float64)
    places = (np.arange(16) * 4 + 1.5) @ np.stack([lr.sum(1), lr.sum(0)], axis=1) / lr.sum()
    np.testing.assert_allclose(places, (29, 35), atol=0.15)


@pytest.mark.parametrize("kind", ["colour", "gray", "general"])
def test_noise_has_the_drawn_strength(kind):
    covariance = random_covariance(np.random.default_rng(3), 25 / 255)
    noise = white((200, 200, 3), {"kind": kind, "level": 20, "covariance": covariance, "seed": 5})
    noise = np.broadcast_to(noise, (200, 200, 3)).reshape(-1, 3)
    expected = {"colour": np.eye(3) * (20 / 255) ** 2, "gray": np.full((3, 3), (20 / 255) ** 2)}
    if kind == "general":
        values, vectors = np.linalg.eigh(covariance)
        expected["general"] = (vectors * np.maximum(values, 0)) @ vectors.T
    np.testing.assert_allclose(np.cov(noise.T), expected[kind], atol=3e-4)


def test_photon_noise_grows_with_light():
    poisson = registry.default("operation", "poisson_noise")
    for colour in (True, False):
        drawn = {"photons": 500.0, "colour": colour, "seed": 1}
        variances = []
        for level in (0.2, 0.6):
            x = np.full((120, 120, 3), level, np.float32)
            noise = (poisson.apply(Pair(x, x, (30, 30)), drawn).lr - x) @ np.array(LUMA)
            variances.append(noise.var() / (level / 500))
        expected = sum(v * v for v in LUMA) if colour else 1
        np.testing.assert_allclose(variances, expected, rtol=0.1)


def test_jpeg_loses_more_at_lower_quality():
    jpeg, x = registry.default("operation", "jpeg"), photo()
    lost = [np.abs(jpeg.apply(Pair(x, x, (1, 1)), {"quality": q}).lr - x).mean() for q in (95, 60, 30)]
    assert lost == sorted(lost) and lost[2] < 0.1


def camera_draw() -> dict:
    return registry.default("operation", "camera").draw(np.random.default_rng(2), 4)


def test_processing_undoes_unprocessing():
    x, drawn = 0.05 + 0.8 * photo(), camera_draw()
    assert np.abs(process(unprocess(x, drawn), drawn) - x).mean() < 0.01


def test_mosaic_and_back():
    """Smooth colours survive; a wrong filter array would change them."""
    rows, cols = np.mgrid[:20, :31] / 40
    light = np.stack([0.2 + rows, 0.3 + 0 * rows, 0.7 - cols / 2], axis=2).astype(np.float32)
    inner = np.s_[3:-3, 3:-3]
    np.testing.assert_allclose(demosaic(mosaic(light))[inner], light[inner], atol=0.01)


@pytest.mark.parametrize("shape", [(2, 2), (2, 9), (3, 3), (3, 8), (5, 4)])
def test_an_even_colour_survives_at_any_size(shape):
    light = np.broadcast_to(np.float32([0.2, 0.5, 0.8]), (*shape, 3)).copy()
    np.testing.assert_allclose(demosaic(mosaic(light)), light, atol=1e-4)


def test_a_line_of_pixels_keeps_its_colour_before_a_camera():
    camera, x = registry.default("operation", "camera"), np.full((1, 7, 3), [0.2, 0.5, 0.8], np.float32)
    made = camera.apply(Pair(x, x, (1, 7)), {**camera_draw(), "shot": 0.0, "read": 0.0})
    np.testing.assert_allclose(made.lr, made.hr, atol=1e-6)


@pytest.mark.parametrize("method", ["matlab", "linear"])
@pytest.mark.parametrize("side", [1, 2, 41])
def test_half_of_any_size_keeps_its_place(side, method):
    """Enlarged again, a ramp lies where it was; MATLAB's half of an odd side stands for one pixel more than there is."""
    x = np.tile(np.linspace(0.2, 0.8, side, dtype=np.float32)[None, :, None], (3, 1, 3))
    half = registry.default("operation", "halve").apply(Pair(x, x, x.shape[:2]), {"method": method})
    again = registry.default("operation", "fit").apply(half, {"method": "linear"}).lr
    inner = slice(side // 4, side - side // 4)
    np.testing.assert_allclose(again[:, inner], x[:, inner], atol=0.002 if side > 2 else 0.31)


@pytest.mark.parametrize("shape", [(2, 2), (2, 6), (40, 62)])
def test_halved_as_by_matlab(shape):
    x = np.random.default_rng(0).random((*shape, 3), dtype=np.float32)
    made = registry.default("operation", "halve").apply(Pair(x, x, shape), {"method": "matlab"}).lr
    wanted = bicubic_shrink(torch.from_numpy(x).double().permute(2, 0, 1), 2).permute(1, 2, 0).clamp(0, 1)
    np.testing.assert_allclose(made, wanted.numpy(), atol=1e-6)


def test_camera_noise_comes_from_light_and_colours_stay():
    camera, x = registry.default("operation", "camera"), np.full((64, 64, 3), 0.5, np.float32)
    quiet, loud = ({**camera_draw(), "shot": s, "read": r} for s, r in ((1e-9, 1e-12), (0.01, 1e-4)))
    calm, noisy = (camera.apply(Pair(x, x, (16, 16)), d) for d in (quiet, loud))
    assert calm.lr.std() < 0.002 < 0.02 < noisy.lr.std()
    np.testing.assert_allclose(calm.lr.mean((0, 1)), calm.hr.mean((0, 1)), atol=0.005)
    np.testing.assert_array_equal(calm.hr, noisy.hr)


def test_sharpening_adds_contrast_at_edges_alone():
    sharpen, x = registry.default("operation", "sharpen"), np.full((64, 64, 3), 0.3, np.float32)
    x[:, 32:] = 0.6
    pair = sharpen.apply(Pair(x, x, (16, 16)), sharpen.draw(np.random.default_rng(0), 4))
    assert pair.lr is pair.hr
    assert pair.hr[32, 31, 0] < 0.27 and pair.hr[32, 32, 0] > 0.63
    np.testing.assert_allclose(pair.hr[32, 2], 0.3, atol=1e-3)
