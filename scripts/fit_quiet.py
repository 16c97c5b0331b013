"""Give a model's first estimate layers of their own for photos with hardly any noise, and fit them.

    python scripts/fit_quiet.py runs/estimator/model.safetensors estimator runs/quiet --set 'data.folders=[PHOTOS]'

Nothing else of the model changes: this comes after all training of the first estimate. So what these layers read of pieces of
photos stays the same, is collected once, in OUT/seen, and learned from epoch after epoch: a step of 256 pieces takes
milliseconds. Pieces that are there already count, so that a run that was cut off goes on, and one that asks for more adds to them.
Degradations are those of the training configuration; pieces that the estimate itself takes for noisy are left out.
OUT/model.safetensors is the new model; what became of the errors on photos held back is printed.
"""

import argparse
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from errors import run
from pieces import add_jobs_and_set, check_classical
from torch import Tensor
from tqdm import tqdm, trange

from blindsr import checkpoints, registry
from blindsr.alternating import AlternatingSR
from blindsr.atomic import whole_file
from blindsr.commands.arguments import count
from blindsr.estimators.quiet import QUIET
from blindsr.estimators.spectral import Seen, SpectralEstimator, sigma_of
from blindsr.evaluation.methods.base import load_model, weights_fingerprint
from blindsr.interfaces import BlindSRError
from blindsr.kernels.distance import kernel_distance
from blindsr.training import load_config
from blindsr.training.data import BatchSource, split
from blindsr.training.losses import estimate_loss
from blindsr.training.settings import DataConfig, LossConfig, ScheduleConfig
from blindsr.workers import spread

Pieces = dict[str, Tensor]
HELD_BACK = 100  # batches of them


def with_quiet(name: str) -> AlternatingSR:
    """A model whose first estimate has such layers; new ones answer what the others do."""
    old = load_model(name, "cpu")
    if not isinstance(old.initial, SpectralEstimator) or old.config.initial.head != "softmax":
        raise BlindSRError(f"{name} has no first estimate that reads spectra and answers pixels; give another, such as tiny")
    new = AlternatingSR(replace(old.config, initial=replace(old.config.initial, quiet=True)), old.basis)
    new.load_state_dict(old.state_dict())
    if not new.initial.quiet.fitted:
        new.initial.quiet.begin_as(new.initial.mlp)
        new.initial.quiet.fitted.fill_(1)
    return new.requires_grad_(False).eval()


@cache
def ready(name: str, config: DataConfig, held: bool) -> tuple[SpectralEstimator, BatchSource]:
    return with_quiet(name).initial, BatchSource(config, split(config, report=lambda line: None)[held], seed=int(held))


@torch.inference_mode()
def collect(task: tuple[str, DataConfig, bool, int, Path]) -> None:
    """A file of what is seen of the pieces of one step."""
    name, config, held, step, path = task
    estimator, source = ready(name, config, held)
    batch = source.batch(step)
    seen = estimator.look(batch.y, batch.scale)[0]
    columns = {"features": seen.features, "faint": seen.faint, "k": batch.k, "sigma": batch.sigma}
    columns["scale"] = torch.full((len(batch.k),), batch.scale)
    with whole_file(path) as part, part.open("wb") as file:
        np.savez(file, **{name: (c if name == "sigma" else c.half()).numpy() for name, c in columns.items()})


@torch.no_grad()
def load(files: list[Path], estimator: SpectralEstimator) -> Pieces:
    """What all files hold of quiet pieces."""
    parts = []
    for file in files:
        with np.load(file, allow_pickle=False) as archive:
            part = {name: torch.from_numpy(values) for name, values in archive.items()}
        quiet = sigma_of(estimator.mlp(part["features"].float())) < QUIET
        parts.append({name: values[quiet] for name, values in part.items()})
    pieces = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    if not len(pieces["sigma"]):
        raise BlindSRError("the model takes every piece for noisy; train its first estimate longer, or raise data.degradation.noiseless")
    return pieces


