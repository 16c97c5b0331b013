"""The shuffled degradation of BSRGAN as data: a list of operations, their laws, and what may be reordered.

Zhang, Liang, Van Gool, Timofte, "Designing a Practical Degradation Model for Deep Blind Image Super-Resolution"
(ICCV 2021). What is drawn (operations, order, parameters, seeds) is a record in JSON that makes the very same pair
again. The low-resolution picture lies on the *centre* grid: every resampling here keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blindsr import registry
from blindsr.degradation.operation import Operation, Pair
from blindsr.interfaces import SCALES, Batch, BlindSRError, Degradation, Degraded
from blindsr.limits import check_shares, check_some

JITTER = 8  # low-resolution pixels: a patch must not always begin where a JPEG block does


@dataclass(frozen=True)
class Step:
    """An operation that happens with ``probability``, at the named ``scales`` only."""

    op: Any = field(metadata={"parse": registry.parse_component("operation")})
    probability: float = 1.0
    scales: tuple[int, ...] = SCALES

    def __post_init__(self) -> None:
        check_shares(probability=self.probability)
        check_some(SCALES, scales=self.scales)


@dataclass(frozen=True)
class ShuffledConfig:
    """``first``, then ``steps``, then ``last``. With probability ``shuffle`` the steps come in random order; those
    whose operations are named in ``keep_order`` nevertheless in the order written."""

    steps: tuple[Step, ...]
    first: tuple[Step, ...] = ()
    last: tuple[Step, ...] = ()
    shuffle: float = 1.0
    keep_order: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_shares(shuffle=self.shuffle)
        if strange := set(self.keep_order) - {op_name(s) for s in self.steps}:
            raise ValueError(f"keep_order: no step is called {min(strange)!r}")
        fitted = [op_name(s) == "fit" and s.probability == 1 for s in (*self.steps, *self.last)]
        if not any(fitted):
            raise ValueError("some step must always be 'fit', or the sizes will not match")

    def without(self, *names: str) -> ShuffledConfig:
        """This degradation without the operations of these names; raises BlindSRError for one that it has not, and where
        what is left is none."""
        known = {op_name(s) for s in (*self.first, *self.steps, *self.last)}
        for name in names:
            if name not in known:
                raise BlindSRError(f"no operation is called {name!r} here; there are {', '.join(sorted(known))}")
        kept = {
            part: tuple(s for s in getattr(self, part) if op_name(s) not in names)
            for part in ("first", "steps", "last")
        }
        kept["keep_order"] = tuple(name for name in self.keep_order if name not in names)
        try:
            return ShuffledConfig(**kept, shuffle=self.shuffle)
        except ValueError as error:
            raise BlindSRError(f"--without {' '.join(names)}: {error}") from None


def op_name(step: Step) -> str:
    return registry.name_of(step.op)


@registry.register("degradation", "shuffled", ShuffledConfig)
class Shuffled(Degradation):
    """Draws a sequence of operations, and applies it; :func:`replay` does so again."""

    def __init__(self, config: ShuffledConfig):
        self.config = config
        parts = (config.first, config.steps, config.last)
        self._first, self._steps, self._last = ([(s, registry.build(s.op)) for s in part] for part in parts)

    # -- drawing ---------------------------------------------------------------------------------------

    def draw(self, scale: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """The operations of one degradation, in order, as JSON-ready ``{"op": name, …parameters}``."""
        steps = self._steps
        if rng.random() < self.config.shuffle:
            steps = self._shuffled(rng)
        drawn, remaining = [], scale
        for step, operation in (*self._first, *steps, *self._last):
            if scale not in step.scales or rng.random() >= step.probability:
                continue
            drawn.append({"op": op_name(step), **operation.draw(rng, remaining)})
            remaining = max(1, remaining // operation.divides)
        return drawn

    def _shuffled(self, rng: np.random.Generator) -> list[tuple[Step, Operation]]:
        def keeps(step: tuple[Step, Operation]) -> bool:
            return op_name(step[0]) in self.config.keep_order

        held = filter(keeps, self._steps)
        return [next(held) if keeps(self._steps[i]) else self._steps[i] for i in rng.permutation(len(self._steps))]

    def margin(self, scale: int) -> int:
        """Low-resolution pixels around a patch that its pixels depend on, jitter included."""
        reach = [operation.reach(scale) for _, operation in (*self._first, *self._steps, *self._last)]
        return math.ceil(math.sqrt(sum(r * r for r in reach))) + JITTER

    # -- degrading -------------------------------------------------------------------------------------

    def __call__(self, hr: np.ndarray, scale: int, rng: np.random.Generator, patch: int = 0) -> Degraded:
        """One pair from ``hr`` (H, W, 1 or 3) float32 in [0, 1], cropped to a multiple of the scale.

        With ``patch`` above 0 a random piece whose low-resolution side is that, cut out with a margin before
        it is degraded. Gray photos answer three equal channels of ``hr``. Raises BlindSRError for a photo that
        is too small.
        """
        height, width = (n // scale for n in hr.shape[:2])
        need = patch or 1
        if min(height, width) < need:
            short = need * scale - min(hr.shape[:2])
            raise BlindSRError(
                f"the photo is too small: {hr.shape[0]}×{hr.shape[1]} pixels, {short} short of the {need * scale} "
                f"that are needed at ×{scale}; use a larger photo" + (" or a smaller patch" if patch else "")
            )
        record: dict[str, Any] = {"name": "shuffled", "scale": scale, "crop": [0, 0, height, width]}
        if patch:
            top, left = (int(rng.integers(n - patch + 1)) for n in (height, width))
            record["patch"] = [top, left, patch]
            margin = self.margin(scale)
            edges = [int(rng.integers(JITTER)) for _ in range(2)]
            first = [max(0, at - margin + e) for at, e in zip((top, left), edges)]
            last = [min(n, at + patch + margin) for n, at in zip((height, width), (top, left))]
            record["crop"] = [*first, *last]
        record["steps"] = self.draw(scale, rng)
        return replay(hr, record)

    def batch(self, x: Tensor, scale: int, rng: np.random.Generator) -> Batch:
        """Degrade ``x`` (B, 3, H, W), each by a draw of its own, and cut the margin off, jitter and all."""
        margin, lost = self.margin(scale), 2 * self.margin(scale)
        lr, hr = [], []
        for photo in x:
            top, left = margin - rng.integers(JITTER, size=2)
            made = self(photo.permute(1, 2, 0).numpy(), scale, rng)
            for kept, picture, s in ((lr, made.lr, 1), (hr, made.hr, scale)):
                height, width = (n - lost * s for n in picture.shape[:2])
                kept.append(picture[top * s : top * s + height, left * s : left * s + width])
        lr, hr = np.stack(lr), np.stack(hr)
        x, y = (torch.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2))) for a in (hr, lr))
        return Batch(x, y, None, None, scale, "centre")


def replay(hr: np.ndarray, record: Mapping[str, Any]) -> Degraded:
    """The pair that the ``record`` of a shuffled degradation tells of; no configuration is needed."""
    scale = record["scale"]
    top, left, bottom, right = record["crop"]
    hr = np.ascontiguousarray(hr[top * scale : bottom * scale, left * scale : right * scale], np.float32)
    hr = np.clip(hr.repeat(3, axis=2) if hr.shape[2] == 1 else hr, 0, 1)
    pair = Pair(hr, hr, (bottom - top, right - left))
    for step in record["steps"]:
        drawn = dict(step)
        pair = registry.default("operation", drawn.pop("op")).apply(pair, drawn)
    if pair.lr.shape[:2] != pair.size:
        sizes = " instead of ".join(f"{w}×{h}" for h, w in (pair.lr.shape[:2], pair.size))
        raise BlindSRError(f"the degradation made {sizes} pixels: at ×{scale} 'fit' must come after all that resizes")
    lr, hr = pair.lr, pair.hr
    if "patch" in record:
        row, col, side = record["patch"][0] - top, record["patch"][1] - left, record["patch"][2]
        lr = lr[row : row + side, col : col + side]
        hr = hr[row * scale : (row + side) * scale, col * scale : (col + side) * scale]
    return Degraded(np.ascontiguousarray(lr, np.float32), np.ascontiguousarray(hr), None, None, "centre", dict(record))
