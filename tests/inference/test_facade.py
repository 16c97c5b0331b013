"""The facade: what goes in, what comes out, where it lies, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import blindsr
from blindsr import images
from blindsr.alternating import AlternatingConfig, AlternatingSR
from blindsr.inference import machine
from blindsr.inference.facade import BlindSR
from blindsr.inference.sources import enlarge_alpha, support, window_of
from blindsr.interfaces import BlindSRError
from blindsr.kernels.bicubic import bicubic_kernel
from blindsr.kernels.gaussian import gaussian
from blindsr.kernels.width import kernel_width
from blindsr.ops.filtering import blur
from blindsr.ops.fourier import grid_shift
from blindsr.restorers.rrdbnet import RRDBNetConfig
from blindsr.restorers.usrnet import USRNetConfig


def untrained() -> AlternatingSR:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AlternatingSR(AlternatingConfig(restorer=USRNetConfig(2, (8, 8), 8), loops=1))


@pytest.fixture(scope="module")
def non_blind() -> BlindSR:
    """Untrained and of no use, but every part of it is at work."""
    return BlindSR(untrained(), "untrained", "cpu", "fp32")


@pytest.fixture(scope="module")
def plain() -> BlindSR:
    """With the identity for a prior: the data step alone, which shows where things lie."""
    model = untrained()
    prior = model.restorer.prior
    with torch.no_grad():
        prior.up[-1][0].weight.zero_()
        prior.tail.weight[:, 3:] = 0
    return BlindSR(model, "plain", "cpu", "fp32")


@pytest.fixture(scope="module")
def blind(small_model: Path) -> BlindSR:
    return BlindSR.from_pretrained(small_model, device="cpu", precision="fp32")


def scene(height: int, width: int) -> np.ndarray:
    """(H, W, 3) float in [0, 1]: blobs and bars, dark at the borders so that nothing hangs on them."""
    rng = np.random.default_rng(3)
    rows, cols = np.mgrid[:height, :width].astype(float)
    x = np.full((height, width), 0.3)
    for _ in range(25):
        r, c, w = rng.uniform(0.15, 0.85) * height, rng.uniform(0.15, 0.85) * width, rng.uniform(2, 7)
        x += rng.uniform(-0.2, 0.35) * np.exp(-((rows - r) ** 2 + (cols - c) ** 2) / (2 * w * w))
    return np.clip(np.stack([x, 0.9 * x, 0.8 * x + 0.05], axis=-1), 0, 1)


def degraded(hr: np.ndarray, kernel: np.ndarray, scale: int, grid: str) -> np.ndarray:
    """8-bit (h, w, 3) photo of ``hr``, on ``grid``."""
    x = torch.from_numpy(hr).permute(2, 0, 1)[None]
    y = blur(x, torch.from_numpy(kernel)[None, None], "circular", grid_shift(grid, scale))[..., ::scale, ::scale]
    return images.from_float(y[0].permute(1, 2, 0).numpy(), np.uint8)


def offset(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """How many pixels (right, down) ``image`` lies off ``reference``, by maximal correlation (ECC)."""
    a, b = (v[8:-8, 8:-8].mean(2).astype(np.float32) for v in (reference, image))
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-6)
    return cv2.findTransformECC(a, b, np.eye(2, 3, dtype=np.float32), cv2.MOTION_TRANSLATION, stop, None, 5)[1][:, 2]


# -- where the result lies -------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_photo_on_the_centre_grid_lies_on_its_enlargement(plain: BlindSR, scale: int) -> None:
    lr = degraded(scene(144, 180), gaussian(25, 1.6), scale, "centre")
    restored = plain.restore(lr, scale, "gaussian:1.6", 0.01).image
    enlarged = cv2.resize(lr, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    assert restored.shape == enlarged.shape
    assert np.abs(offset(restored, enlarged)).max() < 0.1
    assert np.abs(offset(restored, 255 * scene(144, 180))).max() < 0.1
    corner = plain.restore(lr, scale, "gaussian:1.6", 0.01, grid="corner").image
    assert np.allclose(offset(corner, enlarged), -(scale - 1) / 2, atol=0.15)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_classical_data_lies_on_the_truth_with_the_corner_grid(plain: BlindSR, scale: int) -> None:
    hr, k = scene(144, 180), gaussian(25, 0.7 * scale)
    lr = degraded(hr, k, scale, "corner")
    restored = plain.restore(lr, scale, k, 0.01, grid="corner", boundary="circular").image
    assert np.abs(offset(restored, 255 * hr)).max() < 0.1


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_word_bicubic_is_not_moved_twice(plain: BlindSR, scale: int) -> None:
    hr = scene(144, 180)
    lr = degraded(hr, bicubic_kernel(scale), scale, "corner")  # that kernel holds the offset itself
    for grid in ("centre", "corner"):
        restored = plain.restore(lr, scale, "bicubic", 0.01, grid=grid)
        assert np.abs(offset(restored.image, 255 * hr)).max() < 0.1
        assert restored.shift == 0 and restored.grid == "centre"
        ramp = np.linspace(0, 255, lr.shape[1]).astype(np.uint8)
        alpha = np.broadcast_to(ramp, lr.shape[:2])[..., None]
        with_alpha = plain.restore(np.concatenate([lr, alpha], 2), scale, "bicubic", 0.01, grid=grid).image[..., 3]
        np.testing.assert_array_equal(with_alpha, enlarge_alpha(alpha[..., 0], scale, "centre"))


def test_it_sharpens(plain: BlindSR) -> None:
    """The kernel is put to use: nearer to the truth than a cubic enlargement."""
    hr = scene(120, 120)
    lr = degraded(hr, gaussian(25, 3.0), 2, "centre")
    enlarged = cv2.resize(lr, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    restored = plain.restore(lr, 2, "gaussian:3.0", 0.005).image

    def error(image: np.ndarray) -> float:
        return float(np.square(image / 255.0 - hr)[8:-8, 8:-8].mean())

    assert error(restored) < 0.5 * error(enlarged)


# -- photos ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(20, 24), (20, 24, 1), (20, 24, 2), (20, 24, 3), (20, 24, 4)])
def test_arrays_come_back_as_they_were(non_blind: BlindSR, shape: tuple[int, ...], dtype: type) -> None:
    top = np.iinfo(dtype).max
    source = np.random.default_rng(0).integers(top // 3, top // 2, shape, dtype)
    restored = non_blind.restore(source, 2, "gaussian:1.0", 0.01)
    assert restored.image.dtype == dtype and restored.image.shape == (40, 48, *shape[2:])
    channels = 1 if len(shape) == 2 else shape[2]
    assert (restored.photo.alpha is not None) == (channels in (2, 4))
    assert restored.photo.pixels.shape[2] == (3 if channels > 2 else 1)
    assert abs(float(restored.image.mean()) - float(source.mean())) < 0.02 * top


def test_sixteen_bits_are_more_than_eight(non_blind: BlindSR) -> None:
    source = np.tile(np.linspace(20000, 20300, 32).astype(np.uint16)[None, :, None], (32, 1, 3))
    image = non_blind.restore(source, 2, "gaussian:1.0", 0.01).image
    assert len(np.unique(image[32, 8:-8])) > 20  # 300 of 65535 are hardly more than one of 255 steps


def test_alpha_is_enlarged_by_itself_and_on_the_grid(plain: BlindSR) -> None:
    source = np.full((24, 24, 4), 90, np.uint8)
    source[..., 3] = 0
    source[8:16, 8:16, 3] = 255
    restored = plain.restore(source, 2, "gaussian:1.0", 0.01)
    expected = cv2.resize(source[..., 3], (48, 48), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(restored.image[..., 3], expected)
    assert np.abs(restored.image[..., :3].astype(int) - 90).max() <= 6  # the colours know nothing of it
    corner = enlarge_alpha(source[..., 3], 2, "corner")
    assert corner.dtype == np.uint8 and (corner[::2, ::2] == source[..., 3]).all()


@pytest.mark.parametrize("grid", ["centre", "corner"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_alpha_in_bands_is_that_of_the_whole(grid: str, scale: int) -> None:
    alpha = np.random.default_rng(0).integers(0, 65536, (23, 9)).astype(np.uint16)
    whole = enlarge_alpha(alpha, scale, grid)
    cuts = [0, 1, 7, 8, 14 * scale, 23 * scale]
    bands = [enlarge_alpha(alpha, scale, grid, slice(a, b)) for a, b in zip(cuts, cuts[1:])]
    assert np.abs(np.concatenate(bands).astype(int) - whole).max() <= 1  # orders of addition


@pytest.mark.parametrize("size", [(1300, 40), (40, 1300)])
def test_alpha_of_long_sides_is_that_of_the_whole(size: tuple[int, int], monkeypatch) -> None:
    alpha = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    pieces = enlarge_alpha(alpha, 2, "corner")
    monkeypatch.setattr("blindsr.inference.sources.STRIP", 10_000)
    assert np.abs(pieces.astype(int) - enlarge_alpha(alpha, 2, "corner")).max() <= 1


def test_gray_stays_gray(plain: BlindSR) -> None:
    gray = images.from_float(scene(30, 40).mean(2), np.uint8)
    one = plain.restore(gray, 2, "gaussian:1.0", 0.01).image
    three = plain.restore(np.stack([gray] * 3, axis=-1), 2, "gaussian:1.0", 0.01).image
    assert one.shape == (60, 80) and np.abs(one.astype(float) - three.mean(2)).max() <= 1


@pytest.mark.parametrize("boundary", ["reflect", "taper", "circular"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_every_scale_and_boundary_on_an_odd_size(blind: BlindSR, scale: int, boundary: str) -> None:
    source = images.from_float(scene(53, 47)[20:51, 9:], np.uint8)
    restored = blind.restore(source, scale, boundary=boundary)
    assert restored.image.shape == (31 * scale, 38 * scale, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (5, 40)])
@pytest.mark.parametrize("scale", [1, 4])
def test_tiny_photos(blind: BlindSR, size: tuple[int, int], scale: int) -> None:
    source = np.full((*size, 3), 128, np.uint8)
    assert blind.restore(source, scale).image.shape == (size[0] * scale, size[1] * scale, 3)
    assert blind.estimate(source, scale).kernel.shape == (9, 9)


# -- blur and noise --------------------------------------------------------------------------------------


def test_blind(blind: BlindSR, pixels: np.ndarray) -> None:
    restored = blind.restore(pixels, 2)
    assert restored.image.shape == (48, 60, 3) and restored.kernel.shape == (9, 9)
    assert restored.kernel.min() >= 0 and restored.kernel.sum() == pytest.approx(1, abs=1e-5)
    assert (restored.kernel_source, restored.sigma_source) == ("estimated", "estimated")
    assert len(restored.loops) > len(blind.restore(pixels, 2, refine=False).loops) == 2
    assert np.array_equal(restored.loops[-1].kernel, restored.kernel) and restored.loops[-1].sigma == restored.sigma
    given = blind.restore(pixels, 2, sigma=0.02)
    assert (given.sigma, given.sigma_source, given.kernel_source) == (pytest.approx(0.02), "given", "estimated")


def test_an_estimate_alone_is_the_one_that_restores(blind: BlindSR, pixels: np.ndarray) -> None:
    found, restored = blind.estimate(pixels, 2), blind.restore(pixels, 2)
    assert found.image is None and found.photo is None
    assert np.allclose(found.kernel, restored.kernel, atol=1e-7) and found.sigma == pytest.approx(restored.sigma)
    with pytest.raises(BlindSRError, match="no picture to save"):
        found.save("nowhere.png")


def test_a_kernel_without_a_noise_level(blind: BlindSR, non_blind: BlindSR, pixels: np.ndarray) -> None:
    learned = blind.restore(pixels, 2, gaussian(9, 1.2))
    assert (learned.kernel_source, learned.sigma_source) == ("given", "estimated")
    assert np.allclose(learned.kernel, gaussian(9, 1.2))
    noisy = np.clip(128 + np.random.default_rng(0).normal(0, 8, (64, 64, 3)), 0, 255).round().astype(np.uint8)
    classical = non_blind.restore(noisy, 2, "gaussian:1.2")
    assert classical.sigma_source == "classical" and classical.sigma * 255 == pytest.approx(8, rel=0.08)


def test_a_given_noise_level_is_told_as_given(blind: BlindSR, pixels: np.ndarray) -> None:
    """Though the restorer is told of rounding."""
    for kernel in ("gaussian:1.2", None):
        restored = blind.restore(pixels, 2, kernel, 0.0)
        assert (restored.sigma, restored.sigma_source) == (0.0, "given") and restored.loops[-1].sigma > 0.001


def test_the_kernel_decides(non_blind: BlindSR, pixels: np.ndarray) -> None:
    narrow, wide = (non_blind.restore(pixels, 2, f"gaussian:{w}", 0.01).image for w in (0.8, 2.0))
    assert np.abs(narrow.astype(int) - wide).mean() > 1


def test_half_precision_is_near(small_model: Path, blind: BlindSR, pixels: np.ndarray) -> None:
    half = BlindSR.from_pretrained(small_model, device="cpu", precision="bf16")
    rough = half.restore(pixels, 2, "gaussian:1.0", 0.01)
    exact = blind.restore(pixels, 2, "gaussian:1.0", 0.01)
    assert (rough.precision, exact.precision) == ("bf16", "fp32")
    difference = np.abs(rough.image.astype(int) - exact.image)
    assert 0 < difference.mean() < 1.5


def test_half_precision_is_for_enlarged_photos_of_8_bits(small_model: Path, pixels: np.ndarray, monkeypatch) -> None:
    monkeypatch.setattr(machine, "has_native_bf16", lambda device: True)
    model = BlindSR.from_pretrained(small_model, device="cpu")

    def used(photo: np.ndarray, scale: int) -> str:
        return model.restore(photo, scale, "gaussian:1.0", 0.01).precision

    assert [used(pixels, 2), used(pixels, 1), used(pixels.astype(np.uint16) * 257, 2)] == ["bf16", "fp32", "fp32"]


# -- tiles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_tiles_hardly_show(non_blind: BlindSR, scale: int) -> None:
    source = images.from_float(scene(200, 240)[: 180 // scale * 1 + 20, : 200 // scale + 20], np.uint8)
    told: list[tuple[int, int]] = []
    whole = non_blind.restore(source, scale, "gaussian:1.6", 0.01)
    tiled = non_blind.restore(source, scale, "gaussian:1.6", 0.01, tile=32, progress=lambda *p: told.append(p))
    assert whole.tiles == 1 and tiled.tiles > 6 and told[-1] == (tiled.tiles, tiled.tiles)
    difference = np.abs(whole.image.astype(int) - tiled.image)
    assert difference.max() <= 3 and difference.mean() < 0.1


def test_all_tiles_share_one_blind_estimate(blind: BlindSR, monkeypatch) -> None:
    source = images.from_float(scene(100, 130), np.uint8)
    calls: list[tuple] = []
    forward = blind.model.forward

    def spy(y, scale, k=None, sigma=None, *more, **options):
        calls.append((k, sigma, options.get("doubt")))
        return forward(y, scale, k, sigma, *more, **options)

    monkeypatch.setattr(blind.model, "forward", spy)
    restored = blind.restore(source, 2, tile=np.int64(40))
    assert calls[0] == (None, None, None) and len(calls) == restored.tiles + 1
    for k, sigma, doubt in calls[1:]:
        assert np.array_equal(k[0, 0].numpy(), restored.kernel) and float(sigma) == restored.sigma
        assert float(doubt) == restored.loops[-1].doubt > 0  # a kernel that was found is not taken for a true one
    assert len(restored.loops) > 2 and restored.kernel_source == "estimated"
    calls.clear()
    given = blind.restore(source, 2, gaussian(9, 1.0), tile=40, boundary="circular")
    assert len(calls) == given.tiles and given.boundary == "reflect"  # no estimate is wasted, no tile wraps around


def test_little_memory_means_tiles(blind: BlindSR, monkeypatch) -> None:
    source = images.from_float(scene(150, 150), np.uint8)
    assert blind.restore(source, 2).tiles == 1
    monkeypatch.setattr(machine, "free_memory", lambda device: 60_000_000)
    restored = blind.restore(source, 2)
    assert restored.tiles > 1 and restored.image.shape == (300, 300, 3)


# -- files -----------------------------------------------------------------------------------------------


def test_picture_and_record(blind: BlindSR, pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    images.write(path, images.Photo(pixels))
    restored = blind.restore(path, 2, grid="corner")
    target = tmp_path / "out" / "photo_x2.png"
    restored.save(target)
    assert np.array_equal(images.read(target).pixels, restored.image)
    record = json.loads((tmp_path / "out" / "photo_x2.json").read_text())
    assert record["input"] == str(path) and record["grid"] == "corner" and record["model"] == "small"
    assert record["scale"] == 2 and record["sigma_255"] == pytest.approx(255 * restored.sigma, abs=1e-3)
    assert np.allclose(record["kernel"], restored.kernel, atol=1e-7) and len(record["loops"]) == len(restored.loops)
    assert record["settings"]["boundary"] == "reflect" and record["settings"]["precision"] == "fp32"
    assert sorted(p.name for p in target.parent.iterdir()) == ["photo_x2.json", "photo_x2.png"]


def test_results_are_not_replaced_unasked(blind: BlindSR, pixels: np.ndarray, tmp_path: Path) -> None:
    restored, path = blind.restore(pixels, 1), tmp_path / "a.png"
    (tmp_path / "a.json").write_text("mine")
    with pytest.raises(BlindSRError, match=r"a\.json: exists already"):
        restored.save(path)
    assert not path.exists() and (tmp_path / "a.json").read_text() == "mine"
    restored.save(path, overwrite=True)
    with pytest.raises(BlindSRError, match="exists already"):
        restored.save(path)


def test_the_front_door(small_model: Path, pixels: np.ndarray) -> None:
    restored = blindsr.restore(pixels, 3, small_model, kernel="gaussian:1.0", sigma=0.01)
    assert restored.image.shape == (72, 90, 3) and restored.model == "small"
    assert "25×25 given" in restored.summary() and "noise 2.5 of 255 given" in restored.summary()
    assert restored.summary() in repr(restored) and len(repr(restored)) < 200
    assert blindsr.BlindSR is BlindSR


def test_a_model_that_uses_no_kernel_has_the_grid_of_its_training(pixels: np.ndarray) -> None:
    restorer = RRDBNetConfig(scale=2, channels=4, blocks=1, growth=2)
    model = BlindSR(AlternatingSR(AlternatingConfig(restorer)), "theirs", device="cpu")
    assert model.restore(pixels, 2).image.shape == (pixels.shape[0] * 2, pixels.shape[1] * 2, 3)
    with pytest.raises(BlindSRError, match="theirs has the grid of its training; leave the grid out"):
        model.restore(pixels, 2, grid="corner")


# -- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": 5}, "scale 5 is out of range; use one of 1, 2, 3, 4"),
        ({"scale": 2.5}, "scale 2.5 is out of range"),
        ({"sigma": -0.1}, "is out of range"),
        ({"sigma": 2.55}, "sigma lies in [0, 0.392], that is 0-100 of 255"),
        ({"sigma": float("nan")}, "is out of range"),
        ({"sigma": "3 of 255"}, "'3 of 255' is no number"),
        ({"grid": "center"}, "grid 'center' is not known; use one of corner, centre"),
        ({"boundary": "mirror"}, "boundary 'mirror' is not known"),
        ({"boundary": "mirror", "tile": 32}, "boundary 'mirror' is not known"),
        ({"tile": 8}, "tiles of 8 pixels are too small; use at least 32"),
        ({"tile": 64.0}, "tile 64.0 is no whole number of pixels"),
        ({"kernel": np.full((5, 5), np.nan)}, "NaN"),
        ({"kernel": [[1.0, 2.0], [3.0]]}, "not a kernel"),
        ({"kernel": np.array([[1.0, -1.0, 0.0]])}, "sum"),
        ({"kernel": np.ones((71, 71))}, "the kernel (71×71) is larger than the result (48×60)"),
        ({"kernel": np.ones((51, 51)), "boundary": "circular"}, "larger than the result"),
        ({"kernel": "gaussian:"}, "gaussian:WIDTH"),
        ({"kernel": "nothing.npy"}, "no such kernel file"),
    ],
)
def test_wrong_options(blind: BlindSR, pixels: np.ndarray, options: dict, words: str) -> None:
    with pytest.raises(BlindSRError) as error:
        blind.restore(pixels, **({"scale": 2} | options))
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "source",
    [np.zeros((8, 8, 3)), np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 5), np.uint8), np.zeros((0, 8), np.uint8),
     np.zeros(8, np.uint8), np.zeros((1, 3, 8, 8), np.uint8)],
)  # fmt: skip
def test_wrong_arrays(blind: BlindSR, source: np.ndarray) -> None:
    with pytest.raises(BlindSRError, match=r"a source array|a photo is"):
        blind.restore(source)


def test_wrong_files_and_models(blind: BlindSR, non_blind: BlindSR, pixels: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(BlindSRError, match="no such file"):
        blind.restore(tmp_path / "missing.png")
    with pytest.raises(BlindSRError, match="model untrained is non-blind: give a kernel"):
        non_blind.restore(pixels, 2)
    with pytest.raises(BlindSRError, match="model untrained is non-blind"):
        non_blind.estimate(pixels, 2)
    with pytest.raises(BlindSRError, match="no such weights file"):
        BlindSR.from_pretrained("missing")


def test_a_kernel_with_an_empty_rim_counts_by_what_it_holds(non_blind: BlindSR, pixels: np.ndarray) -> None:
    assert support(gaussian(25, 1.0)) == (7, 7)
    assert support(np.pad(np.ones((3, 5)), 10)) == (3, 5)
    assert support(np.ones((7, 7))) == (7, 7)
    small = pixels[:9, :9]
    assert non_blind.restore(small, 2, "gaussian:1.0", 0.01).image.shape == (18, 18, 3)


def test_kernel_width() -> None:
    assert kernel_width(gaussian(25, 1.6)) == pytest.approx(1.6, rel=0.01)
    assert kernel_width(np.pad(np.ones((1, 1)), 3)) == 0


def test_a_doubtful_kernel_is_told(blind: BlindSR, pixels: np.ndarray) -> None:
    found = blind.restore(pixels, 2)
    assert found.doubt == found.loops[-1].doubt
    for doubt, told in ((0.1, False), (0.8, True)):
        judged = replace(found, loops=(*found.loops[:-1], replace(found.loops[-1], doubt=doubt)))
        assert ("80 %" in (judged.advice() or "")) == told and (judged.advice() is None) != told
    given = blind.restore(pixels, 2, "gaussian:1.0", 0.01)
    assert given.doubt is None and given.advice() is None and "kernel_risk" not in given.record()
    assert found.record()["kernel_risk"] == pytest.approx(found.doubt / 2, abs=1e-3)


# -- large photos ----------------------------------------------------------------------------------------


def test_bands_are_the_picture(blind: BlindSR) -> None:
    """What is handed over piece by piece is what would have been kept, alpha included."""
    source = images.from_float(scene(100, 90), np.uint8)
    source = np.concatenate([source, source[..., :1]], axis=2)
    bands: list[np.ndarray] = []
    kept = blind.restore(source, 2, tile=40)
    handed = blind.restore(source, 2, tile=40, into=bands.append)
    assert len(bands) == 3 and handed.image is None and handed.photo is None
    assert np.array_equal(np.concatenate(bands), kept.image)
    assert np.array_equal(handed.kernel, kept.kernel) and handed.tiles == kept.tiles


@pytest.mark.parametrize("given", [None, "gaussian:1.6"])
def test_out_of_memory_halves_the_tile_and_goes_on(blind: BlindSR, monkeypatch, given: str | None) -> None:
    source = images.from_float(scene(220, 200), np.uint8)
    smooth = blind.restore(source, 2, given, 0.01, tile=64)
    forward, refused = blind.model.forward, []

    def narrow(y, *arguments, **options):
        if y.shape[-1] * y.shape[-2] > 218 * 218:
            refused.append(y.shape)
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
        return forward(y, *arguments, **options)

    monkeypatch.setattr(blind.model, "forward", narrow)
    restored = blind.restore(source, 2, given, 0.01)
    assert refused and restored.tiles > 1 and restored.image.shape == (440, 400, 3)
    assert np.abs(restored.image.astype(int) - smooth.image).mean() < 1


def test_the_first_estimate_takes_what_memory_allows(blind: BlindSR, monkeypatch) -> None:
    source = images.from_float(scene(300, 280), np.uint8)
    first, seen = blind.model.first_estimate, []

    def narrow(y, scale):
        seen.append(tuple(y.shape[-2:]))
        if y.shape[-1] > 100:
            raise MemoryError
        return first(y, scale)

    monkeypatch.setattr(blind.model, "first_estimate", narrow)
    assert blind.estimate(source, 1).kernel.shape == (9, 9)
    assert seen == [(300, 280), (150, 150), (75, 75)]
    seen.clear()
    monkeypatch.setattr(machine, "affordable_side", lambda device: 80)
    blind.estimate(source, 1)
    assert seen == [(80, 80)]


def test_arrays_that_are_seen_from_behind(blind: BlindSR) -> None:
    """As OpenCV's BGR turned to RGB is; with alpha, and a scale that is a float."""
    source = images.from_float(scene(30, 40), np.uint8)[..., ::-1]
    assert np.array_equal(blind.restore(source, 2).image, blind.restore(source.copy(), 2).image)
    rgba = np.concatenate([source, source[..., :1]], 2)[::-1]
    assert blind.restore(rgba, 2.0).image.shape == (60, 80, 4)


