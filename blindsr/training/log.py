"""What a run tells: one JSON line per event, a picture of the curves and, if wanted, TensorBoard."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from blindsr.atomic import read_lines, whole_file
from blindsr.interfaces import BlindSRError


def tell(line: str) -> None:
    """To standard error, above the progress bar."""
    tqdm.write(line, sys.stderr)


def silence(line: str) -> None:
    """What processes do that do not lead."""


class Log:
    """Appends to ``log.jsonl``; on resume, lines from after the checkpoint are dropped. With ``tensorboard`` every
    number goes to the folder ``tensorboard`` as well."""

    def __init__(self, folder: Path, resumed_at: int, tensorboard: bool = False):
        self.board = _board(folder / "tensorboard", resumed_at) if tensorboard else None
        self.path = folder / "log.jsonl"
        lines = [line for line in read_lines(self.path) if line["step"] <= resumed_at] if resumed_at else []
        with whole_file(self.path) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def write(self, step: int, **event: Any) -> None:
        known = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in event.items()}  # no JSON has NaN
        with open(self.path, "a") as file:
            file.write(json.dumps({"step": step, **known}) + "\n")
        if self.board is None:
            return
        for name, value in (event | event.get("validation", {})).items():
            if isinstance(value, (int, float)):
                group = "validation" if name in event.get("validation", {}) else "training"
                self.board.add_scalar(f"{group}/{name}", value, step)
        self.board.flush()


class Meter:
    """What a line of the log says of the steps since the last one, and how fast the run has been, of ``images`` a step."""

    def __init__(self, images: int):
        self.images, self.steps, self.seconds, self.waited = images, 0, 0.0, 0.0
        self.losses: list[float] = []

    def note(self, loss: float, waited: float, seconds: float) -> None:
        """A step that took so many ``seconds``, some of which it ``waited`` for data."""
        self.steps, self.seconds, self.waited = self.steps + 1, self.seconds + seconds, self.waited + waited
        if math.isfinite(loss):
            self.losses.append(loss)

    def read(self) -> dict[str, float]:
        """The mean loss since it was read last, images a second and the share of the time waited since the beginning."""
        loss = sum(self.losses) / len(self.losses) if self.losses else math.nan
        self.losses.clear()
        seconds = max(self.seconds, 1e-9)
        rate, share = self.steps * self.images / seconds, self.waited / seconds
        return {"loss": loss, "images_per_second": round(rate, 2), "waited": round(share, 4)}


def _board(folder: Path, resumed_at: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BlindSRError(
            "tensorboard: true needs the package; pip install 'blindsr[tensorboard]', or leave it out"
        ) from None
    return SummaryWriter(str(folder), purge_step=resumed_at + 1 if resumed_at else None)


def draw_curves(folder: Path) -> None:
    """Write ``curves.png``: the loss, and what each validation measured of pictures and of kernels."""
    from matplotlib.figure import Figure

    events = read_lines(folder / "log.jsonl")
    losses = [e for e in events if e.get("loss") is not None]
    checks = [e for e in events if "validation" in e]
    if not losses:
        return
    names = sorted({name for e in checks for name in e["validation"]})
    titles = {"psnr": "validation PSNR (dB)", "kernel error": "relative kernel error"}
    panels = {title: shown for word, title in titles.items() if (shown := [name for name in names if word in name])}
    figure = Figure(figsize=(5 * (1 + len(panels)), 4), layout="constrained")
    first, *others = figure.subplots(1, 1 + len(panels), squeeze=False)[0]
    steps, values = (np.array([e[name] for e in losses]) for name in ("step", "loss"))
    first.semilogy(steps, values, linewidth=0.8, alpha=0.4)
    n = max(len(losses) // 20, 1)  # batches differ more from each other than a run gains
    first.semilogy(*(np.convolve(numbers, np.full(n, 1 / n), "valid") for numbers in (steps, values)), color="C0")
    first.set(title="training loss and its running mean", xlabel="step")
    for axis, (title, shown) in zip(others, panels.items()):
        axis.set(title=title, xlabel="step")
        for name in shown:
            points = [(e["step"], e["validation"][name]) for e in checks if name in e["validation"]]
            axis.plot(*zip(*points), marker=".", label=name)
        axis.legend(fontsize=6)
    with whole_file(folder / "curves.png") as part:
        figure.savefig(part, format="png", dpi=110)
