"""Tiles: a partition of unity, each pixel restored by its own tile, one row of tiles held at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from blindsr.inference.tiling import Window, bands_of_tiles, plan


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("length", "core", "margin"), [(1, 32, 5), (32, 32, 5), (33, 32, 5), (500, 64, 30), (97, 3, 2), (64, 32, 0)]
)
@pytest.mark.parametrize("step", [1, 8])
def test_the_weights_add_up_to_one(length: int, core: int, margin: int, scale: int, step: int) -> None:
    spans = plan(length, core, margin, scale, step)
    total = np.zeros(length * scale)
    for span in spans:
        assert 0 <= span.start * scale <= span.first and span.last <= span.stop * scale <= length * scale
        assert span.start % step == 0 and span.stop - span.start <= core + 2 * margin + 2 * step
        total[span.first : span.last] += span.weights
    assert np.allclose(total, 1, atol=1e-6)
    for before, after in zip(spans, spans[1:]):
        assert before.first < after.first and before.last <= after.last
        assert after.start <= before.stop


def test_one_span_where_one_is_enough() -> None:
    (span,) = plan(40, 40, 9, 3)
    assert (span.start, span.stop, span.first, span.last) == (0, 40, 0, 120)
    assert (span.weights == 1).all()


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("core", [200, 40, 9])
@pytest.mark.parametrize("together", [1, 3])
def test_tiles_of_a_local_operation_are_invisible(scale: int, core: int, together: int) -> None:
    source = np.random.default_rng(0).random((70, 113, 2), dtype=np.float32)
    rows, cols = plan(70, core, 6, scale), plan(113, core, 6, scale)
    told: list[tuple[int, int]] = []
    at_once: list[int] = []

    def restore(windows: list[Window]) -> list[torch.Tensor]:
        sizes = {(w.rows.stop - w.rows.start, w.cols.stop - w.cols.start) for w in windows}
        assert len(windows) <= together and len(sizes) == 1
        at_once.append(len(windows))
        return [torch.from_numpy(source[w.rows, w.cols].repeat(scale, 0).repeat(scale, 1)) for w in windows]

    bands = list(bands_of_tiles(restore, rows, cols, scale, lambda *p: told.append(p), together))
    assert len(bands) == len(rows) and all(band.dtype == torch.float32 for band in bands)
    np.testing.assert_allclose(np.concatenate(bands), source.repeat(scale, 0).repeat(scale, 1), atol=1e-6)
    count = len(rows) * len(cols)
    assert told == [(int(n), count) for n in np.cumsum(at_once)] and sum(at_once) == count
    assert max(at_once) == min(together, len(cols))


def test_neighbours_fade_into_one_another() -> None:
    """Tiles that disagree by one give a ramp, not a step."""
    rows, cols = plan(8, 8, 8, 2), plan(64, 32, 8, 2)
    tiles = iter((0.0, 1.0))

    def restore(windows: list[Window]) -> list[torch.Tensor]:
        (w,) = windows
        return [torch.full(((w.rows.stop - w.rows.start) * 2, (w.cols.stop - w.cols.start) * 2, 1), next(tiles))]

    result = np.concatenate(list(bands_of_tiles(restore, rows, cols, 2)))
    profile = result[3, :, 0]
    assert profile[0] == 0 and profile[-1] == 1
    assert 0 < np.diff(profile).max() < 0.1 and np.diff(profile).min() >= 0
    assert np.searchsorted(profile, 0.5) == pytest.approx(64, abs=1)


def test_tiles_are_of_one_size() -> None:
    """What was prepared for one tile serves the others; only the last may reach a little further."""
    spans = plan(1000, 120, 30, 3, step=8)
    sizes = {s.stop - s.start for s in spans[:-1]}
    assert len(spans) == 9 and len(sizes) == 1
    assert 0 <= spans[-1].stop - spans[-1].start - sizes.pop() < 8
