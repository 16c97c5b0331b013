"""Noise: Gaussian (colour, gray, of general covariance), speckle, Poisson."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from blindsr.degradation.operation import Drawn, Operation, Pair, new_seed
from blindsr.limits import check_least, check_rising, check_shares
from blindsr.ops.filtering import LUMA
from blindsr.registry import register


def random_covariance(rng: np.random.Generator, level: float) -> list[list[float]]:
    """A covariance of three colours, (3, 3), as in BSRGAN's code: |level² Uᵀ D U|, D diagonal and uniform in (0, 1), U
    the left singular vectors of a matrix that is uniform in (0, 1)."""
    d = rng.random(3)
    u = np.linalg.svd(rng.random((3, 3)))[0]
    return np.abs(level**2 * (u.T * d) @ u).tolist()


def white(shape: tuple[int, ...], drawn: Drawn) -> np.ndarray:
    """The noise that ``drawn`` tells of, float32, for a picture of ``shape`` (h, w, 3)."""
    rng = np.random.default_rng(drawn["seed"])
    if drawn["kind"] == "gray":
        return rng.standard_normal((*shape[:2], 1), dtype=np.float32) * np.float32(drawn["level"] / 255)
    noise = rng.standard_normal(shape, dtype=np.float32)
    if drawn["kind"] == "colour":
        return noise * np.float32(drawn["level"] / 255)
    # Rounding may leave a negative eigenvalue; it counts as none.
    values, vectors = np.linalg.eigh(np.array(drawn["covariance"]))
    return noise @ (vectors * np.sqrt(np.maximum(values, 0))).T.astype(np.float32)


@dataclass(frozen=True)
class GaussianNoiseConfig:
    """Standard deviation a whole number from ``level``, both ends included, on the 0–255 scale. A share ``colour`` is
    independent in the three colours, ``gray`` alike in them; the rest has a random covariance, as strong as the
    highest level."""

    level: tuple[int, int] = (2, 25)
    colour: float = 0.4
    gray: float = 0.4

    def __post_init__(self) -> None:
        check_rising(0, 255, level=self.level)
        check_least(0, colour=self.colour, gray=self.gray)
        check_shares(**{"colour and gray together": round(self.colour + self.gray, 9)})


@register("operation", "gaussian_noise", GaussianNoiseConfig)
class GaussianNoise(Operation):
    def draw(self, rng: np.random.Generator, scale: int) -> Drawn:
        c, u = self.config, rng.random()
        drawn: Drawn = {"level": int(rng.integers(c.level[0], c.level[1] + 1)), "seed": new_seed(rng)}
        if u < c.colour:
            return drawn | {"kind": "colour"}
        if u < c.colour + c.gray:
            return drawn | {"kind": "gray"}
        return {"kind": "general", "covariance": random_covariance(rng, c.level[1] / 255), "seed": drawn["seed"]}

    def apply(self, pair: Pair, drawn: Drawn) -> Pair:
        return replace(pair, lr=np.clip(pair.lr + white(pair.lr.shape, drawn), 0, 1))


@dataclass(frozen=True)
class SpeckleNoiseConfig(GaussianNoiseConfig):
    """As Gaussian noise, but proportional to the brightness."""


@register("operation", "speckle_noise", SpeckleNoiseConfig)
class SpeckleNoise(GaussianNoise):
    def apply(self, pair: Pair, drawn: Drawn) -> Pair:
        return replace(pair, lr=np.clip(pair.lr + pair.lr * white(pair.lr.shape, drawn), 0, 1))


@dataclass(frozen=True)
class PoissonNoiseConfig:
    """Photon noise: white is 10^u photons, u uniform in ``exponent``. A share ``colour`` counts in every colour, the
    others in the luminance, whose noise is then added to all three."""

    exponent: tuple[float, float] = (2.0, 4.0)
    colour: float = 0.5

    def __post_init__(self) -> None:
        check_rising(0, 12, exponent=self.exponent)
        check_shares(colour=self.colour)


@register("operation", "poisson_noise", PoissonNoiseConfig)
class PoissonNoise(Operation):
    def draw(self, rng: np.random.Generator, scale: int) -> Drawn:
        photons = float(10 ** rng.uniform(*self.config.exponent))
        return {"photons": photons, "colour": bool(rng.random() < self.config.colour), "seed": new_seed(rng)}

    def apply(self, pair: Pair, drawn: Drawn) -> Pair:
        rng, photons = np.random.default_rng(drawn["seed"]), drawn["photons"]
        seen = np.round(pair.lr * 255) / 255
        if drawn["colour"]:
            lr = (rng.poisson(seen * photons) / photons).astype(np.float32)
        else:
            gray = np.round(seen @ np.array(LUMA, np.float32) * 255) / 255
            lr = seen + (rng.poisson(gray * photons) / photons - gray).astype(np.float32)[..., None]
        return replace(pair, lr=np.clip(lr, 0, 1))
