"""This process and its machine: what torchrun says of it in the environment, its beginning, its cores, its memory."""

from __future__ import annotations

import os
import time

BEGAN = time.time()
"""When this process began, nearly: PyTorch, which may take long to load, comes later."""


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) without torchrun."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def local_rank() -> int | None:
    """The number of this process on its machine; None without torchrun."""
    return int(os.environ["LOCAL_RANK"]) if "LOCAL_RANK" in os.environ else None


def several_machines() -> bool:
    """Whether processes of this run are on other machines too, as far as one can know."""
    return int(os.environ.get("WORLD_SIZE", 1)) > int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def usable_cores() -> int:
    """Cores that this process may use: its share of them where torchrun started several on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was what an operation lacked, on a CPU or a GPU."""
    words = str(error)
    told = any(w in words for w in ("can't allocate memory", "out of memory", "ALLOC_FAILED"))  # by PyTorch; by cuFFT and its like
    if type(error).__module__ == "cv2":  # OpenCV's one exception is no RuntimeError
        return "Insufficient memory" in words
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and told)
