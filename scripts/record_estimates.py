"""Record what a blind model finds on training photos, to teach its restorer what to make of that.

    python scripts/record_estimates.py runs/tiny/model.safetensors tiny runs/records.npz --records 600 \\
        --set 'data.folders=[PHOTOS]'

Photos, degradations and scales are those of the training configuration; photos held back for validation are not touched.
Every record is a photo degraded and restored as in use: kernel, noise level and doubt of the last loop, and those of the
answer. What is there already counts, so that a run that was cut off goes on. `blindsr train` learns from the records by
`--set 'data.degradation={name: recorded, file: runs/records.npz}' --set data.context=0`.
"""

import argparse
import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from errors import run
from tqdm import tqdm

from blindsr import images, registry
from blindsr.atomic import whole_file
from blindsr.degradation.classical import Classical
from blindsr.degradation.recorded import Records
from blindsr.evaluation.methods.base import load_model
from blindsr.inference.boundary import pad
from blindsr.inference.refinement import pays, refine
from blindsr.interfaces import BlindSRError, Iterate
from blindsr.training import load_config
from blindsr.training.data import split
from blindsr.training.photos import Photos
from blindsr.training.settings import DataConfig
from blindsr.workers import spread

SIDE = 288  # high-resolution pixels of a photo, or all that it has: enough to find a kernel by
SAVED_EVERY = 20


@cache
def photos_of(config: DataConfig) -> Photos:
    return split(config, report=lambda line: None)[0]


def crop(photos: Photos, rng: np.random.Generator) -> torch.Tensor:
    """A piece of a photo drawn at random, (1, 3, H, W), its sides multiples of 12, which every scale divides."""
    while True:
        index = int(rng.integers(len(photos)))
        size = photos.size(index)
        if size is None or min(size) < 96:
            continue
        side = min(SIDE, min(size) // 12 * 12)
        top, left = (int(rng.integers(n - side + 1)) for n in size)
        pixels = photos.patch(index, top, left, side)
        if pixels is not None:
            return torch.from_numpy(images.to_float(pixels).transpose(2, 0, 1).copy())[None]


@torch.inference_mode()
def record(task: tuple[str, DataConfig, int]) -> list[dict[str, np.ndarray]]:
    """The rows of record ``number``: of the last loop and, where the model refines its kernels, of the answer."""
    name, config, number = task
    model, rng = load_model(name, "cpu"), np.random.default_rng((0, number))
    scale = int(config.scales[number % len(config.scales)])
    x, degradation = crop(photos_of(config), rng), registry.build(config.degradation)
    drawn = degradation.draw(1, rng)
    y = drawn.apply(x, scale, lambda shape: torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)))
    rounding = images.rounding_noise(np.uint8) if bool(drawn.rounded) else 0.0
    padded = pad(y, scale, (model.basis.size,) * 2, "circular", model.restorer.multiple)
    found = model(padded.y, scale, first=model.first_estimate(y, scale), least_sigma=rounding)
    loop = found.iterates[-1]
    answers = [loop, refine(model, padded, scale, found).iterates[-1]] if pays(model) else [loop]

    def row(answer: Iterate) -> dict[str, np.ndarray]:
        truth = {"number": np.array(number), "scale": np.array(scale), "k": drawn.k[0, 0], "noise": drawn.noise[0], "rounded": drawn.rounded[0]}
        told = {"found": answer.kernel[0, 0], "sigma": answer.sigma[0], "doubt": answer.doubt[0]}
        return {name: np.asarray(value) for name, value in (truth | told).items()}

    return [row(answer) for answer in answers]


def joined(rows: list[dict[str, np.ndarray]]) -> Records:
    rows = sorted(rows, key=lambda row: int(row["number"]))
    return Records(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def rows_of(records: Records) -> list[dict[str, np.ndarray]]:
    return [{name: values[i] for name, values in vars(records).items()} for i in range(len(records.number))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a shipped name or a .safetensors file that finds kernels")
    parser.add_argument("config", help="a training configuration with the classical degradation, tiny for one")
    parser.add_argument("out", type=Path, help="the file of records, .npz")
    parser.add_argument("--records", type=int, default=600, help="photos to restore (default: 600)")
    cores = min(os.cpu_count() or 1, 8)
    parser.add_argument("--jobs", type=int, default=cores, help=f"processes (default: {cores}, as many as cores, or 8)")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", dest="overrides", help="change one option")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides).data
    model = load_model(arguments.model, "cpu")
    if not model.finds_kernel:
        raise BlindSRError(f"{arguments.model} finds no kernels; give a blind model")
    if not isinstance(registry.build(config.degradation), Classical):
        raise BlindSRError(f"{arguments.config}: only the classical degradation can be recorded; take tiny")
    photos_of(config)  # what is wrong with them is said at once
    rows = rows_of(Records.load(arguments.out)) if arguments.out.exists() else []
    done = {int(row["number"]) for row in rows}
    tasks = [(arguments.model, config, number) for number in range(arguments.records) if number not in done]
    for i, (_, future) in enumerate(tqdm(spread(record, tasks, arguments.jobs), total=len(tasks), unit="record"), 1):
        rows += future.result()
        if i % SAVED_EVERY == 0 or i == len(tasks):
            with whole_file(arguments.out) as part, part.open("wb") as file:
                joined(rows).save(file)
    print(f"{arguments.out}: {len(rows)} rows of {arguments.records} photos")


if __name__ == "__main__":
    run(main)
