"""What scripts that look at pieces of training photos share: options, checks, and a degraded piece as a case."""

import argparse

import numpy as np
from torch import Tensor

from blindsr import images, registry
from blindsr.commands.arguments import count
from blindsr.degradation.classical import Classical, Drawn, normal_by
from blindsr.evaluation.cases import Case, case_of
from blindsr.interfaces import BlindSRError
from blindsr.processes import usable_cores
from blindsr.training.settings import DataConfig

EVERY_SCALE = 12  # divides by them all


def add_options(parser: argparse.ArgumentParser, side: int) -> None:
    """The last of them: ``side`` is that of a piece where nobody says."""
    parser.add_argument("--side", type=count, default=side, help=f"of a piece, in pixels (default: {side})")
    add_jobs_and_set(parser)


def add_jobs_and_set(parser: argparse.ArgumentParser) -> None:
    """How many processes work, and what is changed in the configuration."""
    cores = usable_cores()
    parser.add_argument("--jobs", type=count, default=cores, help=f"processes (default: {cores}, one for every core)")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", dest="overrides", help="change one option")


def check_classical(name: str, config: DataConfig) -> None:
    """Raise BlindSRError where the configuration ``name`` degrades in another way: only this one tells the true kernels."""
    if not isinstance(registry.build(config.degradation), Classical):
        raise BlindSRError(f"{name}: only the classical degradation tells true kernels; take estimator or tiny")


def check_side(side: int) -> None:
    """Raise BlindSRError for one that not every scale divides."""
    if side % EVERY_SCALE:
        raise BlindSRError(f"--side {side}: every scale must divide it; give a multiple of {EVERY_SCALE}")


def degraded(x: Tensor, drawn: Drawn, scale: int, rng: np.random.Generator) -> Case:
    """The piece ``x`` (1, 3, H, W) under what was ``drawn`` for it, its noise from ``rng``."""
    y = drawn.apply(x, scale, normal_by(rng))
    return case_of(x, y, drawn.k, drawn.sigma, scale, images.rounding_noise(np.uint8) if bool(drawn.rounded) else 0.0)
