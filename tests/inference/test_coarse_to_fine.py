"""A kernel out of the photo alone."""

from statistics import median

import cv2
import numpy as np
import pytest
import torch

from blindsr.inference.coarse_to_fine import coarse_to_fine
from blindsr.kernels.motion import shake_motion
from blindsr.ops.filtering import blur


@pytest.fixture(scope="module")
def sharp() -> torch.Tensor:
    """Triangles of many grays on one another, (1, 1, 192, 240)."""
    rng = np.random.default_rng(0)
    x = np.full((192, 240), 0.5, np.float32)
    for _ in range(60):
        corners = rng.integers((0, 0), (200, 150)) + rng.integers(0, 70, (3, 2))
        cv2.fillPoly(x, [corners.astype(np.int32)], float(rng.random()))
    return torch.from_numpy(x)[None, None]


def error(found: torch.Tensor, true: torch.Tensor) -> float:
    """Relative, at the shift that serves it best: a photo does not show it."""
    moves = [(a, b) for a in range(-4, 5) for b in range(-4, 5)]
    return min(((torch.roll(found, m, (-2, -1)) - true).norm() / true.norm()).item() for m in moves)


@pytest.mark.parametrize("sigma", [0.0, 0.01])
def test_camera_shake_is_found(sharp, sigma):
    """Not always; but the estimators are off by 0.8 and more."""
    errors = []
    for seed in (1, 2, 3, 5, 8):
        true = torch.from_numpy(shake_motion(17, seed)).float()[None, None]
        y = blur(sharp, true) + sigma * torch.randn(sharp.shape, generator=torch.Generator().manual_seed(seed))
        found, shows = coarse_to_fine(y, 17, torch.tensor([sigma]))
        assert shows.all()
        assert found.shape == true.shape and (found >= 0).all() and found.sum().item() == pytest.approx(1, abs=1e-5)
        errors.append(error(found, true))
    assert median(errors) < 0.55 and min(errors) < 0.35, errors


def test_photos_do_not_touch_each_other(sharp):
    kernels = [torch.from_numpy(shake_motion(17, seed)).float()[None, None] for seed in (1, 2)]
    photos = [blur(sharp, k) for k in kernels]
    flat = torch.full_like(sharp, 0.4)
    all_, shows = coarse_to_fine(torch.cat([*photos, flat]), 17, torch.zeros(3))
    assert shows.tolist() == [True, True, False] and torch.isfinite(all_).all()
    for photo, found in zip(photos, all_):
        alone, _ = coarse_to_fine(photo, 17, torch.zeros(1))
        torch.testing.assert_close(alone, found[None], atol=0.02, rtol=0)


def test_where_nothing_is_to_be_seen():
    assert coarse_to_fine(torch.full((1, 1, 120, 120), 0.4), 17, torch.zeros(1)) is None
    assert coarse_to_fine(torch.rand(1, 1, 60, 120), 17, torch.zeros(1)) is None  # four kernels do not fit
