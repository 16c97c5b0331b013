"""What an operation of the shuffled degradation is: parameters drawn at random, then applied without chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Drawn = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """A pair in the making: ``lr`` (h, w, 3) is degraded step by step, ``hr`` (H, W, 3) is what it should have
    been; both float32 RGB in [0, 1]. ``size`` (h, w) is what ``lr`` must have in the end."""

    lr: np.ndarray
    hr: np.ndarray
    size: tuple[int, int]


class Operation:
    """One kind of degradation. Its configuration is the law; ``draw`` picks from it, ``apply`` does it."""

    divides: int = 1
    """By how much the operation shrinks the picture before anything else sees it; 1 for nearly all."""

    def __init__(self, config: Any):
        self.config = config

    def draw(self, rng: np.random.Generator, scale: int) -> Drawn:
        """Parameters as JSON-ready values, among them a seed where noise is needed. ``scale`` is the factor by
        which the picture still has to shrink."""
        raise NotImplementedError

    def apply(self, pair: Pair, drawn: Drawn) -> Pair:
        """``pair`` after the operation: a function of its arguments alone, the same bits every time."""
        raise NotImplementedError

    def reach(self, scale: int) -> float:
        """How far it carries light, in pixels of the low-resolution picture, three standard deviations or so."""
        return 0.0


def new_seed(rng: np.random.Generator) -> int:
    """A seed for the noise of one operation, small enough for JSON readers that know doubles only."""
    return int(rng.integers(2**53))
