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
from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
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

    @torch.no_grad()
    def reach(self, module: nn.Module, wanted: Mapping[str, Tensor]) -> None:
        """Become the changes that bring W as near to the ``wanted`` weights, by name, as their rank allows (Eckart and Young,
        Psychometrika 1936)."""
        for name, weight in module.named_parameters():
            key, change = name.replace(".", "_"), (wanted[name] - weight).view(len(weight), -1)
            if key in self.down:
                u, s, v = torch.linalg.svd(change, full_matrices=False)
                rank = len(self.down[key])
                self.down[key].copy_(v[:rank])
                self.up[key].copy_(u[:, :rank] * s[:rank])
            else:
                self.up[key].copy_(change)


class Doubting:
    """``module`` as it acts on a batch whose samples have the doubts ``gates`` (B,), out of :func:`gate`.

    For samples alike, such as the tiles of a photo, the changed weights are put in the place of W. Otherwise the layers
    are run with W, all samples at once, and what the change makes of their inputs is added to their outputs."""

    def __init__(self, module: nn.Module, changes: Changes, gates: Tensor):
        self.module, self.changes, self.gates = module, changes, gates
        known = set(gates.tolist())
        self.alike = len(known) == 1
        # Without gradients alone: otherwise W itself would learn where the gate is shut.
        self.shut = known == {0.0} and not torch.is_grad_enabled()
        if self.alike:
            self.weights = {} if self.shut else changes.weights(module, gates[0])
        else:
            self.weights = {name: weight.detach() for name, weight in module.named_parameters()}

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self.shut:
            return self.module(*inputs)
        if self.alike:
            return functional_call(self.module, self.weights, inputs)
        hooks = [
            layer.register_forward_hook(partial(self._add, name))
            for name, layer in self.module.named_modules()
            if f"{name}.weight" in self.weights
        ]
        try:
            return functional_call(self.module, self.weights, inputs)
        finally:
            for hook in hooks:
                hook.remove()

    def _add(self, name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The output of ``layer`` and what the change of its weights adds."""
        gates = self.gates.view(-1, *[1] * (output.dim() - 1)).to(output.dtype)
        bias = None
        if getattr(layer, "bias", None) is not None:
            bias = self.changes.change(f"{name}.bias").flatten()
        key = f"{name}.weight".replace(".", "_")
        up = self.changes.up[key]
        if key not in self.changes.down:
            return output + gates * apply(layer, inputs[0], up.view_as(layer.weight), bias)
        # A change of low rank in two steps: A as a layer with few outputs, B mixes them; no weights per sample.
        down = self.changes.down[key]
        if isinstance(layer, nn.ConvTranspose2d):  # its first dimension is that of the inputs: B comes first there
            seen = F.conv2d(inputs[0], up.t()[..., None, None])
            return output + gates * apply(layer, seen, down.view(len(down), *layer.weight.shape[1:]), bias)
        seen = apply(layer, inputs[0], down.view(len(down), *layer.weight.shape[1:]), None)
        if isinstance(layer, nn.Linear):
            return output + gates * F.linear(seen, up, bias)
        return output + gates * F.conv2d(seen, up[..., None, None], bias)


def apply(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What ``layer``, a convolution or a linear one, does with ``x`` under another weight and bias."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, bias)
    if isinstance(layer, nn.ConvTranspose2d):
        return F.conv_transpose2d(x, weight, bias, layer.stride, layer.padding)
    return F.conv2d(x, weight, bias, layer.stride, layer.padding)
