"""Fitting a kernel basis from a configuration: what ``blindsr basis`` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from blindsr.config import find, load, parse
from blindsr.interfaces import BlindSRError
from blindsr.kernels.basis import KernelBasis, principal_components
from blindsr.kernels.mixture import Mixture
from blindsr.limits import check_least
from blindsr.registry import as_mapping, build, name_of, parse_component

MARKS = (5, 10, 16, 24, 32, 48, 64, 80, 96, 100, 128, 160, 192, 224, 256, 320)  # where a curve is printed
_HELD_OUT = 5000  # fresh kernels of every family on which the finished basis is measured


@dataclass(frozen=True)
class BasisConfig:
    """A basis of ``components`` principal components of ``count`` kernels drawn from ``kernels`` with ``seed``.

    ``precision`` is that of the components in the file; the mean is always float32.
    """

    kernels: Any = field(metadata={"parse": parse_component("kernels")})
    count: int = 100_000
    components: int = 10
    seed: int = 0
    precision: Literal["float32", "float16"] = "float32"

    def __post_init__(self) -> None:
        if not 1 <= self.components < self.count:
            raise ValueError(f"needs 1 ≤ components < count, not {self.components} and {self.count}")
        check_least(0, seed=self.seed)


def load_basis_config(name: str | Path) -> BasisConfig:
    """Read a :class:`BasisConfig` from a YAML file, or from the shipped configuration of that bare name.

    Raises ConfigError when there is none or it is wrong.
    """
    path = find("basis", str(name))
    return parse(BasisConfig, load(path, "basis"), path.stem)


def kept(basis: KernelBasis, kernels: np.ndarray) -> float:
    """Share of the variance of ``kernels`` (n, h, w), about their own mean, that the basis keeps."""
    flat = kernels.reshape(len(kernels), -1).astype(np.float64)
    components = basis.components.double().numpy()
    off = flat - basis.mean.double().numpy()
    lost = off - (off @ components.T) @ components
    return float(1 - (lost**2).sum() / ((flat - flat.mean(0)) ** 2).sum())


def fit_basis(
    config: BasisConfig | str | Path,
    out: str | Path | None = None,
    say: Callable[[str], None] = print,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Fit the basis, tell its variance curve through ``say``, write it to ``out`` and return its record.

    ``config`` may be the path or name of one (:func:`load_basis_config`). ``out`` is an .npz file, or a
    folder (None: the current one) in which the file is called like the configuration.

    The record holds the configuration (generator, seed, count), size, components, ``kept`` (the share
    of variance kept by the first 1, 2, … components) and ``held_out`` (the share kept by all of them, on
    fresh kernels of each family). Raises BlindSRError when ``out`` exists (without ``overwrite``) or cannot be written.
    """
    name = "basis" if isinstance(config, BasisConfig) else Path(config).stem
    out = Path(out or ".")
    if out.is_dir() or not out.suffix:
        out = out / f"{name}.npz"
    if out.suffix != ".npz":
        raise BlindSRError(f"{out}: a kernel basis is an .npz file; name it so")
    if out.exists() and not overwrite:
        raise BlindSRError(f"{out}: exists already; choose another --out or allow it to be replaced (--overwrite)")
    if not isinstance(config, BasisConfig):
        config = load_basis_config(config)
    family = build(config.kernels)
    if family.size % 2 == 0:
        raise BlindSRError(f"kernels of {family.size} pixels a side have no middle; make their size odd")
    rng = np.random.default_rng(config.seed)
    say(f"drawing {config.count} kernels of {family.size}×{family.size}")
    kernels = family.sample(config.count, rng)
    components, mean, shares = principal_components(kernels, config.components)
    del kernels
    curve = np.cumsum(shares.astype(np.float64))
    for m in sorted({*MARKS, config.components}):
        if m <= config.components:
            say(f"{m:4d} components keep {100 * curve[m - 1]:6.2f} % of the variance")
    basis = KernelBasis(components.astype(config.precision).astype(np.float32), mean)
    families = family.components if isinstance(family, Mixture) else [family]
    held_out = {}
    for number, member in enumerate(families, 1):
        fresh = member.sample(_HELD_OUT, rng)
        label = name_of(member.config)
        held_out[label if label not in held_out else f"{label} {number}"] = round(kept(basis, fresh), 5)
    for label, share in held_out.items():
        say(f"on {_HELD_OUT} fresh kernels, {label}: {100 * share:.2f} %")
    record = {
        "config": as_mapping(config),
        "size": basis.size,
        "components": basis.m,
        "kept": [round(float(share), 6) for share in curve],
        "held_out": held_out,
    }
    basis.save(out, record, config.precision)
    say(f"wrote {out} ({out.stat().st_size / 1024:.0f} KiB)")
    return record
