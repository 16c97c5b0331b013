"""Several processes on one run: what torchrun started, and how they agree.

Launch with ``torchrun --nproc-per-node=N -m blindsr train …``. Each process works on its own batches; gradients are
averaged by DistributedDataParallel; process 0 alone writes. torchrun restarts all of them when one dies, and they go on
from the last checkpoint; on several machines the run's folder must therefore be on a file system that all of them see.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from blindsr.inference.machine import choose_device


@dataclass(frozen=True)
class Processes:
    """This process, ``rank`` of ``world``, and the ``device`` that it works on."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> Processes:
        """Meet the other processes that torchrun started, if it did. ``device`` is auto, cpu, cuda or cuda:N."""
        name = None if device == "auto" else device
        if "LOCAL_RANK" not in os.environ:
            return cls(0, 1, choose_device(name))
        if choose_device(name).type == "cuda":
            name = f"cuda:{os.environ['LOCAL_RANK']}"
        chosen = choose_device(name)
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        if not dist.is_initialized():
            _meet("nccl" if chosen.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size(), chosen)

    @property
    def leads(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    @property
    def restarted(self) -> bool:
        """Whether torchrun started this run again after a process had died."""
        return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """``module`` with gradients that are averaged over all processes."""
        if self.world == 1:
            return module
        # Which parts a step uses depends on it: none but the restorer where the true kernel is given.
        return DistributedDataParallel(module, find_unused_parameters=True)

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums over all processes, the same in each."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def leave(self) -> None:
        """Part from the others."""
        if dist.is_initialized():
            dist.destroy_process_group()


def _meet(backend: str) -> None:
    """Join the process group, in a corner of torchrun's store of its own for every restart: addresses of processes that
    have died stay in there, and the new ones would knock at their doors (PyTorch 2.13)."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        dist.init_process_group(backend)
        return
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(*address, world_size=world, is_master=False)
    corner = dist.PrefixStore(f"restart_{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    dist.init_process_group(backend, store=corner, rank=rank, world_size=world)
