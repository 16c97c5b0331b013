"""Argument types, and the options that more than one sub-command has."""

from __future__ import annotations

import argparse
import difflib
import math
import re
from pathlib import Path
from typing import Any, NoReturn

# Limits of :class:`blindsr.inference.facade.BlindSR`, written anew because it brings torch; a test compares them.
MAX_SIGMA_255 = 100
SMALLEST_TILE = 32


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line; the exit code is 2, as ever."""

    def __init__(self, **options: Any):
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args=None, namespace=None):  # noqa: ANN001, ANN201 (as argparse has it)
        """What an option may have been meant to be is known here alone; no command leaves words to another."""
        found, left = super().parse_known_args(args, namespace)
        if left:
            known = {option.lstrip("-"): option for action in self._actions for option in action.option_strings}
            words = [word.lstrip("-").partition("=")[0] for word in left if word.startswith("--")]
            close = [difflib.get_close_matches(word, known, n=1, cutoff=0.75) for word in words if word not in known]
            meant = next((f"; did you mean {known[match[0]]}?" for match in close if match), "")
            self.error(f"unrecognized arguments: {' '.join(left)}{meant}")
        return found, left

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"blindsr: {message} (see '{self.prog} --help')\n")


def sigma_255(text: str) -> float:
    """A noise level as the user gives it: on the 0–255 scale, of which models know the part up to 100."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MAX_SIGMA_255:
        raise argparse.ArgumentTypeError(f"{text!r} is not a noise level from 0 to {MAX_SIGMA_255} (of 255)")
    return value


def count(text: str) -> int:
    """A whole number of at least 1; 5e8 is one too."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value >= 1 and math.isfinite(value) and value == int(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(value)


def tile(text: str) -> int:
    """The side of a tile in pixels of the photo."""
    value = count(text)
    if value < SMALLEST_TILE:
        raise argparse.ArgumentTypeError(f"tiles of {text} pixels are too small, use at least {SMALLEST_TILE}")
    return value


def device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not one of auto, cpu, cuda, cuda:N, mps")
    return text


def add_photo_options(parser: argparse.ArgumentParser, model: str, others: str = "") -> None:
    """What ``restore`` and ``estimate`` share; ``model`` is used where none is named, and ``others`` do as well."""
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="photos, folders, or globs such as 'in/*.png'")
    parser.add_argument("--scale", type=int, choices=(1, 2, 3, 4), default=4, help="enlargement (default: 4)")
    parser.add_argument(
        "--out", type=Path, default=Path("results"), metavar="DIR", help="folder of the results (default: results)"
    )
    parser.add_argument(
        "--model",
        default=model,
        metavar="NAME|PATH",
        help="tiny-real (for photos), tiny (for data made by blur, decimation and noise alone), or a .safetensors "
        f"file of ours{others} (default: {model})",
    )
    parser.add_argument(
        "--grid",
        choices=("centre", "corner"),
        default="centre",
        help="centre (default): lies on top of an ordinary enlargement; corner: for classically decimated data",
    )
    parser.add_argument(
        "--refine",
        action=argparse.BooleanOptionalAction,
        help="refine the kernel that was found on the photo itself: slower and better (default: with models that find "
        "kernels by looking at their own restorations, such as tiny)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results of other settings, or of anyone else")
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="of the networks (default: auto, bf16 for enlarged photos of 8 bits where the hardware has it, else fp32)",
    )
    machine.add_argument(
        "--compile", action="store_true", help="compile the prior: worth its half minute for many or large photos"
    )
    machine.add_argument("--device", type=device, default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    machine.add_argument("--threads", type=count, metavar="N", help="processor threads (default: torch's choice)")
    machine.add_argument(
        "--max-pixels", type=count, default=500_000_000, metavar="N", help="refuse larger photos (default: 500e6)"
    )
