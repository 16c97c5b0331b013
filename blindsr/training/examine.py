"""What comes of a validation: numbers for log and terminal, curves, pictures, and an alarm where they are blank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from blindsr.alternating import AlternatingSR
from blindsr.interfaces import Batch
from blindsr.training.log import Log, draw_curves
from blindsr.training.objective import autocast
from blindsr.training.pictures import draw_pictures
from blindsr.training.settings import TrainConfig
from blindsr.training.validation import validate
from blindsr.training.watch import BLANK

NATURAL = 192  # pixels a side from which NIQE says something


class Examiner:
    """Validates models of the stage ``config`` on ``batches``; in the folder ``out`` it leaves curves.png and
    pictures/STEP.png, in ``log`` the numbers, and ``report`` is told them in a line."""

    def __init__(
        self, config: TrainConfig, batches: Sequence[Batch], out: Path, log: Log, report: Callable[[str], Any]
    ):
        self.config, self.batches, self.out, self.log, self.report = config, batches, out, log, report

    def __call__(self, model: AlternatingSR, step: int) -> dict[str, float]:
        """Look at ``model`` as it is after ``step`` steps; answers the numbers."""
        config = self.config
        restores = set(config.train) != {"initial"}
        natural = config.adversarial is not None and config.data.validation_patch >= NATURAL
        precision = partial(autocast, config.precision, next(model.parameters()).device)
        found, shown = validate(model, self.batches, precision, restores, natural)
        self.log.write(step=step, validation=found)
        draw_curves(self.out)
        if restores:
            draw_pictures(self.out / "pictures" / f"{step:06d}.png", shown)
        self.report(f"step {step}: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
        blank = [name for name, value in found.items() if name.endswith("contrast") and value < BLANK]
        if blank:
            alarm = f"the restored validation pictures are nearly blank ({', '.join(blank)}); see pictures/"
            self.log.write(step=step, alarm=alarm)
            self.report(f"ALARM at step {step}: {alarm}")
        return found
