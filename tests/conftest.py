"""What tests of several parts share: a small photo and a small, untrained model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def pixels() -> np.ndarray:
    """A small colour photo (24, 30, 3) uint8 with smooth shading, edges and some texture."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:24, :30]
    shading = np.stack([4 * rows + 60, 5 * cols + 40, 3 * (rows + cols) + 50], axis=-1).astype(float)
    shading[6:16, 8:20] += 80
    return np.clip(shading + rng.normal(0, 3, shading.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an untrained blind model (two iterations, two loops, 9×9 kernels): quick, and of no use."""
    import torch

    from blindsr import checkpoints
    from blindsr.alternating import AlternatingConfig, AlternatingSR
    from blindsr.estimators.dan import DANConfig
    from blindsr.estimators.spectral import SpectralConfig
    from blindsr.kernels.basis import KernelBasis
    from blindsr.kernels.gaussian import gaussian
    from blindsr.restorers.usrnet import USRNetConfig

    kernels = np.stack([gaussian(9, 0.5 + 0.05 * i, 0.5 + 0.07 * (i % 13), 0.1 * i) for i in range(40)])
    config = AlternatingConfig(
        restorer=USRNetConfig(n_iterations=2, channels=(8, 8, 8, 8), hidden=8),
        initial=SpectralConfig(code=4, window=16, hidden=8),
        estimator=DANConfig(code=4, size=9, channels=16, blocks=1, hidden=8),
        basis="small",
        loops=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AlternatingSR(config, KernelBasis.fit(kernels, 4))
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    checkpoints.save(path, model, {"name": "small"})
    return path


@pytest.fixture(scope="session")
def published() -> Callable[[str], Path]:
    """Where a published weights file lies: in weights/ of the folder BLINDSR_DATA, or of a folder ``data`` beside
    the checkout. They carry no licence and are not in the repository; without them the test is skipped."""
    beside = Path(__file__).resolve().parents[2].glob("*/data")
    folders = [Path(os.environ["BLINDSR_DATA"])] if "BLINDSR_DATA" in os.environ else sorted(beside)

    def find(name: str) -> Path:
        for folder in folders:
            if (folder / "weights" / name).is_file():
                return folder / "weights" / name
        pytest.skip("the published weights are not at hand (set BLINDSR_DATA)")

    return find
