from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blindsr.kernels.motion import MotionKernels, MotionKernelsConfig, linear_motion, shake_motion, soften, splat

DATA = Path(__file__).parents[1] / "data"


def centroid(kernels: np.ndarray) -> np.ndarray:
    at = np.arange(kernels.shape[-1]) - kernels.shape[-1] // 2
    kernels = kernels.astype(np.float64)
    return np.stack([(kernels * at[:, None]).sum((-2, -1)), (kernels * at).sum((-2, -1))], -1)


def box(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest row and column, from the centre, where the kernel reaches 5 % of its peak."""
    lit = np.argwhere(kernel > 0.05 * kernel.max()) - kernel.shape[-1] // 2
    return lit.min(0), lit.max(0)


def test_splat_keeps_the_centroid_to_a_fraction_of_a_pixel():
    points = np.random.default_rng(0).uniform(-4, 4, (5, 30, 2))
    kernels = splat(points, 11)
    assert np.allclose(kernels.sum((1, 2)), 1)
    assert np.allclose(centroid(kernels), points.mean(1), atol=1e-12)


def test_splat_of_whole_pixels_is_exact():
    k = splat(np.array([[[-1.0, 2.0], [-1.0, 2.0], [2.0, -2.0], [2.0, 2.0]]]), 5)[0]
    assert k[1, 4] == 0.5 and k[4, 0] == 0.25 and k[4, 4] == 0.25 and k.sum() == 1


def test_soften_has_the_width_asked_for():
    dirac = np.zeros((2, 9, 9))
    dirac[:, 4, 4] = 1
    soft = soften(dirac, np.array([0.0, 0.6]))
    assert np.array_equal(soft[0], dirac[0])
    variance = (soft[1] * (np.arange(9) - 4) ** 2).sum()
    assert abs(variance - 0.36) < 0.01 and abs(soft[1].sum() - 1) < 1e-12


def test_samples_are_kernels_and_repeat():
    family = MotionKernels(MotionKernelsConfig(size=21))
    first, second = (family.sample(1500, np.random.default_rng(3)) for _ in range(2))
    assert first.dtype == np.float32 and first.shape == (1500, 21, 21)
    assert np.array_equal(first, second)
    assert first.min() >= 0 and np.allclose(first.sum((1, 2)), 1, atol=1e-5)
    assert len(np.unique(first.reshape(1500, -1), axis=0)) == 1500


@pytest.mark.parametrize("size", [5, 15, 25])
def test_centred_by_centroid(size):
    config = MotionKernelsConfig(size=size, centre="centroid", soften=(0.0, 0.0))
    off = centroid(MotionKernels(config).sample(300, np.random.default_rng(0)))
    assert np.abs(off).max() < 1e-4


def test_centred_by_box():
    kernels = MotionKernels(MotionKernelsConfig(centre="box")).sample(300, np.random.default_rng(0))
    middles = np.array([np.add(*box(k)) / 2 for k in kernels])
    assert np.percentile(np.abs(middles), 90) <= 1.0
    assert np.percentile(np.abs(centroid(kernels)), 90) > 1.0


def test_extent_is_drawn_from_the_configured_range():
    config = MotionKernelsConfig(size=25, extent=(0.4, 0.6), soften=(0, 0))
    kernels = MotionKernels(config).sample(300, np.random.default_rng(0))
    sides = np.array([np.ptp(np.argwhere(k > 0), axis=0).max() + 1 for k in kernels])
    assert sides.min() >= 10 and sides.max() <= 17  # 10 to 15 pixels, and one of rasterising on either side


def test_like_measured_camera_shake():
    """The four camera-shake kernels of the USRNet test set lie well inside what is drawn, in every statistic."""
    with np.load(DATA / "motion_kernels_9_to_12.npz") as file:
        measured = file["kernels"]
    drawn = MotionKernels(MotionKernelsConfig(size=25)).sample(1500, np.random.default_rng(0))

    def statistics(k: np.ndarray) -> list[float]:
        low, high = box(k)
        extent = (high - low).max() + 1
        lit = (k > 0.05 * k.max()).sum()
        ten = np.sort(k.ravel())[-10:].sum()
        return [extent, lit, lit / extent, 1 / np.square(k).sum(), ten, k.max()]

    drawn = np.array([statistics(k) for k in drawn])
    low, high = np.percentile(drawn, [2, 98], axis=0)
    for k in measured:
        values = np.array(statistics(k))
        assert (values >= low).all() and (values <= high).all()
        middle = np.add(*box(k)) / 2
        assert np.abs(middle).max() <= 1.0  # the convention of centre: box


def test_linear_motion():
    k = linear_motion(25, 10, 0.0)
    assert abs(k.sum() - 1) < 1e-12 and np.count_nonzero(k.sum(1)) == 1
    variance = (k.sum(0) * (np.arange(25) - 12) ** 2).sum()
    assert abs(variance - 10**2 / 12) < 0.25
    assert np.allclose(linear_motion(25, 10, np.pi / 2), k.T)
    diagonal = linear_motion(25, 10, np.pi / 4)
    assert diagonal[15, 15] > 0 and diagonal[9, 15] == 0
    assert linear_motion(5, 0, 1.0)[2, 2] == 1
    for wrong in ((24, 5), (25, 30), (25, -1), (25, float("nan"))):
        with pytest.raises(ValueError):
            linear_motion(*wrong, 0.0)


def test_a_seed_names_one_kernel():
    assert np.array_equal(shake_motion(25, 3), shake_motion(25, 3))
    assert not np.array_equal(shake_motion(25, 3), shake_motion(25, 4))
    assert abs(shake_motion(25, 3).sum() - 1) < 1e-12


@pytest.mark.parametrize("wrong", [{"size": 8}, {"extent": (0.5, 0.2)}, {"inertia": (0, 1)}, {"soften": (0, 2)}])
def test_impossible_configuration(wrong):
    with pytest.raises(ValueError):
        MotionKernelsConfig(**wrong)
