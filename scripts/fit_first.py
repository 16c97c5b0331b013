"""Fit the perceptron of a first estimate in large batches, what lies before it at rest.

    python scripts/fit_first.py tiny estimator runs/fitted --set 'data.folders=[PHOTOS]'

What the perceptron reads of pieces of photos (their spectra, and the averages of convolutions) does not change meanwhile. So it is
collected once, in OUT/seen, and learned from epoch after epoch: every step takes a hundredth of what one does in training that
looks at every picture anew. An estimate that does not read power below the noise of 8 bits (`faint`) does so then. Pieces that
are there already count, so that a run that was cut off goes on, and one that asks for more adds to them. Degradations are
those of the training configuration. OUT/model.safetensors is the model with the new first estimate; what became of the
errors on photos held back is printed.
"""

import argparse
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from errors import run
from pieces import add_jobs_and_set
from torch import Tensor
from tqdm import tqdm, trange

from blindsr import checkpoints, registry
from blindsr.alternating import AlternatingSR
from blindsr.atomic import whole_file
from blindsr.commands.arguments import count
from blindsr.degradation.classical import Classical
from blindsr.estimators.spectral import Seen, SpectralEstimator
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
SLOWER = 0.1  # times the learning rate, for the first layer: it is large, and was trained on many more pieces


def with_faint(name: str) -> AlternatingSR:
    """A model whose first estimate reads power below the noise of 8 bits."""
    old = load_model(name, "cpu")
    if not isinstance(old.initial, SpectralEstimator) or old.config.initial.head != "softmax":
        raise BlindSRError(f"{name} has no first estimate that reads spectra and answers pixels; give another, such as tiny")
    new = AlternatingSR(replace(old.config, initial=replace(old.config.initial, faint=True)), old.basis)
    new.load_state_dict(old.state_dict())
    return new.eval()


@cache
def ready(name: str, config: DataConfig, held: bool) -> tuple[SpectralEstimator, BatchSource]:
    return with_faint(name).initial, BatchSource(config, split(config, report=lambda line: None)[held], seed=int(held))


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


def load(files: list[Path]) -> Pieces:
    """The pieces of all files, joined."""
    parts = []
    for file in files:
        with np.load(file, allow_pickle=False) as archive:
            parts.append(dict(archive))
    return {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}


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
        for words, which in (("no noise", sigma == 0), ("noise", sigma > 0)):
            rows = which & (pieces["scale"] == scale)
            if rows.any():
                found[f"×{scale:.0f}, {words}"] = f"kernel {kernel[rows].mean():.4f}, σ {noise[rows].mean():.2f}"
    return found


def fit(estimator: SpectralEstimator, pieces: Pieces, loss: LossConfig, epochs: int, batch: int, rate: float) -> None:
    """Let the perceptron learn from ``pieces``."""
    first = list(estimator.mlp[0].parameters())
    others = [*estimator.mlp[1:].parameters(), *estimator.faint.parameters()]
    optimizer = torch.optim.Adam([{"params": first, "lr": SLOWER * rate}, {"params": others}], rate, betas=(0.9, 0.99))
    n = len(pieces["sigma"])
    steps = epochs * -(-n // batch)
    schedule = ScheduleConfig(iterations=steps, warmup=50)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule.factor(step / steps, step))
    order = torch.Generator().manual_seed(0)
    estimator.train()
    progress = trange(epochs, unit="epoch", disable=None)
    for _ in progress:
        total = 0.0
        for rows in torch.randperm(n, generator=order).split(batch):
            value = estimate_loss(*asked(estimator, pieces, rows), loss)
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(first + others, 1.0)
            optimizer.step()
            rates.step()
            total += value.item() * len(rows)
        progress.set_postfix_str(f"loss {total / n:.4f}")
    estimator.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a shipped name or a .safetensors file with such a first estimate")
    parser.add_argument("config", help="a training configuration with the classical degradation, estimator for one")
    parser.add_argument("out", type=Path, help="the folder of pieces and of the new model")
    parser.add_argument("--pieces", type=count, default=60_000, help="to learn from (default: 60000, 6 KB each)")
    parser.add_argument("--epochs", type=count, default=12)
    parser.add_argument("--batch", type=count, default=256)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    add_jobs_and_set(parser)
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides)
    model, data = with_faint(arguments.model), config.data
    if not isinstance(registry.build(data.degradation), Classical):
        raise BlindSRError(f"{arguments.config}: only the classical degradation tells true kernels; take estimator")
    split(data)  # what is wrong with the photos is said here
    origin = zlib.crc32(f"{weights_fingerprint(arguments.model)} {registry.as_mapping(data)}".encode())
    folder = arguments.out / "seen" / f"{origin:08x}"  # pieces of other photos, degradations or weights lie elsewhere
    steps = {True: range(HELD_BACK), False: range(-(-arguments.pieces // data.batch))}
    files = {held: [folder / f"{'held' if held else 'piece'}-{step:06d}.npz" for step in steps[held]] for held in steps}
    tasks = [(arguments.model, data, held, i, path) for held in files for i, path in enumerate(files[held]) if not path.exists()]
    for _, future in tqdm(spread(collect, tasks, arguments.jobs), total=len(tasks), unit="file", disable=None):
        future.result()
    held = load(files[True])
    before = errors(model.initial, held)
    fit(model.initial, load(files[False]), config.loss, arguments.epochs, arguments.batch, arguments.learning_rate)
    for name, after in errors(model.initial, held).items():
        print(f"{name}: {before[name]} → {after}")
    checkpoints.save(arguments.out / "model.safetensors", model, checkpoints.load(arguments.model).card)


if __name__ == "__main__":
    run(main)
