"""Several tiles at once, as on a GPU: the same picture as one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blindsr import images
from blindsr.inference.facade import BlindSR
from blindsr.inference.sizes import Sizes


@pytest.fixture(scope="module")
def model(small_model: Path) -> BlindSR:
    return BlindSR.from_pretrained(small_model, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    noise = torch.rand(1, 3, 16, 34, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(noise, (130, 270), mode="bicubic").clamp(0, 1)
    return images.from_float(smooth[0].permute(1, 2, 0).numpy(), np.uint8)


def at_once(monkeypatch, model: BlindSR, count: int, most: int | None = None) -> list[int]:
    """Lets ``count`` tiles be restored at once, and answers a list of how many were; above ``most`` memory ends."""
    seen, forward = [], model.model.forward

    def spy(y, *rest, **options):
        seen.append(len(y))
        if most is not None and len(y) > most:
            raise torch.OutOfMemoryError("out of memory")
        return forward(y, *rest, **options)

    monkeypatch.setattr(Sizes, "together", lambda self, height, width: count)
    monkeypatch.setattr(model.model, "forward", spy)
    return seen


@pytest.mark.parametrize(
    "options",
    [{"kernel": "gaussian:1.2", "sigma": 0.01, "tile": 64}, {"tile": 64}, {"per_tile": True}],
    ids=["given", "blind", "varying"],
)
def test_several_tiles_at_once_are_the_same_picture(options, model: BlindSR, source, monkeypatch) -> None:
    one = model.restore(source, 1, **options)
    seen = at_once(monkeypatch, model, 3)
    several = model.restore(source, 1, **options)
    assert max(seen) > 1 and several.tiles == one.tiles > 1
    change = np.abs(several.image.astype(int) - one.image)  # other orders of addition
    assert change.max() <= 2 and (change > 1).mean() < 1e-4 and (change > 0).mean() < 0.05
    np.testing.assert_allclose(several.kernel, one.kernel, atol=1e-6)
    assert several.sigma == pytest.approx(one.sigma) and several.doubt == pytest.approx(one.doubt)
    assert len(several.loops) == len(one.loops)


def test_what_is_too_much_at_once_goes_one_by_one(model: BlindSR, source, monkeypatch) -> None:
    options = {"kernel": "gaussian:1.2", "sigma": 0.01, "tile": 64}
    one = model.restore(source, 1, **options)
    seen = at_once(monkeypatch, model, 3, most=1)
    careful = model.restore(source, 1, **options)
    assert max(seen) == 3 and careful.tiles == one.tiles and seen.count(1) == one.tiles
    assert np.array_equal(careful.image, one.image)


@pytest.mark.parametrize("known", [{}, {"kernel": "gaussian:1.2", "sigma": 0.0}])
def test_rounding_is_told_as_noise(known, model: BlindSR, source, monkeypatch) -> None:
    """A file of 8 bits is never without noise, one of 16 nearly."""
    told, forward = [], model.model.restorer.forward

    def spy(y, k, sigma, *rest, **options):
        told.append(255 * float(sigma.min()))
        return forward(y, k, sigma, *rest, **options)

    monkeypatch.setattr(model.model.restorer, "forward", spy)
    monkeypatch.setattr(model.model, "first_estimate", noiseless(model.model.first_estimate))
    monkeypatch.setattr(model.model, "correct", noiseless(model.model.correct))
    model.restore(source, 2, **known)
    assert min(told) == pytest.approx(12**-0.5, rel=1e-3)
    told.clear()
    model.restore(source.astype(np.uint16) * 257, 2, **known)
    assert min(told) == pytest.approx(12**-0.5 / 257, rel=1e-3)


def noiseless(estimate):
    def without(*inputs):
        found = estimate(*inputs)
        return replace(found, sigma=torch.zeros_like(found.sigma))

    return without
