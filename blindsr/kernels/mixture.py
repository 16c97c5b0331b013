"""Several kernel families drawn side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from blindsr.config import ConfigError
from blindsr.limits import shares
from blindsr.registry import build, parse_component, register


def _parse_components(value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where}: expected a list of kernels, found {value!r}")
    return tuple(parse_component("kernels")(item, f"{where}[{i}]") for i, item in enumerate(value))


@dataclass(frozen=True)
class MixtureConfig:
    """Each kernel comes from one of ``components``, chosen with probabilities in proportion to ``weights``
    (empty: all alike). All components have the same size."""

    components: tuple[Any, ...] = field(metadata={"parse": _parse_components})
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.components:
            raise ValueError("components may not be empty")
        shares(self.weights, len(self.components))


@register("kernels", "mixture", MixtureConfig)
class Mixture:
    """Draws from several families; see :class:`MixtureConfig`."""

    def __init__(self, config: MixtureConfig):
        self.config = config
        self.components = [build(component) for component in config.components]
        sizes = {component.size for component in self.components}
        if len(sizes) > 1:
            raise ConfigError(f"a mixture needs kernels of one size, not {sorted(sizes)}; set size alike in all")
        self.size = sizes.pop()
        self.shares = shares(config.weights, len(self.components))

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """``n`` kernels in random order, (n, size, size) float32, each with sum 1."""
        which = rng.choice(len(self.components), n, p=self.shares)
        kernels = np.empty((n, self.size, self.size), np.float32)
        for i, component in enumerate(self.components):
            chosen = np.flatnonzero(which == i)
            kernels[chosen] = component.sample(len(chosen), rng)
        return kernels
