"""What is known of this process and its machine."""

import cv2
import numpy as np
import pytest

from blindsr.processes import is_out_of_memory, several_machines, usable_cores


def test_processes_of_one_machine_share_its_cores(monkeypatch) -> None:
    all_cores = usable_cores()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert usable_cores() == max(all_cores // 2, 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(10 * all_cores))
    assert usable_cores() == 1


def test_other_machines(monkeypatch) -> None:
    assert not several_machines()
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert several_machines()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert not several_machines()


def test_a_lack_of_memory_in_opencv() -> None:
    with pytest.raises(cv2.error) as lack:
        cv2.resize(np.zeros((2, 2), np.uint8), (2**30, 2**30))
    assert is_out_of_memory(lack.value) == ("Insufficient memory" in str(lack.value))
    assert is_out_of_memory(cv2.error("(-4:Insufficient memory) Failed to allocate 9 bytes"))
    assert is_out_of_memory(RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"))
    assert not is_out_of_memory(cv2.error("(-215:Assertion failed)"))
