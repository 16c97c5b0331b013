"""Result files that are not photos, written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from blindsr.atomic import whole_file
from blindsr.interfaces import BlindSRError

if TYPE_CHECKING:
    from blindsr.inference.result import Restored


def write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in its folder (made when missing), then rename it.

    Raises BlindSRError when the folder or the disk refuses.
    """
    try:
        with whole_file(path) as part:
            part.write_bytes(content)
    except OSError as error:
        cure = "free some space, or choose another --out"
        raise BlindSRError(f"{path}: cannot be written ({error.strerror or error}); {cure}") from None


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
