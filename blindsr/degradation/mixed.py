"""Several degradations in turn, for training data that is partly classical and partly as real photos are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from blindsr import registry
from blindsr.config import find, load
from blindsr.interfaces import Degradation, Degraded
from blindsr.limits import shares


def parse_parts(value: Any, where: str) -> tuple[Any, ...]:
    """Degradations, each written out or as the name of a file in configs/degradation."""
    parts = []
    for i, item in enumerate(value if isinstance(value, (list, tuple)) else [value]):
        if isinstance(item, str) and item not in registry.names("degradation"):
            item = load(find("degradation", item), "degradation")
        parts.append(registry.parse_component("degradation")(item, f"{where}[{i}]"))
    return tuple(parts)


@dataclass(frozen=True)
class MixedConfig:
    """One of ``parts`` (written out, or names of files in configs/degradation) is drawn for every batch, because a
    batch has one grid, with probabilities in the ratio of ``weights`` (none: alike)."""

    parts: tuple[Any, ...] = field(metadata={"parse": parse_parts})
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("parts: name at least one degradation")
        shares(self.weights, len(self.parts))


@registry.register("degradation", "mixed", MixedConfig)
class Mixed(Degradation):
    """See its configuration. It makes no batch itself: whoever wants one asks :meth:`choose` for the part that does."""

    def __init__(self, config: MixedConfig):
        self.config = config
        self._parts = tuple(registry.build(part) for part in config.parts)
        self._shares = shares(config.weights, len(self._parts))

    def parts(self) -> tuple[Degradation, ...]:
        return tuple(pure for part in self._parts for pure in part.parts())

    def choose(self, rng: np.random.Generator) -> Degradation:
        return self._parts[int(rng.choice(len(self._parts), p=self._shares))].choose(rng)

    def __call__(self, hr: np.ndarray, scale: int, rng: np.random.Generator) -> Degraded:
        return self.choose(rng)(hr, scale, rng)
