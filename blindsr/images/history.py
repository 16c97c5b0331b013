"""The JPEG that pixels were once, where no file tells of it any more: a picture cropped, saved as PNG, or an array.

A JPEG keeps whole multiples of a step of every cosine that an 8×8 block is made of. So they nearly are in the pixels it is
decoded to, on that one of the 64 grids of blocks that there may be, until the picture is resized or filtered (Fan and
de Queiroz, "Identification of bitmap compression history", IEEE Transactions on Image Processing 12, 2003).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np
import scipy.fft

PIECE, PIECES = 320, 3  # pixels a side and pieces a side, evenly spread, that are looked at in a large picture
ROWS, COLS = np.divmod(np.arange(1, 16), 4)  # the lowest frequencies; higher ones hold next to nothing of most photos
USUAL = np.array([[16, 11, 10, 16], [12, 12, 14, 19], [14, 13, 16, 24], [14, 17, 22, 29]])  # ISO 10918-1, table K.1
STEPS = np.arange(2, 161)  # those of 1 are lost in the rounding of pixels
LARGEST, WIDTH = 400, 0.125  # of the multiples that count, and of the bins that they are counted in
ROUNDING = 0.35  # what rounding red, green and blue leaves in a cosine of the luma
CLEAR = 5.0  # standard deviations from what chance makes
GOOD = 0.6  # of the agreement that rounding leaves
ALIKE = 2  # steps in proportion to the usual ones lie within such a factor of their median
LEAST = 4  # frequencies whose steps must show
ALONE = 3  # times as clearly as on any other grid


def past_step(pixels: np.ndarray) -> float | None:
    """The mean quantisation step of the 4×4 lowest frequencies of brightness that (H, W, C) uint8 ``pixels`` went through as
    a JPEG, in levels; None where none shows: without a JPEG, at its best qualities, and after a resize."""
    counts = np.zeros((len(ROWS), 64, int(LARGEST / WIDTH)))  # as what they are multiplied with
    for piece in _pieces(pixels):
        _count(piece, counts)
    multiples, relevant = _lattices()
    n = counts @ relevant  # (frequency, grid, step)
    agreement = (counts @ multiples) / np.maximum(n, 1)  # 1: all are multiples of the step; 0: as by chance
    clear = agreement * np.sqrt(2 * n)
    clear[(clear < CLEAR) | (agreement < GOOD * np.exp(-2 * (np.pi * ROUNDING / STEPS) ** 2))] = 0
    likely, strength = STEPS[clear.argmax(2)], clear.max(2)  # (frequency, grid)
    coarseness = np.ma.masked_array(likely / USUAL[ROWS, COLS][:, None], strength == 0)
    typical = np.ma.median(coarseness, axis=0)
    shown = (np.abs(np.ma.log(coarseness / typical)) < np.log(ALIKE)).filled(False)
    evidence = (shown * strength).sum(0)
    grid = int(evidence.argmax())
    if shown[:, grid].sum() < LEAST or evidence[grid] < ALONE * np.delete(evidence, grid).max():
        return None
    steps = (typical[grid] * USUAL).round()
    known = shown[:, grid]
    steps[ROWS[known], COLS[known]] = likely[known, grid]
    return float(steps.clip(1).mean())


def _pieces(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of (H, W, C) that begin at multiples of 8."""
    spans = []
    for length in pixels.shape[:2]:
        if length <= PIECE * PIECES:
            spans.append([slice(0, length)])
        else:
            spans.append([slice(int(at) // 8 * 8, int(at) // 8 * 8 + PIECE) for at in np.linspace(0, length - PIECE, PIECES)])
    for rows in spans[0]:
        for cols in spans[1]:
            yield pixels[rows, cols]


def _count(pixels: np.ndarray, counts: np.ndarray) -> None:
    """Add to ``counts`` (frequency, grid, size) the cosines of the blocks that begin at every pixel, without those that
    hold cut-off pixels."""
    if min(pixels.shape[:2]) < 8:
        return
    levels = np.ascontiguousarray(pixels, np.float32)
    luma = cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY) if levels.shape[2] == 3 else levels[..., 0]
    rows, cols = (n - 7 for n in luma.shape)
    clipped = ((pixels == 0) | (pixels == 255)).any(2).astype(np.float32)
    kept = _of_blocks(clipped, np.ones(8), np.ones(8))[:rows, :cols] < 0.5
    grid = (8 * (np.arange(rows) % 8)[:, None] + np.arange(cols) % 8)[kept]
    cosines, sizes = scipy.fft.dct(np.eye(8), axis=0, norm="ortho"), counts.shape[2]
    for i, (u, v) in enumerate(zip(ROWS, COLS)):
        size = np.abs(_of_blocks(luma, cosines[u], cosines[v])[:rows, :cols][kept])
        inside = size < LARGEST
        place = grid[inside] * sizes + (size[inside] / WIDTH).astype(np.int64)
        counts[i] += np.bincount(place, minlength=64 * sizes).reshape(64, sizes)


def _of_blocks(picture: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """For every pixel the sum over the 8×8 pixels from it on, weighted ``down`` and ``across``."""
    return cv2.sepFilter2D(picture, cv2.CV_32F, across, down, anchor=(0, 0))


@cache
def _lattices() -> tuple[np.ndarray, np.ndarray]:
    """(size, step) each: how well a size is a multiple of a step, from 1 to −1, and whether it counts: what a step has made
    0 tells nothing of it."""
    size, step = (np.arange(int(LARGEST / WIDTH))[:, None] + 0.5) * WIDTH, STEPS[None]
    relevant = (size > step / 2).astype(float)
    return relevant * np.cos(2 * np.pi * size / step), relevant
