"""Result files that are not photos, written whole or not at all."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in its folder (made when missing), then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def json_bytes(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def npy_bytes(kernel: np.ndarray) -> bytes:
    data = io.BytesIO()
    np.save(data, kernel, allow_pickle=False)
    return data.getvalue()


def mat_bytes(kernel: np.ndarray) -> bytes:
    from scipy.io import savemat

    data = io.BytesIO()
    savemat(data, {"kernel": np.asarray(kernel, dtype=np.float64)})
    return data.getvalue()
