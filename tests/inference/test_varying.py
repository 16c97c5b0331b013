"""Blur that varies over a photo."""

import numpy as np
import pytest
import torch

from blindsr import images
from blindsr.inference.facade import BlindSR
from blindsr.inference.varying import CELL, KernelField, cells_of, find_field
from blindsr.interfaces import BlindSRError, Estimate
from blindsr.kernels.gaussian import gaussian
from blindsr.kernels.width import kernel_width


def finder(width_at, doubt_at=lambda rows, cols: 0.1):
    """An estimate that depends on where the piece lies."""
    seen: list[tuple[slice, slice]] = []

    def estimate(rows: slice, cols: slice) -> Estimate:
        seen.append((rows, cols))
        k = torch.from_numpy(gaussian(25, width_at(rows, cols)))[None, None]
        return Estimate(None, torch.zeros(1), k, torch.tensor([doubt_at(rows, cols)]))

    return estimate, seen


@pytest.mark.parametrize("size", [(30, 40), (128, 700), (515, 389)])
def test_windows_lie_in_the_photo_around_their_cells(size) -> None:
    estimate, seen = finder(lambda rows, cols: 1.0)
    field = find_field(size, estimate)
    assert field.doubts.shape == cells_of(size) and len(seen) == field.doubts.size
    for i, (rows, cols) in enumerate(seen):
        for piece, length, index, count in zip((rows, cols), size, divmod(i, cells_of(size)[1]), cells_of(size)):
            assert 0 <= piece.start < piece.stop <= length
            assert piece.start <= (index + 0.5) * length / count <= piece.stop


def test_kernels_follow_the_photo_and_are_kernels() -> None:
    estimate, _ = finder(lambda rows, cols: 0.8 + (cols.start + cols.stop) / 2 / 400)
    field = find_field((256, 640), estimate)
    widths = [kernel_width(k) for k in field.kernels[0]]
    assert widths == sorted(widths) and widths[-1] - widths[0] > 0.7
    np.testing.assert_allclose(field.kernels.sum((2, 3)), 1, atol=1e-5)
    left, _ = field.at((25, 25))
    right, _ = field.at((228, 620))
    assert np.array_equal(left, field.kernels[0, 0]) and np.array_equal(right, field.kernels[-1, -1])


def test_a_doubtful_cell_takes_the_kernel_of_its_neighbours() -> None:
    def is_sky(rows: slice, cols: slice) -> bool:
        return rows.start == 0 and cols.start == 0

    estimate, _ = finder(
        lambda rows, cols: 3.0 if is_sky(rows, cols) else 1.0, lambda rows, cols: 0.9 if is_sky(rows, cols) else 0.08
    )
    field = find_field((3 * CELL, 3 * CELL), estimate)
    assert kernel_width(field.kernels[0, 0]) < 1.3 and field.doubts[0, 0] < 0.2


def test_what_does_not_vary_stays_as_it_is() -> None:
    estimate, _ = finder(lambda rows, cols: 1.4)
    field = find_field((300, 300), estimate)
    np.testing.assert_allclose(field.kernels, np.broadcast_to(gaussian(25, 1.4), field.kernels.shape), atol=1e-6)


def test_restoring_with_a_field(small_model, monkeypatch) -> None:
    """Every tile is restored with the kernel of its cell, those at the borders too, which read as much as the others and
    so have theirs off the middle."""
    model = BlindSR.from_pretrained(small_model, precision="fp32")
    rng = np.random.default_rng(0)
    source = images.from_float(rng.random((200, 400, 3), dtype=np.float32) * 0.2 + 0.4, np.uint8)
    forward, told = model.model.forward, []

    def spy(y, scale, k=None, sigma=None, *rest, **options):
        told.append(None if k is None else k[0, 0].numpy())
        return forward(y, scale, k, sigma, *rest, **options)

    monkeypatch.setattr(model.model, "forward", spy)
    restored = model.restore(source, 1, per_tile=True)
    rows, cols = restored.field.doubts.shape
    assert (rows, cols) == (2, 3) and restored.image.shape == source.shape
    given = [k for k in told if k is not None]
    assert len({k.tobytes() for k in restored.field.kernels.reshape(6, -1)}) == 6
    assert len(given) == restored.tiles == 2 * 4  # 400 pixels are three cells, and four tiles of at most 128
    for tile, (i, j) in enumerate((i, j) for i in (0, 1) for j in (0, 1, 1, 2)):
        np.testing.assert_array_equal(given[tile], restored.field.kernels[i, j])
    record = restored.record()
    assert np.shape(record["kernel_widths"]) == (2, 3) == np.shape(record["kernel_doubts"])
    with pytest.raises(BlindSRError, match="the same everywhere"):
        model.restore(source, 1, "gaussian:1.0", per_tile=True)


def test_one_cell_is_the_whole_photo() -> None:
    kernel = gaussian(9, 1.0)[None, None]
    field = KernelField(kernel, np.array([[0.2]]), (40, 50))
    found, doubt = field.at((30, 20))
    assert np.array_equal(found, kernel[0, 0]) and doubt == 0.2
