"""Record what a blind model finds on training photos, to teach its restorer what to make of that.

    python scripts/record_estimates.py runs/tiny/model.safetensors tiny runs/records.npz --records 600 \\
        --set 'data.folders=[PHOTOS]'

Photos, degradation and scales are those of the training configuration; photos held back for validation are not touched.
A record is a piece of a photo degraded and its kernel found and refined as in use: kernel, noise level and doubt of the last
loop, and those of the answer. What is there already counts, so that a run that was cut off goes on. The configuration
tiny_recorded learns from it.
"""

import argparse
import io
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from errors import run
from pieces import add_options, check_classical, check_side, degraded
from tqdm import tqdm

from blindsr import registry
from blindsr.atomic import write_whole
from blindsr.commands.arguments import count
from blindsr.degradation.recorded import Records
from blindsr.evaluation.methods.base import load_model, run_model, weights_fingerprint
from blindsr.interfaces import BlindSRError, Iterate
from blindsr.training import load_config
from blindsr.training.data import BatchSource, split
from blindsr.training.settings import DataConfig
from blindsr.workers import spread

SAVED_EVERY = 20


@cache
def source_of(config: DataConfig) -> BatchSource:
    """The photos to learn from."""
    return BatchSource(config, split(config, report=lambda line: None)[0], seed=0)


@torch.inference_mode()
def record(task: tuple[str, DataConfig, int, int]) -> list[dict[str, np.ndarray]]:
    """The rows of record ``number``: of the last loop and, where the model refines its kernels, of the answer."""
    name, config, side, number = task
    model, rng = load_model(name, "cpu"), np.random.default_rng((0, number))
    scale = int(config.scales[number % len(config.scales)])
    source = source_of(config)
    x, drawn = source.patch(number, side, rng)[None], source.degradation.draw(1, rng)
    iterates = run_model(model, degraded(x, drawn, scale, rng))
    last_loop = iterates[len(model.schedule()) - 1]
    if last_loop.doubt is None:
        raise BlindSRError(f"{name} does not say how far to trust its kernels; give another model, such as tiny")

    def row(answer: Iterate) -> dict[str, np.ndarray]:
        degraded = {"k": drawn.k[0, 0], "noise": drawn.noise[0], "rounded": drawn.rounded[0]}
        told = {"found": answer.kernel[0, 0], "sigma": answer.sigma[0], "doubt": answer.doubt[0]}
        named = {"number": number, "scale": scale} | degraded | told
        return {name: np.asarray(value) for name, value in named.items()}

    return [row(last_loop)] + ([row(iterates[-1])] if iterates[-1] is not last_loop else [])


def origin_of(model: str, config: DataConfig, side: int) -> int:
    """A number that tells records of one model, degradation and choice of scales and size from others."""
    drawn = registry.as_mapping(config.degradation), config.scales, side
    return zlib.crc32(f"{weights_fingerprint(model)} {drawn}".encode())


def packed(rows: list[dict[str, np.ndarray]]) -> bytes:
    """The file that holds them, in the order of their numbers."""
    rows = sorted(rows, key=lambda row: int(row["number"]))
    file = io.BytesIO()
    Records(**{name: np.stack([row[name] for row in rows]) for name in rows[0]}).save(file)
    return file.getvalue()


def rows_of(records: Records) -> list[dict[str, np.ndarray]]:
    return [{name: values[i] for name, values in vars(records).items()} for i in range(len(records.number))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a shipped name or a .safetensors file that finds kernels")
    parser.add_argument("config", help="a training configuration with the classical degradation, tiny for one")
    parser.add_argument("out", type=Path, help="the file of records, .npz")
    parser.add_argument("--records", type=count, default=600, help="pieces of photos to restore (default: 600)")
    add_options(parser, side=288)
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides).data
    model = load_model(arguments.model, "cpu")
    if not model.finds_kernel:
        raise BlindSRError(f"{arguments.model} finds no kernels; give a blind model, such as tiny")
    check_classical(arguments.config, config)
    source_of(config)  # what is wrong with the photos is said here
    check_side(arguments.side)
    origin = origin_of(arguments.model, config, arguments.side)
    rows = rows_of(Records.load(arguments.out)) if arguments.out.exists() else []
    if any(row["origin"] != origin for row in rows):
        raise BlindSRError(f"{arguments.out} holds records of another model or configuration; choose another file")
    done = {int(row["number"]) for row in rows}
    tasks = [(arguments.model, config, arguments.side, number) for number in range(arguments.records) if number not in done]
    new = 0
    try:
        for _, future in tqdm(spread(record, tasks, arguments.jobs), total=len(tasks), unit="record", disable=None):
            rows += [row | {"origin": np.array(origin)} for row in future.result()]
            new += 1
            if new % SAVED_EVERY == 0:
                write_whole(arguments.out, packed(rows))
    finally:
        if new % SAVED_EVERY:
            write_whole(arguments.out, packed(rows))
    print(f"{arguments.out}: {len(rows)} rows of {arguments.records} photos")


if __name__ == "__main__":
    run(main)
