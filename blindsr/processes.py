"""The processes that torchrun started, as its environment tells of them."""

from __future__ import annotations

import os


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) without torchrun."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def local_rank() -> int | None:
    """The number of this process on its machine; None without torchrun."""
    return int(os.environ["LOCAL_RANK"]) if "LOCAL_RANK" in os.environ else None