def asked(estimator: SpectralEstimator, pieces: Pieces, rows: Tensor | slice):
    """The estimate of some pieces, and their true kernels and noise levels."""
    seen = Seen(pieces["features"][rows].float(), pieces["faint"][rows].float())
    return estimator.estimate([seen]), pieces["k"][rows].float(), pieces["sigma"][rows]


@torch.no_grad()
def errors(estimator: SpectralEstimator, pieces: Pieces) -> dict[str, float]:
    """Means by scale, with noise and without: relative error of the kernel, absolute error of σ, of 255."""
    estimate, k, sigma = asked(estimator, pieces, slice(None))
    kernel, noise = kernel_distance(estimate.kernel, k), (estimate.sigma - sigma).abs() * 255
    found = {}
    for scale in pieces["scale"].unique().tolist():
        for words, which in (("no noise", sigma == 0), ("8 bits, some noise", sigma > 0)):
            rows = which & (pieces["scale"] == scale)
            if rows.any():
                found[f"×{scale:.0f}, {words}"] = f"kernel {kernel[rows].mean():.4f}, σ {noise[rows].mean():.2f}"
    return found


def fit(estimator: SpectralEstimator, pieces: Pieces, loss: LossConfig, epochs: int, batch: int, rate: float) -> None:
    """Let the layers for quiet photos learn from ``pieces``."""
    learning = list(estimator.quiet.requires_grad_(True).parameters())
    optimizer = torch.optim.Adam(learning, rate, betas=(0.9, 0.99))
    n = len(pieces["sigma"])
    steps = epochs * -(-n // batch)
    schedule = ScheduleConfig(iterations=steps, warmup=50)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule.factor(step / steps, step))
    order = torch.Generator().manual_seed(0)
    estimator.quiet.train()
    progress = trange(epochs, unit="epoch", disable=None)
    for _ in progress:
        total = 0.0
        for rows in torch.randperm(n, generator=order).split(batch):
            value = estimate_loss(*asked(estimator, pieces, rows), loss)
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()
            rates.step()
            total += value.item() * len(rows)
        progress.set_postfix_str(f"loss {total / n:.4f}")
    estimator.quiet.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a shipped name or a .safetensors file with such a first estimate")
    parser.add_argument("config", help="a training configuration with the classical degradation, estimator for one")
    parser.add_argument("out", type=Path, help="the folder of pieces and of the new model")
    parser.add_argument("--pieces", type=count, default=60_000, help="to learn from (default: 60000, 6 KB each; noisy ones are not)")
    parser.add_argument("--epochs", type=count, default=14)
    parser.add_argument("--batch", type=count, default=256)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    add_jobs_and_set(parser)
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides)
    model, data = with_quiet(arguments.model), config.data
    check_classical(arguments.config, data)
    split(data)  # what is wrong with the photos is said here
    origin = zlib.crc32(f"{weights_fingerprint(arguments.model)} {registry.as_mapping(data)}".encode())
    folder = arguments.out / "seen" / f"{origin:08x}"  # pieces of other photos, degradations or weights lie elsewhere
    steps = {True: range(HELD_BACK), False: range(-(-arguments.pieces // data.batch))}
    files = {held: [folder / f"{'held' if held else 'piece'}-{step:06d}.npz" for step in steps[held]] for held in steps}
    tasks = [(arguments.model, data, held, i, path) for held in files for i, path in enumerate(files[held]) if not path.exists()]
    for _, future in tqdm(spread(collect, tasks, arguments.jobs), total=len(tasks), unit="file", disable=None):
        future.result()
    held = load(files[True], model.initial)
    before = errors(model.initial, held)
    fit(model.initial, load(files[False], model.initial), config.loss, arguments.epochs, arguments.batch, arguments.learning_rate)
    for name, after in errors(model.initial, held).items():
        print(f"{name}: {before[name]} → {after}")
    checkpoints.save(arguments.out / "model.safetensors", model, checkpoints.load(arguments.model).card)


if __name__ == "__main__":
    run(main)
