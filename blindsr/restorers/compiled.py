"""A prior compiled by torch.compile, where there is a compiler; otherwise it says so and goes on as it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from blindsr.interfaces import Restorer
from blindsr.processes import is_out_of_memory
from blindsr.restorers.resunet import ResUNet


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
                if is_out_of_memory(error):  # whoever called has smaller pieces
                    raise
                self.compiled = self.function
                self.report(f"not compiled: {' '.join(str(error).split())[:100]}")
        return self.function(x)


def compile_prior(restorer: Restorer, report: Callable[[str], Any] = tell) -> None:
    """Compile the prior of ``restorer``, if it is a ResUNet, where a compiler is at hand; otherwise say so and go on.

    The network keeps its parameters, which is why it also runs with other weights in their place
    (:mod:`blindsr.restorers.doubtful`), compiled or not."""
    prior = getattr(restorer, "prior", None)
    if not isinstance(prior, ResUNet):
        return
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler

        get_cpp_compiler()
        prior.whole = Compiled(partial(ResUNet.whole, prior), report)
    except Exception as error:
        report(f"not compiled: {' '.join(str(error).split())[:100]}")
