"""What the machine at hand can do: its device, its precision, its free memory."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import nn

from blindsr.interfaces import BlindSRError
from blindsr.processes import local_rank
from blindsr.restorers.rrdbnet import RRDBNet

Precision = Literal["auto", "fp32", "bf16"]
ASSUMED_FREE = 2 * 2**30  # bytes, where the system does not say
SHARE = 0.5  # of the free memory that one restoration or estimate may take
MOST = 7 * 2**28  # bytes, and no more than this on a CPU: larger tiles are hardly faster
ESTIMATE_BYTES = 700  # for each low-resolution pixel that a first estimate looks at; measured: 640 to 670


def choose_device(name: str | None, own: bool = False) -> torch.device:
    """The named device; None or ``auto`` takes the first CUDA device, else the CPU. With ``own`` each of the processes that torchrun
    started here takes a GPU of its own, unless the name says which. Raises BlindSRError when it is not there."""
    if name in (None, "auto"):
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if own and name == "cuda" and local_rank() is not None:
        name = f"cuda:{local_rank() % max(torch.cuda.device_count(), 1)}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise BlindSRError(f"device {name!r} is not usable here; choose another, such as cpu") from None
    return device


@cache
def has_native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware: AMX or AVX512-BF16 on a CPU, any recent GPU."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return "amx_bf16" in words or "avx512_bf16" in words


def resolve_precision(precision: Precision, device: torch.device, exact: bool = False) -> Literal["fp32", "bf16"]:
    """``auto`` is bf16 where the device has it, but where the answer is to be ``exact``: bf16 itself holds 8 bits.

    Raises BlindSRError for another word.
    """
    if precision not in get_args(Precision):
        raise BlindSRError(f"precision {precision!r} is not known; use one of {', '.join(get_args(Precision))}")
    if precision != "auto":
        return precision
    return "bf16" if not exact and has_native_bf16(device) else "fp32"


def keep_freed_memory(device: torch.device) -> bool:
    """Let this process, where it works on the CPU, keep large blocks that it has freed, for the next tensor; True where that
    can be had (glibc).

    The C library hands blocks above 32 MiB back to the system at once and gets each new one zeroed page by page: a
    fifth of the time that a photo in large tiles takes. A decision for the whole process; :func:`forget_cached` gives
    back what is kept.
    """
    mallopt = getattr(_libc(), "mallopt", None) if device.type == "cpu" else None
    if mallopt is None:
        return False
    trim_threshold, mmap_threshold = -1, -3  # names in malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
    return bool(mallopt(mmap_threshold, 2**30) and mallopt(trim_threshold, 2**31 - 1))


def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None) if sys.platform == "linux" else None
    except OSError:
        return None


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device, with what PyTorch keeps there for later. On a CPU, what this process keeps for
    later is given back first, and limits of containers and jobs count too."""
    if device.type == "cuda":  # emptying its cache would make every photo wait
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    forget_cached(device)
    found = [value for value in (_available(), _within_group()) if value is not None]
    return max(min(found, default=ASSUMED_FREE), 0)


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def _within_group(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """What the tightest limit leaves of the control groups that this process is in: of its container, of its job on a
    cluster. None where nobody limits it."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    found = []
    for line in lines:  # "0::/job" in version 2, "4:cpu,memory:/job" in version 1
        number, controllers, path = line.split(":", 2)
        version = 2 if number == "0" else 1 if "memory" in controllers.split(",") else None
        if version is not None:
            root = groups if version == 2 else groups / "memory"
            folder = root / path.lstrip("/")
            found += [_left(f, version) for f in (folder, *folder.parents) if f.is_relative_to(root)]
    return min((left for left in found if left is not None), default=None)


GROUP_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def _left(folder: Path, version: int) -> int | None:
    """What the limit of one group leaves; None where it has none."""
    limit, usage, idle = GROUP_FILES[version]
    try:
        free = int((folder / limit).read_text()) - int((folder / usage).read_text())
    except (OSError, ValueError):  # no limit reads "max"
        return None
    try:  # pages of files that nobody has read lately are given up when somebody needs them
        lines = (folder / "memory.stat").read_text().splitlines()
        return free + sum(int(line.split()[1]) for line in lines if line.startswith(f"{idle} "))
    except (OSError, ValueError):
        return free


def bytes_per_pixel(restorer: nn.Module) -> int:
    """Peak memory of a restoration for each high-resolution pixel, padding included.

    Measured in float32: USRNet, 500 for 16 channels on the finest scale, 1650 for 64; RRDBNet, 250 and 870 (at ×2
    and at ×4). bfloat16 takes a third to a half less. A quarter is added, for allocators and for what else is held.
    """
    if isinstance(restorer, RRDBNet):
        return round(1.25 * (50 + 13 * restorer.conv_first.out_channels))
    prior = getattr(restorer, "prior", None)
    channels = getattr(getattr(prior, "head", None), "out_channels", 64)
    return round(1.25 * (130 + 24 * channels / getattr(prior, "fold", 1) ** 2))


def affordable_pixels(restorer: nn.Module, device: torch.device) -> int:
    """High-resolution pixels that may be restored at once."""
    return int(_room(device) / bytes_per_pixel(restorer))


def affordable_side(device: torch.device) -> int:
    """Side of the square, in low-resolution pixels, that a first estimate may look at."""
    return int((_room(device) / ESTIMATE_BYTES) ** 0.5)


def _room(device: torch.device) -> float:
    """Bytes that one piece of work may take."""
    room = SHARE * free_memory(device)
    return min(room, MOST) if device.type == "cpu" else room


def forget_cached(device: torch.device) -> None:
    """Hand memory that is kept for later back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    trim = getattr(_libc(), "malloc_trim", None) if device.type == "cpu" else None
    if trim is not None:
        trim(0)
