"""Training samples made on the device: the photos lie there, and patches are cut, blurred and given noise there.

A GPU does in milliseconds what loader processes on the CPU need many cores for. What is random is still drawn with
numpy, as a :class:`Recipe` of a few kilobytes, which loader processes make ahead; it depends on the seed, the step and
the process's rank alone. The noise comes from a generator of the device under a seed in the recipe: the same on the
same device, not bit for bit that of another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blindsr import images, registry
from blindsr.degradation.classical import Classical, Drawn
from blindsr.interfaces import Batch, BlindSRError
from blindsr.training.data import BATCH, BatchSource
from blindsr.training.photos import Photos
from blindsr.training.settings import DataConfig


@dataclass(frozen=True)
class Recipe:
    """What is drawn for a batch. ``place`` (B, 3): photo, top and left of what is cut; ``turn`` (B, 3): whether it is
    transposed, flipped up-down, flipped left-right; ``drawn``: its kernels and noise; ``gamma`` (B,)."""

    scale: int
    place: Tensor
    turn: Tensor
    drawn: Drawn
    gamma: Tensor
    noise: int


class Cook:
    """Draws the recipes of process ``rank`` of ``world``; knows of the photos nothing but their ``sizes``."""

    def __init__(self, source: BatchSource, degradation: Classical, sizes: list[tuple[int, int]]):
        self.source, self.degradation, self.sizes = source, degradation, sizes

    def __call__(self, step: int) -> Recipe:
        source, config = self.source, self.source.config
        _, scale = source.shared(step)
        rng = np.random.default_rng((source.seed, BATCH, step, 1 + source.rank))
        side, n = config.surround(scale), config.batch
        place = np.empty((n, 3), np.int64)
        for i, number in enumerate(source.numbers(step)):
            photo = source.photo(number)
            while min(self.sizes[photo]) < side:
                photo = int(rng.integers(len(self.sizes)))
            place[i] = photo, *(rng.integers(length - side + 1) for length in self.sizes[photo])
        drawn = self.degradation.draw(n, rng)
        return Recipe(
            scale,
            torch.from_numpy(place),
            torch.from_numpy(rng.random((n, 3)) < 0.5),
            drawn,
            torch.from_numpy(config.draw_gamma(rng, n)),
            int(rng.integers(2**62)),
        )


class ResidentSource:
    """``batch(step)`` as that of :class:`blindsr.training.data.BatchSource`, made on ``device``.

    Raises BlindSRError for a degradation other than the classical one, and where no photo is large enough."""

    prepared = Recipe

    def __init__(self, config: DataConfig, photos: Photos, seed: int, rank: int, world: int, device: torch.device):
        self.degradation = registry.build(config.degradation)
        if type(self.degradation) is not Classical:  # one that builds on it makes other batches
            raise BlindSRError("only the classical degradation runs on the device; leave data.resident out")
        self.config, self.device = config, device
        pieces, sizes, kept = [], [], []
        for i in range(len(photos)):
            pixels = photos.pixels(i)
            if pixels is not None:
                kept.append(i)
                sizes.append(pixels.shape[:2])
                pieces.append(torch.from_numpy(images.to_8_bits(pixels).reshape(-1, 3).copy()))
        largest = max(config.surround(s) for s in config.scales)
        if not any(min(size) >= largest for size in sizes):
            raise BlindSRError(f"no photo is readable and at least {largest} pixels a side; {config.cure_of_size}")
        self.pixels = torch.cat(pieces).to(device)
        self.first = torch.tensor([0, *np.cumsum([len(p) for p in pieces])[:-1]], device=device)
        self.width = torch.tensor([size[1] for size in sizes], device=device)
        self.prepare = Cook(BatchSource(config, photos.subset(kept), seed, rank, world), self.degradation, sizes)

    def batch(self, step: int) -> Batch:
        return self.finish(self.prepare(step))

    def finish(self, recipe: Recipe) -> Batch:
        """The batch of a recipe."""
        s, config = recipe.scale, self.config
        parts = (recipe.place, recipe.turn, recipe.gamma)
        place, turn, gamma = (t.to(self.device, non_blocking=True) for t in parts)
        drawn, noise = recipe.drawn.to(self.device), torch.Generator(self.device).manual_seed(recipe.noise)

        def normal(shape: torch.Size) -> Tensor:
            return torch.randn(shape, generator=noise, device=self.device)

        surround, side = config.surround(s), config.side(s)
        around = self._cut(place, turn, surround) ** gamma[:, None, None, None]
        made = drawn.apply(around, s, normal)
        if surround == side:
            return Batch(around, made, drawn.k, drawn.sigma, s)
        at = (surround - side) // 2
        x = around[..., at : at + side, at : at + side].contiguous()
        return Batch(x, drawn.apply(x, s, normal), drawn.k, drawn.sigma, s, context=made)

    def _cut(self, place: Tensor, turn: Tensor, side: int) -> Tensor:
        """(B, 3, side, side) in [0, 1]"""
        at = torch.arange(side, device=self.device)
        transposed, flipped, mirrored = (turn[:, i, None, None] for i in range(3))
        rows, cols = at[None, :, None], at[None, None, :]
        rows, cols = torch.where(transposed, cols, rows), torch.where(transposed, rows, cols)
        rows, cols = torch.where(flipped, side - 1 - rows, rows), torch.where(mirrored, side - 1 - cols, cols)
        photo, top, left = (place[:, i, None, None] for i in range(3))
        where = self.first[photo] + (top + rows) * self.width[photo] + left + cols
        return self.pixels[where].permute(0, 3, 1, 2).float() / 255
