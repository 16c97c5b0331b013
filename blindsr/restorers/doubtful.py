"""Weights that change with the doubt about the kernel.

A restorer that is given a wrong kernel must do something else than one that is given the true one: restore with care.
One set of weights for both pays for it in sharpness (0.5 dB and more at ×2). Here a weight is

    W + g(doubt) · B A

where W is that of the non-blind restorer, B A a change of low rank (Hu et al., "LoRA: Low-Rank Adaptation of Large
Language Models", ICLR 2022), and g rises from 0, for a kernel that is true or nearly so, to 1. So what is learned of
doubtful kernels costs nothing where the kernel is known. (On the interpolation of a network with one that was
fine-tuned from it see Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call

TRUSTED, DOUBTED = 0.05, 0.6  # relative kernel errors up to, and from which, the change counts not at all, and in full


def gate(doubt: Tensor) -> Tensor:
    """g: doubt (B,) -> (B,) in [0, 1], smoothly from TRUSTED to DOUBTED on a logarithmic scale."""
    t = (doubt.clamp(min=TRUSTED) / TRUSTED).log() / math.log(DOUBTED / TRUSTED)
    t = t.clamp(max=1)
    return t * t * (3 - 2 * t)


class Changes(nn.Module):
    """The changes B A of all weights of a ``module``: zero at first, of rank ``rank`` where that saves numbers."""

    def __init__(self, module: nn.Module, rank: int):
        super().__init__()
        self.names: list[str] = []
        self.down, self.up = nn.ParameterDict(), nn.ParameterDict()
        for name, weight in module.named_parameters():
            key, (rows, columns) = name.replace(".", "_"), (len(weight), weight[0].numel())
            self.names.append(name)
            if rank * (rows + columns) < weight.numel():
                self.down[key] = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
                self.up[key] = nn.Parameter(torch.zeros(rows, rank))
            else:
                self.up[key] = nn.Parameter(torch.zeros(rows, columns))

    def change(self, name: str) -> Tensor:
        """B A of the weight called ``name``, as a matrix: its first dimension against all others."""
        key = name.replace(".", "_")
        return self.up[key] @ self.down[key] if key in self.down else self.up[key]

    def weights(self, module: nn.Module, amount: Tensor) -> dict[str, Tensor]:
        """W + amount · B A of every weight. No gradient reaches W: estimated kernels teach the changes alone, and the
        rare ones with hardly a doubt, the more so as Adam makes much of small gradients, spoil nothing."""
        parameters = dict(module.named_parameters())
        return {
            name: parameters[name].detach() + amount * self.change(name).view_as(parameters[name])
            for name in self.names
        }


class Doubting:
    """``module`` as it acts on a batch whose samples have the doubts ``gates`` (B,), out of :func:`gate`."""

    def __init__(self, module: nn.Module, changes: Changes, gates: Tensor):
        self.module = module
        known = gates.tolist()
        self.alike = len(set(known)) == 1  # the tiles of one photo
        plain = not torch.is_grad_enabled()  # otherwise W itself would learn where the gate is shut
        self.weights = [
            None if plain and not value else changes.weights(module, amount)
            for amount, value in zip(gates, known[:1] if self.alike else known)
        ]

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self.alike:
            return self._call(self.weights[0], inputs)
        pieces = [self._call(weights, [t[i : i + 1] for t in inputs]) for i, weights in enumerate(self.weights)]
        return torch.cat(pieces)

    def _call(self, weights: dict[str, Tensor] | None, inputs) -> Tensor:
        return self.module(*inputs) if weights is None else functional_call(self.module, weights, tuple(inputs))
