"""The classical degradation with kernels that a model has looked for before, and what it found.

To restore with an estimated kernel is learned from many of them, and to estimate one takes longer than to restore. So
`scripts/record_estimates.py` has large pieces of photos restored as in use, refinement and all, and here its records teach the
restorer on patch after patch: a patch of any photo is blurred by the true kernel of a record, and comes with the kernel,
noise level and doubt that were found for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from blindsr.degradation.classical import Drawn, normal_by
from blindsr.interfaces import Batch, BlindSRError, Degradation, Degraded, Estimate
from blindsr.kernels.distance import same_size
from blindsr.registry import register


@dataclass(frozen=True)
class Records:
    """N of them: the ``origin`` (N,), which tells those of one model and configuration from others; the ``number`` (N,) of the
    piece that was restored, and its ``scale`` (N,); true kernels ``k`` (N, h, w), standard deviation of the ``noise`` (N,) in
    [0, 1], whether ``rounded`` to 8 bits (N,); the kernels ``found`` (N, h, w), noise levels ``sigma`` (N,) and ``doubt`` (N,)."""

    origin: np.ndarray
    number: np.ndarray
    scale: np.ndarray
    k: np.ndarray
    noise: np.ndarray
    rounded: np.ndarray
    found: np.ndarray
    sigma: np.ndarray
    doubt: np.ndarray

    def save(self, file: IO[bytes]) -> None:
        """Write them to an .npz file."""
        np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Records:
        """Raises BlindSRError for a file that is missing or holds no records."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**{name: file[name] for name in cls.__dataclass_fields__})
        except Exception:  # of any kind: a damaged file has many ways to fail
            raise BlindSRError(f"{path} holds no recorded estimates; make it by scripts/record_estimates.py") from None

    @classmethod
    def joined(cls, parts: Sequence[Records]) -> Records:
        """Those of several, one after another; kernels with zeros around them up to the size of the largest."""

        def whole(name: str) -> np.ndarray:
            values = [getattr(part, name) for part in parts]
            if name in ("k", "found"):
                values = [kernels.numpy() for kernels in same_size(*map(torch.from_numpy, values))]
            return np.concatenate(values)

        return cls(*map(whole, cls.__dataclass_fields__))


@dataclass(frozen=True)
class RecordedEstimatesConfig:
    """``files``: records, as `scripts/record_estimates.py` writes them; those of several models or configurations teach
    together."""

    files: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError("files: name at least one, made by scripts/record_estimates.py")


@register("degradation", "recorded", RecordedEstimatesConfig)
class RecordedEstimates(Degradation):
    """Draws records of the scale that is asked for, and applies them."""

    tells_estimates = True

    def __init__(self, config: RecordedEstimatesConfig):
        self.files = ", ".join(config.files)
        self.records = Records.joined([Records.load(Path(file)) for file in config.files])
        self.kernel_size = self.records.k.shape[-1]

    def batch(self, x: Tensor, scale: int, rng: np.random.Generator, around: Tensor | None = None) -> Batch:
        """Degrade ``x`` (B, C, H, W), circularly; what lies ``around`` it is not needed.

        Raises BlindSRError for a scale without records."""
        of_scale = np.flatnonzero(self.records.scale == scale)
        if not len(of_scale):
            raise BlindSRError(f"there are no records of scale {scale} in {self.files}; leave it out of data.scales")
        drawn = rng.choice(of_scale, len(x))
        named = {name: torch.from_numpy(values[drawn]) for name, values in vars(self.records).items()}
        made = Drawn(named["k"][:, None], named["noise"], named["rounded"])
        y = made.apply(x, scale, normal_by(rng))
        found = Estimate(None, named["sigma"], named["found"][:, None], named["doubt"])
        return Batch(x, y, made.k, made.sigma, scale, found=found)

    def __call__(self, hr: np.ndarray, scale: int, rng: np.random.Generator) -> Degraded:
        raise BlindSRError("recorded estimates are for training alone; take the classical degradation")
