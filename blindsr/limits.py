"""What the numbers of a configuration may be. Every check raises ValueError with the name of the option, which
:func:`blindsr.config.parse` tells with the place where it stands. NaN is never right."""

from __future__ import annotations

import math
from collections.abc import Sequence


def check_shares(**shares: float) -> None:
    """Shares and probabilities lie between 0 and 1."""
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be between 0 and 1, not {share:g}")


def check_least(least: float, **values: float) -> None:
    """Numbers that are finite and not below ``least``."""
    for name, value in values.items():
        if not least <= value < math.inf:
            raise ValueError(f"{name} must be at least {least:g}, not {value:g}")


def check_rising(least: float, most: float = math.inf, **pairs: Sequence[float]) -> None:
    """Ranges: two finite numbers, the second not below the first, within ``least`` and ``most``."""
    for name, (low, high) in pairs.items():
        if not least <= low <= high <= most or high == math.inf:
            limits = f"of at least {least:g}" if most == math.inf else f"between {least:g} and {most:g}"
            raise ValueError(f"{name} must be two rising numbers {limits}, not [{low:g}, {high:g}]")


def check_odd(**sizes: int) -> None:
    """Sides of kernels: they have a middle."""
    for name, size in sizes.items():
        if size < 3 or size % 2 == 0:
            raise ValueError(f"{name} must be odd and at least 3, not {size}")


def check_some(known: Sequence[int], **chosen: Sequence[int]) -> None:
    """At least one, and all of them among those that are ``known``."""
    for name, values in chosen.items():
        if not values or not set(values) <= set(known):
            raise ValueError(f"{name} must be some of {', '.join(map(str, known))}, not {list(values)}")


def shares(weights: Sequence[float], n: int) -> list[float]:
    """The probabilities of ``n`` alternatives that are drawn in the ratio of ``weights``; none at all: alike."""
    if not weights:
        return [1 / n] * n
    if len(weights) != n:
        raise ValueError(f"weights: there are {len(weights)} for {n} parts")
    check_least(0, **{"every one of the weights": min(weights), "their largest": max(weights)})
    if not (total := sum(weights)) > 0:
        raise ValueError("weights: not all of them may be 0")
    return [weight / total for weight in weights]
