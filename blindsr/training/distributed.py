"""Several processes on one run: what torchrun started, and how they agree.

Launch with ``torchrun --nproc-per-node=N -m blindsr train …``. Each process works on its own batches; gradients are
averaged by DistributedDataParallel; process 0 alone writes. torchrun restarts all of them when one dies, and they go on
from the last checkpoint; on several machines the run's folder must therefore be on a file system that all of them see.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from blindsr.inference.machine import choose_device
from blindsr.interfaces import BlindSRError
from blindsr.processes import local_rank, rank_and_world


@dataclass(frozen=True)
class Processes:
    """This process, ``rank`` of ``world``, and the ``device`` that it works on; ``restarted`` says whether torchrun
    started the run again after a process had died."""

    rank: int
    world: int
    device: torch.device
    restarted: bool = False

    @classmethod
    def join(cls, device: str) -> Processes:
        """Meet the other processes that torchrun started, if it did. ``device`` is auto, cpu, cuda or cuda:N."""
        if local_rank() is None:
            return cls(0, 1, choose_device(device))
        chosen = choose_device("cuda" if device.startswith("cuda") else device, own=True)  # NCCL wants one GPU for each
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        start = 1 if dist.is_initialized() else _meet("nccl" if chosen.type == "cuda" else "gloo")
        joined = cls(dist.get_rank(), dist.get_world_size(), chosen)
        # Those on other machines may have counted none: together they know.
        (restarts,) = joined.sum([start - 1 + int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))])
        return replace(joined, restarted=restarts > 0)

    @property
    def leads(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """``module`` with gradients that are averaged over all processes."""
        if self.world == 1:
            return module
        # Which parts a step uses depends on it: none but the restorer where the true kernel is given. Buffers need no
        # broadcast: bases never change, standardised features average their moments over all processes themselves, and
        # the vectors of spectral norm follow from weights and a seed that are the same everywhere.
        return DistributedDataParallel(module, find_unused_parameters=True, broadcast_buffers=False)

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums over all processes, the same in each."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def means(self, values: Sequence[Tensor]) -> list[float]:
        """The means over all processes of scalars on the device, the same in each. They are fetched together: a GPU
        has to finish its work first."""
        tensor = torch.stack([value.detach().double() for value in values])
        if self.world > 1:
            dist.all_reduce(tensor)
            tensor /= self.world
        return tensor.tolist()

    def leave(self) -> None:
        """Part from the others."""
        if dist.is_initialized():
            dist.destroy_process_group()


def _meet(backend: str) -> int:
    """Join the process group; the answer says which start of the run this is, from 1 on.

    They meet in a corner of torchrun's store of its own for every start: addresses of processes that have died stay in
    there, and the new ones would knock at their doors (PyTorch 2.13)."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        dist.init_process_group(backend)
        return 1
    rank, world = rank_and_world()
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(*address, world_size=world, is_master=False)
    start = agree(dist.PrefixStore("blindsr", store), rank, world)
    dist.init_process_group(backend, store=dist.PrefixStore(f"start_{start}", store), rank=rank, world_size=world)
    return start


def agree(store: dist.Store, rank: int, world: int) -> int:
    """How often process 0 has come to the ``store``, a number that all who come with it learn.

    torchrun's own count of restarts is none that they share: the agent of a machine counts those alone that its own
    processes caused. And what stands in the store may be from processes that have died. So every process asks under a
    word of its own, and process 0 answers whatever is asked until each of them has thanked it for this start.
    Raises BlindSRError where one does not come before the store's timeout."""
    if rank:
        word = secrets.token_hex(8)
        store.set(f"asks_{rank}", word)
        start = int(store.get(f"answer_{word}"))
        store.set(f"thanks_{rank}_{start}", "")
        return start
    start = store.add("starts", 1)
    missing, until = range(1, world), time.monotonic() + store.timeout.total_seconds()
    while missing := [r for r in missing if not store.check([f"thanks_{r}_{start}"])]:
        if time.monotonic() > until:
            raise BlindSRError(f"processes {missing} did not come; look after their machines and start again")
        for r in missing:
            if store.check([f"asks_{r}"]):
                store.set(f"answer_{store.get(f'asks_{r}').decode()}", str(start))
        time.sleep(0.02)
    return start
