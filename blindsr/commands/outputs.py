"""What commands print of a result, and kernels as the bytes of files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from blindsr.inference.result import Restored


def result_line(path: Path, restored: Restored) -> str:
    """What is printed of a result: where it is, what was found and, where that is doubtful, a line of advice."""
    advice = restored.advice()
    return f"{path}: {restored.summary()}" + (f"\n  {advice}" if advice else "")


def npy_bytes(kernel: np.ndarray) -> bytes:
    data = io.BytesIO()
    np.save(data, kernel, allow_pickle=False)
    return data.getvalue()


def mat_bytes(kernel: np.ndarray) -> bytes:
    from scipy.io import savemat

    data = io.BytesIO()
    savemat(data, {"kernel": np.asarray(kernel, dtype=np.float64)})
    return data.getvalue()
