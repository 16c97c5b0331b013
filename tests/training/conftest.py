"""Toy photos and toy versions of the shipped configurations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blindsr import training
from blindsr.degradation.recorded import Records


def make_photos(folder: Path, n: int = 4) -> Path:
    """``n`` smooth random photos of 300×260 pixels and one broken file."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        coarse = rng.integers(0, 255, (26, 30, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((300, 260), Image.BICUBIC).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"not a photo")
    return folder


def make_records(path: Path) -> Path:
    """Four records of every scale."""
    rng, n = np.random.default_rng(0), 16
    kernels = rng.random((2, n, 25, 25), dtype=np.float32)
    kernels /= kernels.sum((2, 3), keepdims=True)
    few, none = np.linspace(0, 0.05, n, dtype=np.float32), np.zeros(n, bool)
    with path.open("wb") as file:
        Records(0 * none, np.arange(n), np.arange(n) % 4 + 1, kernels[0], few, none, kernels[1], few, 15 * few).save(file)
    return path


def settings(photos: Path, name: str) -> list[str]:
    """Overrides that bring a shipped configuration to toy size."""
    common = [
        f"data.folders=[{photos}]", "data.exclude=[broken.png]", "data.validation=1", "data.validation_patch=96",
        "data.batch=2", "data.patch=48", "data.workers=0",
        "compile=false", "schedule.minutes=0", "schedule.iterations=3", "schedule.warmup=1", "start_from=[]",
        "save_every=1", "log_every=1", "validate_every=2", "device=cpu",
    ]  # fmt: skip
    if name.startswith("bsr"):
        small = ["channels=8", "blocks=1", "growth=4"]
    else:
        small = ["n_iterations=3", "channels=[8, 8]"]
        if not name.startswith("usr"):
            common.append("data.context=60")
    if name in ("usrgan", "bsrgan"):
        common.append("adversarial.discriminator.channels=4")
    if name == "tiny_recorded":
        common += [f"data.degradation.files=[{make_records(photos.with_name('records.npz'))}]", "data.context=0"]
    if name == "joint_real":
        common += ["data.patch=32", "data.context=40", "data.validation_patch=36"]
    if name.startswith("bsr"):
        common += ["data.patch=32", "data.validation_patch=36"]
    return common + [f"model.restorer.{option}" for option in small]


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    return make_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def toy_settings():
    return settings


@pytest.fixture(scope="session")
def toy():
    """toy(photos, name, *overrides): a shipped configuration at toy size."""

    def load(photos: Path, name: str = "tiny", *more: str) -> training.TrainConfig:
        return training.load_config(name, [*settings(photos, name), *more])

    return load
