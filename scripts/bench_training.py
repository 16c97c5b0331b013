#!/usr/bin/env python
"""How long a training step of the tiny restorer takes, and whether a quick step learns as much as a plain one.

The reference is USRNet as published: float32, the data step by the published formula (a difference of spectra, divided
by alpha), not compiled. Ours is the shipped configuration. Both run in turn, in one process: batch 16, patches of
96×96, ×4.

    python scripts/bench_training.py PHOTOS [--pairs 7] [--steps 300 --seeds 3]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from errors import run
from reference import PublishedDataStep, conv_share

from blindsr import training
from blindsr.restorers import usrnet
from blindsr.training.trainer import Trainer

BATCH, PATCH, SCALE = 16, 96, 4
OURS = usrnet.DataStep


def trainer(photos: Path, folder: Path, plain: bool, seed: int, steps: int) -> Trainer:
    settings = [
        f"data.folders=[{photos}]", "data.exclude=[]", f"data.batch={BATCH}", f"data.patch={PATCH}",
        f"data.scales=[{SCALE}]", "data.workers=0", f"seed={seed}", "device=cpu",
        "schedule.minutes=0", f"schedule.iterations={steps}", "schedule.warmup=50",
    ]  # fmt: skip
    settings += ["precision=fp32", "compile=false"] if plain else []
    return Trainer(training.load_config("usrnet_tiny", settings), folder, resume=False)


def step(run: Trainer, plain: bool, batch=None) -> float:
    usrnet.DataStep = PublishedDataStep if plain else OURS
    begun = time.perf_counter()
    run.train_step(batch)
    return time.perf_counter() - begun


def learn(run: Trainer, plain: bool) -> tuple[float, float]:
    """Train to the end: the mean loss of the last 100 steps, and PSNR with the true kernel on the photos held back."""
    losses = []
    while run.progress < 1:
        usrnet.DataStep = PublishedDataStep if plain else OURS
        losses.append(run.train_step()["loss"])
    return statistics.mean(losses[-100:]), run.examine(run.average, run.step)[f"x{SCALE} psnr true kernel"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder of sharp photos, at least 11 of 192 pixels a side")
    parser.add_argument("--pairs", type=int, default=7, help="pairs of steps that are timed (7)")
    parser.add_argument("--steps", type=int, default=0, help="also train for so many steps and compare (0: do not)")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = {plain: trainer(arguments.photos, Path(folder) / f"{plain}", plain, 0, 1000) for plain in (True, False)}
        share = conv_share(runs[True].model.restorer.prior, (BATCH, PATCH, PATCH), backward=True)
        print(f"convolutions alone take {share:.0%} of the time of the reference's prior (float32, both ways)")
        times: dict[bool, list[float]] = {True: [], False: []}
        for i in range(arguments.pairs + 2):
            batch = runs[True].source.batch(i)
            for plain, run in runs.items():
                times[plain].append(step(run, plain, batch))
        pairs = [a / b for a, b in zip(times[True][2:], times[False][2:])]  # the first two compile and warm up
        seconds = {plain: statistics.median(values[2:]) for plain, values in times.items()}
        print(
            f"step: reference {seconds[True]:.3f} s, ours {seconds[False]:.3f} s; ratio {statistics.median(pairs):.2f} "
            f"({min(pairs):.2f} to {max(pairs):.2f} over {len(pairs)} pairs, {torch.get_num_threads()} threads)"
        )
        if not arguments.steps:
            return
        losses: dict[bool, list[float]] = {True: [], False: []}
        psnrs: dict[bool, list[float]] = {True: [], False: []}
        for seed in range(arguments.seeds):
            for plain in (True, False):
                run = trainer(arguments.photos, Path(folder) / f"{seed}{plain}", plain, seed, arguments.steps)
                loss, psnr = learn(run, plain)
                losses[plain].append(loss)
                psnrs[plain].append(psnr)
                name = "reference" if plain else "ours"
                print(f"seed {seed}, {name}: mean loss of the last 100 {loss:.5f}, PSNR {psnr:.2f} dB", flush=True)
        for what, ends in (("loss", losses), ("PSNR", psnrs)):
            gap = statistics.mean(ends[False]) - statistics.mean(ends[True])
            print(f"{what}: ours minus reference {gap:+.5f}; seeds spread {max(ends[True]) - min(ends[True]):.5f}")


if __name__ == "__main__":
    run(main)
