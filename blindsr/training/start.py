"""How a run begins: starting weights from earlier stages, and a compiled prior where that is possible."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blindsr import checkpoints
from blindsr.alternating import AlternatingSR
from blindsr.interfaces import BlindSRError
from blindsr.restorers.resunet import ResUNet
from blindsr.training.settings import PARTS


def start_from(model: AlternatingSR, files: tuple[str, ...]) -> set[str]:
    """Take the starting weights of every part that a checkpoint in ``files`` has *trained*; later files win.

    A stage's file also holds the parts that did not learn in it, as they were drawn at random. Returns the
    names of the parts taken.
    """
    all_taken: set[str] = set()
    for file in files:
        if not Path(file).exists() and file not in checkpoints.shipped_names():
            cure = "train that stage first, name another file, or start without: --set 'start_from=[]'"
            raise BlindSRError(f"start_from: {file} does not exist; {cure}")
        checkpoint = checkpoints.load(file)
        given, taken = checkpoint.model, []
        for name in checkpoint.card.get("trained", PARTS):
            ours, theirs = getattr(model, name), getattr(given, name)
            if ours is None or theirs is None:
                continue
            try:
                ours.load_state_dict(theirs.state_dict())
            except RuntimeError:
                raise BlindSRError(f"{file}: its {name} has another shape than this configuration's") from None
            taken.append(name)
        if not taken:
            raise BlindSRError(f"{file}: has no part that this configuration could start from")
        all_taken.update(taken)
        print(f"starting weights of {', '.join(taken)} from {file}", file=sys.stderr)
    return all_taken


def tell(line: str) -> None:
    """To standard error."""
    print(line, file=sys.stderr)


class Compiled:
    """``function`` of a tensor, compiled on its first call; where that fails it is said once, and the function goes on
    as it is. What is wrong with the function itself it will then say itself."""

    def __init__(self, function: Callable[[Tensor], Tensor], report: Callable[[str], Any] = tell):
        self.function, self.report = function, report
        self.compiled = torch.compile(function)

    def __call__(self, x: Tensor) -> Tensor:
        if self.compiled is not self.function:
            try:
                return self.compiled(x)
            except Exception as error:  # of any kind: they come from the compiler behind as well
                self.compiled = self.function
                self.report(f"not compiled: {' '.join(str(error).split())[:100]}")
        return self.function(x)


def compile_prior(model: AlternatingSR, report: Callable[[str], Any] = tell) -> None:
    """Compile the restorer's prior, if it is a ResUNet, where a compiler is at hand; otherwise say so and go on.

    The network keeps its parameters, which is why it also runs with other weights in their place
    (:mod:`blindsr.restorers.doubtful`), compiled or not."""
    prior = getattr(model.restorer, "prior", None)
    if not isinstance(prior, ResUNet):
        return
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler

        get_cpp_compiler()
        prior.whole = Compiled(partial(ResUNet.whole, prior), report)
    except Exception as error:
        report(f"not compiled: {' '.join(str(error).split())[:100]}")
