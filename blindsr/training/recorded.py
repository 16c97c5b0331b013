"""Steps recorded as CUDA graphs: a small network's kernels are over before the CPU has launched the next ones."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from blindsr.alternating import AlternatingSR
from blindsr.interfaces import Batch, BlindSRError
from blindsr.training.distributed import Processes

WARM = 3  # steps before recording: libraries choose their algorithms and make their plans in the first


def check_recordable(model: AlternatingSR, processes: Processes, adversarial: bool) -> None:
    """Recorded steps are for a GPU, one process, and a restorer that learns alone: there, values decide nothing. Raises
    BlindSRError for anything else."""
    if processes.device.type != "cuda" or processes.world > 1:
        raise BlindSRError("graphs want a CUDA device and a single process; leave graphs out")
    if model.finds_kernel or adversarial or not model.restorer.uses_kernel:
        raise BlindSRError("graphs are for a non-blind restorer that learns alone; leave graphs out")


class Recorded:
    """``objective(batch, step)`` forward and backward, recorded once for every scale and replayed from then on.

    The objective must do the same whatever the values are: nothing that it computes may be looked at by the CPU.
    Gradients lie in ``.grad`` of the ``weights`` after each call; the loss is that of the call."""

    def __init__(self, objective: nn.Module, weights: list[nn.Parameter]):
        self.objective, self.weights = objective, weights
        self.records: dict[tuple, tuple[torch.cuda.CUDAGraph, Batch, Tensor, Tensor, list[Tensor | None]]] = {}
        self.pool = None

    def __call__(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """(loss, restored picture), both overwritten by the next call."""
        key = batch.scale, batch.x.shape, batch.y.shape
        if key not in self.records:
            self.records[key] = self._record(batch, step)
        graph, held, loss, x, gradients = self.records[key]
        for name, mine in _tensors(held).items():
            mine.copy_(getattr(batch, name))
        graph.replay()
        for weight, gradient in zip(self.weights, gradients):
            weight.grad = gradient
        return loss, x

    def _record(self, batch: Batch, step: int):
        held = replace(batch, **{name: t.clone() for name, t in _tensors(batch).items()})
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM):
                self._forget()
                self.objective(held, step)[0].backward()
        torch.cuda.current_stream().wait_stream(aside)
        self._forget()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            loss, x = self.objective(held, step)
            loss.backward()
        self.pool = graph.pool()
        return graph, held, loss.detach(), x.detach(), [weight.grad for weight in self.weights]

    def _forget(self) -> None:
        for weight in self.weights:
            weight.grad = None


def _tensors(batch: Batch) -> dict[str, Tensor]:
    named = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}