def test_other_errors_are_not_taken_for_a_lack_of_memory(blind: BlindSR, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("expected something else")

    monkeypatch.setattr(blind.model, "forward", broken)
    with pytest.raises(RuntimeError, match="something else"):
        blind.restore(images.from_float(scene(40, 40), np.uint8), 2)


@pytest.mark.parametrize("side", [40, 80, 150])
def test_no_memory_at_all(blind: BlindSR, monkeypatch, side: int) -> None:
    def empty(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(blind.model, "forward", empty)
    with pytest.raises(BlindSRError, match="not enough memory even for the smallest tile"):
        blind.restore(images.from_float(scene(side, side), np.uint8), 2, "gaussian:1.6", 0.01)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_most_textured_window_is_found(dtype: type) -> None:
    pixels = np.full((210, 333, 3), 90, np.float32) / 255
    pixels[97:150, 200:260] += np.random.default_rng(0).normal(0, 0.1, (53, 60, 3)).astype(np.float32)
    rows, cols = window_of(images.from_float(pixels, dtype), 64)
    assert rows.stop - rows.start == cols.stop - cols.start == 64
    assert abs(rows.start - 91) <= 16 and abs(cols.start - 198) <= 16
    whole = window_of(images.from_float(pixels, dtype), 333)
    assert whole == (slice(0, 210), slice(0, 333))


@pytest.mark.parametrize(("height", "width"), [(40, 300), (300, 17), (64, 65), (16, 400)])
def test_windows_of_narrow_photos(height: int, width: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 1), dtype=np.uint8)
    rows, cols = window_of(pixels, 64)
    assert rows.stop - rows.start == min(height, 64) and cols.stop - cols.start == min(width, 64)
