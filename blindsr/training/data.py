"""Training samples: sharp patches from folders of photos, degraded on the fly.

All randomness of a step comes from (seed, step), so that a resumed run sees the very samples that an
uninterrupted one would, without any state to save.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blindsr import images, registry
from blindsr.interfaces import Batch, BlindSRError
from blindsr.training.settings import DataConfig

CACHE_BYTES = 2 * 1024**3


class PhotoFolder:
    """Photos read on first use and kept, up to 2 GiB; those that cannot be read are named and skipped."""

    def __init__(self, paths: Sequence[Path], report=print):
        self.paths = list(paths)
        self.report = report
        self._kept: dict[Path, np.ndarray | None] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.paths)

    def pixels(self, index: int) -> np.ndarray | None:
        """(H, W, 3) uint8 or uint16, or None for a file that cannot be read."""
        path = self.paths[index]
        if path in self._kept:
            return self._kept[path]
        try:
            pixels = images.read(path).pixels
            pixels = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
        except BlindSRError as error:
            self.report(f"skipped: {error}")
            pixels = None
        size = pixels.nbytes if pixels is not None else 0
        if self._bytes + size <= CACHE_BYTES:
            self._kept[path] = pixels
            self._bytes += size
        return pixels


def split(config: DataConfig) -> tuple[list[Path], list[Path]]:
    """(training, validation) files. Raises BlindSRError for missing or empty folders."""
    paths: list[Path] = []
    for folder in config.folders:
        if not Path(folder).is_dir():
            raise BlindSRError(f"{folder}: no such folder; set data.folders to folders of sharp photos")
        paths += images.find([folder])
    paths = [p for p in paths if not any(fnmatch(p.name, pattern) for pattern in config.exclude)]
    if len(paths) <= config.validation:
        raise BlindSRError(f"{len(paths)} photos are too few to hold back {config.validation} for validation")
    held = {paths[(2 * i + 1) * len(paths) // (2 * config.validation)] for i in range(config.validation)}
    return [p for p in paths if p not in held], sorted(held)


class BatchSource:
    """``batch(step)`` is a pure function of the seed and the step."""

    def __init__(self, config: DataConfig, paths: Sequence[Path], seed: int, report=print):
        self.config, self.seed = config, seed
        self.photos = PhotoFolder(paths, report)
        self.degradation = registry.build(config.degradation)

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        scale = int(rng.choice(self.config.scales))
        side, surround = self.config.side(scale), self.config.surround(scale)
        degradation = self.degradation.choose(rng)
        if degradation.margin(scale):  # what has no kernel cannot be made again for a smaller piece
            surround = side
        lost = 2 * degradation.margin(scale) * scale
        around = torch.stack([self._patch(surround + lost, rng) for _ in range(self.config.batch)])
        made = degradation.batch(around, scale, rng)
        if surround == side:
            return made
        # The patch is blurred by itself: circular as the model has it, not cut from a blurred photo.
        at = (surround - side) // 2
        x = around[..., at : at + side, at : at + side].contiguous()
        y = degradation.apply(x, made.k, made.sigma, scale, rng)
        return replace(made, x=x, y=y, context=made.y)

    def _patch(self, side: int, rng: np.random.Generator) -> Tensor:
        for _ in range(100):
            pixels = self.photos.pixels(int(rng.integers(len(self.photos))))
            if pixels is None or min(pixels.shape[:2]) < side:
                continue
            top, left = (int(rng.integers(n - side + 1)) for n in pixels.shape[:2])
            patch = images.to_float(pixels[top : top + side, left : left + side])
            patch = np.rot90(patch, int(rng.integers(4)))
            if rng.random() < 0.5:
                patch = patch[:, ::-1]
            return torch.from_numpy(np.ascontiguousarray(patch.transpose(2, 0, 1)))
        raise BlindSRError(f"hardly any photo is readable and at least {side} pixels a side; lower data.patch")


def validation_batches(config: DataConfig, paths: Sequence[Path]) -> list[Batch]:
    """One batch per scale, and per part of a mixed degradation: the middles of the held-back photos under kernels and
    noise levels that are the same for every run, whatever its seed."""
    photos = PhotoFolder(paths)
    side = config.validation_patch // 12 * 12  # a multiple of every scale
    batches = []
    for degradation in registry.build(config.degradation).parts():
        for scale in config.scales:
            whole = side + 2 * degradation.margin(scale) * scale
            crops = [middle(pixels, whole) for pixels in map(photos.pixels, range(len(photos))) if pixels is not None]
            crops = [c for c in crops if c is not None]
            if not crops:
                raise BlindSRError(f"no held-back photo is readable and at least {whole} pixels a side")
            rng = np.random.default_rng((0, 1_000_000_007, scale))
            batches.append(degradation.batch(torch.from_numpy(np.stack(crops)), scale, rng))
    return batches


def middle(pixels: np.ndarray, side: int) -> np.ndarray | None:
    """The middle ``side`` pixels of (H, W, 3) as (3, side, side) float32; None when the photo is smaller."""
    if min(pixels.shape[:2]) < side:
        return None
    top, left = ((n - side) // 2 for n in pixels.shape[:2])
    return images.to_float(pixels[top : top + side, left : left + side]).transpose(2, 0, 1)
