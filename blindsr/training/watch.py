"""Watching over a run: a loss that blows up, steps that are not finite, a restorer whose pictures go blank."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

BLANK = 0.1  # a restored picture with a smaller share of the contrast of the true one is no picture
FLAT = 0.01  # standard deviation of a picture that has hardly any contrast to lose
LEVEL = ("model", "data", "loss", "train", "true_kernel")  # the options on which the level of the loss depends


@dataclass(frozen=True)
class WatchConfig:
    """The run falls back to its last checkpoint, with the learning rate times ``slower``, when the mean loss of the
    last ``patience`` steps or so is ``factor`` times what it was, or when as many steps in a row were not finite. After
    ``retreats`` of them it gives up. The first ``after`` steps are not judged."""

    factor: float = 3.0
    patience: int = 20
    slower: float = 0.5
    retreats: int = 5
    after: int = 100

    def __post_init__(self) -> None:
        if self.factor <= 1 or self.patience < 1 or not 0 < self.slower < 1 or self.retreats < 0:
            raise ValueError("factor must be above 1, patience at least 1, slower between 0 and 1, retreats at least 0")


@dataclass
class Pulse:
    """What the watch remembers, saved with the run: running means of the logarithm of the loss, fast and slow."""

    fast: float = 0.0
    slow: float = 0.0
    seen: int = 0
    bad: int = 0  # steps in a row that were not finite


class Watch:
    """``note`` every step; then ask whether the run is ``uneasy`` or ``lost``."""

    def __init__(self, config: WatchConfig):
        self.config, self.pulse = config, Pulse()

    def note(self, loss: float, finite: bool) -> None:
        """The loss of a step, and whether it and its gradient were finite."""
        pulse, config = self.pulse, self.config
        if not finite:
            pulse.bad += 1
            return
        pulse.bad = 0
        pulse.seen += 1
        # Logarithms: losses of different scales and noise levels differ by factors. A step a hundred times as bad is
        # held down to twice the factor, so that no single one can raise the alarm.
        value = math.log(max(loss, 1e-12))
        if pulse.seen > config.after:
            value = min(value, pulse.slow + math.log(2 * config.factor))
        pulse.fast += (value - pulse.fast) / min(pulse.seen, config.patience)
        pulse.slow += (value - pulse.slow) / min(pulse.seen, 20 * config.patience)

    @property
    def uneasy(self) -> bool:
        """The loss may be blowing up: half way, in logarithms, or steps that were not finite followed each other. Not the
        moment for a checkpoint."""
        return self._risen > 0.5 * math.log(self.config.factor) or self.pulse.bad > 1

    @property
    def lost(self) -> bool:
        return self._risen > math.log(self.config.factor) or self.pulse.bad >= self.config.patience

    @property
    def _risen(self) -> float:
        return self.pulse.fast - self.pulse.slow if self.pulse.seen > self.config.after else 0.0

    def forget(self) -> None:
        """The level of the loss has another meaning from now on."""
        self.pulse = Pulse()

    def state(self) -> dict[str, float]:
        return asdict(self.pulse)

    def load(self, state: dict[str, float]) -> None:
        self.pulse = Pulse(**state)


def comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether losses under two resolved training configurations may be compared."""
    return all(a.get(option) == b.get(option) for option in LEVEL)


def contrast(x: Tensor, true: Tensor) -> float:
    """The smallest contrast, over a batch of restored pictures (B, C, H, W), relative to that of the true ones; 0 for
    one that is not finite. Where the true picture is flat itself, a flat one is right: 1."""
    ours, theirs = (t.float().flatten(1).std(1) for t in (x, true))
    tells = (theirs > FLAT) | ~ours.isfinite()
    return float(torch.where(tells, ours / theirs, 1.0).nan_to_num(0, 0, 0).min())
