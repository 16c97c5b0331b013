"""How models restore photos that were held back from training: to choose by, which test photos are not for.

    python scripts/held_back.py tiny tiny runs/joint/model.safetensors --scales 2 --set 'data.folders=[PHOTOS]'

A piece from the middle of every photo that the training configuration holds back is degraded as it says, with kernels of
each of its families by itself, and restored by every model: told the true kernel and noise level, and blind as in use. The
same pieces, kernels and noise for all; one line for each model, scale and family: PSNR in dB inside a border of s² pixels, blind
also at the shift by whole pixels that serves it best (aligned), and the relative error of the first and of the last kernel
that was found. Models are compared under motion by the aligned figure: no photo shows where its kernel stands, and that chance
makes a difference of ±0.3 dB in the other between two models that find kernels alike (30 cases).
"""

import argparse
import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import product
from statistics import fmean

import numpy as np
import torch
from errors import run
from pieces import add_options, check_classical, check_side, degraded
from tqdm import tqdm

from blindsr import registry
from blindsr.commands.arguments import count
from blindsr.degradation.classical import Drawn
from blindsr.evaluation.cases import Case
from blindsr.evaluation.methods.base import load_model, run_model
from blindsr.evaluation.metrics import psnr, shifted_psnr
from blindsr.inference.white import first_estimate
from blindsr.interfaces import BlindSRError
from blindsr.kernels.distance import kernel_distance
from blindsr.training import load_config
from blindsr.training.data import middle, split
from blindsr.training.photos import Photos
from blindsr.training.settings import DataConfig
from blindsr.workers import spread

WAYS = {"told": ("told",), "first": ("first error",), "blind": ("blind", "aligned", "error")}
"""What can be measured, and the columns that it fills."""


@dataclass(frozen=True)
class Task:
    """One model on one case: the number of a photo, of a draw, and of a family of kernels."""

    config: DataConfig
    ways: tuple[str, ...]
    sigma: float
    rounded: bool
    side: int
    photo: int
    draw: int
    family: int
    scale: int
    model: str


@cache
def held_back(config: DataConfig) -> Photos:
    return split(config, report=lambda line: None)[1]


def families(config: DataConfig) -> list:
    """The kernels of the configuration, parsed: one entry for each part of a mixture."""
    kernels = config.degradation.kernels
    return list(getattr(kernels, "components", [kernels]))


def make(task: Task) -> Case | None:
    """The case of a task; None where the photo is too small for it or cannot be read."""
    hr = middle(held_back(task.config), task.photo, task.side)
    if hr is None:
        return None
    x = torch.from_numpy(np.ascontiguousarray(hr))[None]
    rng = np.random.default_rng((task.photo, task.family, task.draw))
    k = torch.from_numpy(registry.build(families(task.config)[task.family]).sample(1, rng).astype(np.float32))[:, None]
    drawn = Drawn(k, torch.full((1,), task.sigma / 255), torch.tensor([task.rounded]))
    return degraded(x, drawn, task.scale, rng)


@torch.inference_mode()
def measure(task: Task) -> dict[str, float]:
    """The figures of one model on one case, by column."""
    case, model = make(task), load_model(task.model, "cpu")
    if case is None:
        return {}
    figures = {}

    def quality(x: torch.Tensor) -> float:
        return float(psnr(x.clamp(0, 1), case.x, case.scale**2))

    if "told" in task.ways:
        figures["told"] = quality(run_model(model, case, case.k)[-1].x)
    if "first" in task.ways and model.finds_kernel:
        first = first_estimate(model, case.y, case.scale, case.rounding, case.coded)
        figures["first error"] = float(kernel_distance(first.kernel, case.k))
    if "blind" in task.ways and model.blind:
        answer = run_model(model, case)[-1]
        figures["blind"] = figures["aligned"] = quality(answer.x)
        if answer.kernel is not None:
            reach = max(answer.kernel.shape) // 2
            figures["aligned"] = float(shifted_psnr(answer.x.clamp(0, 1), case.x, reach, case.scale**2))
            figures["error"] = float(kernel_distance(answer.kernel, case.k))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a training configuration with the classical degradation, tiny for one")
    parser.add_argument("models", nargs="+", help="shipped names or .safetensors files")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="what to measure (default: all)")
    parser.add_argument("--scales", nargs="+", type=int, default=[1, 2, 3, 4])
    parser.add_argument("--sigma", type=float, default=0.0, help="noise, of 255 (default: 0)")
    parser.add_argument("--rounded", action="store_true", help="to 8 bits")
    parser.add_argument("--draws", type=count, default=2, help="kernels of a family for a photo (default: 2)")
    add_options(parser, side=240)
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides).data
    photos = held_back(config)  # what is wrong with them is said here
    check_classical(arguments.config, config)
    check_side(arguments.side)
    for name in arguments.models:
        load_model(name, "cpu")
    kinds = families(config)
    common = (config, tuple(arguments.ways), arguments.sigma, arguments.rounded, arguments.side)
    order = product(range(len(photos)), range(arguments.draws), range(len(kinds)), arguments.scales, arguments.models)
    tasks = [Task(*common, *values) for values in order]
    found = defaultdict(list)
    for task, future in tqdm(spread(measure, tasks, arguments.jobs), total=len(tasks), unit="case", disable=None):
        for column, value in future.result().items():
            found[task.scale, task.family, task.model, column].append(value)
    if not found:
        raise BlindSRError(f"no photo held back is readable and {arguments.side} pixels a side; lower --side")
    columns = [column for way in arguments.ways for column in WAYS[way]]
    print(f"| | kernels | model | cases | {' | '.join(columns)} |\n|{'---|' * (4 + len(columns))}")
    for scale, family, name in product(arguments.scales, range(len(kinds)), arguments.models):
        values = [found[scale, family, name, column] for column in columns]
        digits = [3 if "error" in column else 2 for column in columns]
        shown = [f"{fmean(v) if v else math.nan:.{d}f}" for v, d in zip(values, digits)]
        print(f"| ×{scale} | {registry.name_of(kinds[family])} | {name} | {max(map(len, values))} | {' | '.join(shown)} |")


if __name__ == "__main__":
    run(main)
