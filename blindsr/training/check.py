"""A quick look whether a configuration can learn at all: it must overfit a single batch."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from blindsr.training.settings import TrainConfig
from blindsr.training.trainer import Trainer

SECONDS = 100.0
ENOUGH = 0.7  # of the loss that it began with


def check(config: TrainConfig, seconds: float = SECONDS, most: int = 400) -> tuple[bool, str]:
    """Train on one batch for ``seconds`` or ``most`` steps, from new weights, without any schedule; (passed, a line
    that says why). Nothing is kept. Where the model finds kernels it is told none: losses of either kind cannot be
    compared."""
    config = replace(
        config,
        start_from=(),
        true_kernel=0.0,
        tensorboard=False,
        compile=False,  # compiling would take longer than all the steps
        schedule=replace(config.schedule, kind="step", milestones=(), minutes=0.0, iterations=most + 1, warmup=10),
    )
    losses: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, Path(folder) / "check", resume=False)
        batch = trainer.source.batch(0)
        begun = time.perf_counter()
        with tqdm(total=most, desc="check", unit="step", disable=None) as bar:
            while len(losses) < most and (time.perf_counter() - begun < seconds or len(losses) < 4):
                losses.append(trainer.train_step(batch)["loss"])
                bar.set_postfix_str(f"loss {losses[-1]:.4f}")
                bar.update()
        skipped = trainer.skipped
    tail = max(1, len(losses) // 10)
    before, after = losses[0], sum(losses[-tail:]) / tail
    passed = skipped == 0 and after < ENOUGH * before
    said = f"one batch, {len(losses)} steps: loss {before:.4f} -> {after:.4f} ({after / before:.0%} of it"
    said += f"; {ENOUGH:.0%} or less is asked for)" + (f"; {skipped} steps were not finite" if skipped else "")
    return passed, said
