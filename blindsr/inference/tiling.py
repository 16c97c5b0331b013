"""Restoring a photo in overlapping tiles.

Every tile owns a part of the photo and sees a margin around it. Between owners the results fade into one
another over a narrow band. Kernel and noise level belong to the whole photo, never to a tile: they would
differ from tile to tile and show as seams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

FEATHER = 8  # low-resolution pixels over which neighbours fade
PRIOR_MARGIN = 64  # high-resolution pixels that data step and prior should see around a tile, beside the radius of the kernel

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Window:
    """The piece of a photo that a tile reads, and the ``middle`` (row, column) of what it owns: near the photo's borders
    that is not the middle of the piece. All in low-resolution pixels."""

    rows: slice
    cols: slice
    middle: tuple[float, float]

    def within(self, outer: Window) -> Window:
        """This piece of the piece ``outer`` as one of the photo."""
        top, left = outer.rows.start, outer.cols.start
        rows = slice(top + self.rows.start, top + self.rows.stop)
        cols = slice(left + self.cols.start, left + self.cols.stop)
        return Window(rows, cols, (top + self.middle[0], left + self.middle[1]))


@dataclass(frozen=True)
class Span:
    """One tile along one side. It reads low-resolution pixels [start, stop); ``weights`` belong to the
    high-resolution pixels from ``first`` on, and add up to 1 over all spans."""

    start: int
    stop: int
    first: int
    weights: np.ndarray
    middle: float
    """Of the part that it owns, in low-resolution pixels."""

    @property
    def last(self) -> int:
        return self.first + len(self.weights)

    @property
    def piece(self) -> slice:
        return slice(self.start, self.stop)


def plan(length: int, core: int, margin: int, scale: int, step: int = 1, feather: int = FEATHER) -> list[Span]:
    """Cut ``length`` low-resolution pixels into parts of at most ``core``, each read with at least ``margin``
    around it and from a multiple of ``step`` on. All tiles read as many pixels, but where ``step`` forbids it
    near the photo's end: what was prepared for one size serves them all."""
    count = -(-length // core)
    cuts = [round(length * i / count) for i in range(count + 1)]
    feather = max(min(feather, margin, *np.diff(cuts)), 0) * scale
    reads = min(-(-length // count) + 2 * margin + step - 1, length)
    spans = []
    for i, (a, b) in enumerate(zip(cuts, cuts[1:])):
        first = a * scale - (feather // 2 if i else 0)
        last = b * scale + (feather - feather // 2 if i < count - 1 else 0)
        weights = np.ones(last - first, np.float32)
        ramp = (np.arange(feather, dtype=np.float32) + 0.5) / max(feather, 1)
        if i:
            weights[:feather] = ramp
        if i < count - 1:
            weights[len(weights) - feather :] *= 1 - ramp
        start = min(max(a - margin, 0), length - reads) // step * step
        spans.append(Span(start, min(max(start + reads, b + margin), length), first, weights, (a + b) / 2))
    return spans


def bands_of_tiles(
    restore: Callable[[list[Window]], Sequence[Tensor]],
    rows: list[Span],
    cols: list[Span],
    scale: int,
    progress: Progress | None = None,
    together: int = 1,
) -> Iterator[Tensor]:
    """Restore tile by tile; yields the photo from top to bottom in bands (h, s·W, C), on the device of the tiles.

    ``restore`` maps windows of the photo, at most ``together`` and all of one size, to those parts restored, (s·h, s·w, C)
    float32 each. A row of tiles is all that is held. ``progress(done, total)`` is told of every tile.
    """
    pending: Tensor | None = None  # what the tiles above have already given to this row's first band
    done, total = 0, len(rows) * len(cols)
    for i, row in enumerate(rows):
        strip: Tensor | None = None
        for group in _alike(cols, together):
            tiles = restore([Window(row.piece, col.piece, (row.middle, col.middle)) for col in group])
            for col, tile in zip(group, tiles):
                if total == 1:
                    strip = tile
                    continue
                if strip is None:
                    strip = tile.new_zeros(len(row.weights), cols[-1].last, tile.shape[2])
                top, left = row.first - row.start * scale, col.first - col.start * scale
                part = tile[top : top + len(row.weights), left : left + len(col.weights)]
                down, across = (torch.from_numpy(span.weights).to(tile.device) for span in (row, col))
                strip[:, col.first : col.last] += part * down[:, None, None] * across[:, None]
            done += len(group)
            if progress:
                progress(done, total)
        if pending is not None:
            strip[: len(pending)] += pending
        end = rows[i + 1].first if i + 1 < len(rows) else row.last
        pending = strip[end - row.first :].clone()  # a copy, so that the strip itself can be given up
        yield strip[: end - row.first]


def _alike(spans: list[Span], most: int) -> Iterator[list[Span]]:
    """Neighbours that read as many pixels, at most so many at once."""
    group: list[Span] = []
    for span in spans:
        if group and (len(group) == most or span.stop - span.start != group[0].stop - group[0].start):
            yield group
            group = []
        group.append(span)
    yield group
