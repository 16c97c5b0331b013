"""Training: every stage is a configuration; see :mod:`blindsr.training.settings`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from blindsr import config
from blindsr.locking import only_writer
from blindsr.training.settings import TrainConfig


def load_config(name_or_path: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a training configuration: a path, or the bare name of a shipped one."""
    path = config.find("train", name_or_path)
    return config.parse(TrainConfig, config.override(config.load(path, "train"), overrides), path.name)


def run(name_or_path: str, overrides: Sequence[str] = (), out: Path | None = None, fresh: bool = False) -> Path:
    """Train, or go on training, and return the folder with the results (default: runs/NAME)."""
    settings = load_config(name_or_path, overrides)
    folder = out or Path("runs") / Path(name_or_path).stem
    from blindsr.training.distributed import Processes
    from blindsr.training.trainer import Trainer

    processes = Processes.join(settings.device)
    cure = "wait for that run, or choose another folder with --out"
    try:
        with only_writer(folder, cure) if processes.leads else nullcontext():
            Trainer(settings, folder, not fresh, processes).run()
    finally:
        processes.leave()
    return folder
