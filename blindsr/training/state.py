"""The state of a run on disk: written whole or not at all, read without unpickling."""

from __future__ import annotations

import os
import pickle
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from blindsr.atomic import whole_file
from blindsr.interfaces import BlindSRError

FILES = ("state.pt", "calm.pt", "model.safetensors", "log.jsonl", "curves.png")


def clear(folder: Path) -> None:
    """Remove what a killed run has left half-written in its ``folder``: of the files it writes itself, no others."""
    for pattern in (*(f".{name}.????????.part" for name in FILES), "pictures/.[0-9]*.png.????????.part"):
        for left in folder.glob(pattern):
            with suppress(OSError):  # it is in nobody's way
                left.unlink()


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers and strings atomically: a crash leaves the previous file."""
    try:
        with whole_file(path) as part, open(part, "wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        raise _cannot(path, error) from None


def keep(state: Path, kept: Path) -> None:
    """``kept`` becomes what ``state`` is now; ``state`` may then be replaced."""
    try:
        with whole_file(kept) as part:
            try:
                os.link(state, part)
            except OSError:  # a file system without hard links
                shutil.copyfile(state, part)
    except OSError as error:
        raise _cannot(kept, error) from None


def _cannot(path: Path, error: Exception) -> BlindSRError:
    return BlindSRError(f"{path}: cannot save the run ({error}); the last good one stands")


def load_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote. Raises BlindSRError for anything else."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        kind = type(error).__name__
        raise BlindSRError(f"{path}: not the state of a training run ({kind}); start with --fresh") from None
