from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from blindsr.inference import machine
from blindsr.interfaces import BlindSRError
from blindsr.restorers.usrnet import USRNet, USRNetConfig

CPU = torch.device("cpu")


def test_precision(monkeypatch) -> None:
    monkeypatch.setattr(machine, "has_native_bf16", lambda device: True)
    assert machine.resolve_precision("auto", CPU) == "bf16"
    assert machine.resolve_precision("auto", CPU, exact=True) == "fp32"
    assert machine.resolve_precision("bf16", CPU, exact=True) == "bf16"
    assert machine.resolve_precision("fp32", CPU) == "fp32"
    monkeypatch.setattr(machine, "has_native_bf16", lambda device: False)
    assert machine.resolve_precision("auto", CPU) == "fp32"
    with pytest.raises(BlindSRError, match="precision 'fp16' is not known; use one of auto, fp32, bf16"):
        machine.resolve_precision("fp16", CPU)


def test_devices(monkeypatch) -> None:
    assert machine.choose_device("cpu") == CPU
    assert machine.choose_device("auto") == machine.choose_device(None)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert machine.choose_device("cpu", own=True) == CPU
    for name in ("gpu", "cuda:99"):
        with pytest.raises(BlindSRError, match=f"device '{name}' is not usable here"):
            machine.choose_device(name)


def a_group(folder: Path, version: int, limit: int | str, usage: int, idle: int | None) -> None:
    """Files of a control group; without ``idle`` no memory.stat."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"), 2: ("memory.max", "memory.current", "")}
    limit_file, usage_file, prefix = names[version]
    (folder / limit_file).write_text(f"{limit}\n")
    (folder / usage_file).write_text(f"{usage}\n")
    if idle is not None:
        (folder / "memory.stat").write_text(f"anon 300\n{prefix}inactive_file {idle}\nactive_file 100\n")


@pytest.mark.parametrize("version, line", [(1, "4:cpu,memory:"), (2, "0::")])
def test_limits_of_containers_and_jobs(version: int, line: str, tmp_path: Path) -> None:
    groups, own = tmp_path / "groups", tmp_path / "own"
    root = groups / "memory" if version == 1 else groups
    own.write_text(f"7:blkio:/\n{line}/\n")
    assert machine._within_group(groups, own) is None  # nothing there
    a_group(root, version, 3000, 1000, None)
    assert machine._within_group(groups, own) == 2000
    a_group(root, version, 3000, 1000, 600)
    assert machine._within_group(groups, own) == 2600  # what files of the past take can be had
    a_group(root / "batch" / "job", version, 1500, 1000, 0)
    assert machine._within_group(groups, own) == 2600  # somebody else's
    own.write_text(f"{line}/batch/job/step\n")
    assert machine._within_group(groups, own) == 500  # that of a group around it, the tightest
    a_group(root / "batch", version, 1700, 1400, 0)
    assert machine._within_group(groups, own) == 300
    for folder in (root, root / "batch", root / "batch" / "job"):
        a_group(folder, version, 2**63 - 4096 if version == 1 else "max", 1000, 0)
    assert (machine._within_group(groups, own) or 2**62) > 2**61
    assert machine._within_group(groups, tmp_path / "missing") is None


def test_free_memory_heeds_them(monkeypatch) -> None:
    monkeypatch.setattr(machine, "_available", lambda: 5000)
    monkeypatch.setattr(machine, "_within_group", lambda: 2000)
    assert machine.free_memory(CPU) == 2000
    monkeypatch.setattr(machine, "_within_group", lambda: None)
    monkeypatch.setattr(machine, "_available", lambda: None)
    assert machine.free_memory(CPU) == machine.ASSUMED_FREE


def test_a_wider_prior_takes_more_memory() -> None:
    tiny, wide = (USRNet(USRNetConfig(1, (c, c), 8)) for c in (16, 64))
    assert 500 < machine.bytes_per_pixel(tiny) < 1000 < machine.bytes_per_pixel(wide)
    assert machine.affordable_pixels(wide, CPU) < machine.affordable_pixels(tiny, CPU)


KEPT = """
import resource, torch
from blindsr.inference import machine
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def resident():
    return int(open("/proc/self/statm").read().split()[1])
kept = machine.keep_freed_memory(torch.device("cpu"))
b"x" * 160_000_000
before = faults()
b"x" * 160_000_000
again, held = faults() - before, resident()
machine.forget_cached(torch.device("cpu"))
print(kept, again, held - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="an affair of glibc")
def test_freed_memory_is_kept_and_given_back() -> None:
    """In a process of its own, because it is decided for the whole process. 160 MB are 39,063 pages."""
    told = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True).stdout.split()
    if told[0] == "False":
        pytest.skip("not glibc")
    assert int(told[1]) < 4000 and int(told[2]) > 35_000


def test_folded_priors_take_no_more_than_their_pixels():
    plain, folded = (USRNet(USRNetConfig(1, (c, c), 8, fold=f)) for c, f in ((16, 1), (64, 2)))
    assert machine.bytes_per_pixel(plain) == machine.bytes_per_pixel(folded)
