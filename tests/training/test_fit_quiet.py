"""scripts/fit_quiet.py: layers for quiet photos learn from what was collected once."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from blindsr import checkpoints
from blindsr.training.trainer import Trainer

SCRIPT = Path(__file__).parents[2] / "scripts" / "fit_quiet.py"


@pytest.fixture(scope="module")
def model(photos, tmp_path_factory, toy) -> Path:
    """Untrained weights, but that every photo is taken for quiet."""
    folder = tmp_path_factory.mktemp("model")
    trainer = Trainer(toy(photos, "estimator", "model.initial.quiet=false"), folder)
    with torch.no_grad():
        trainer.average.initial.mlp[-1].bias[-2] = -9.0
    trainer.save()
    return folder / "model.safetensors"


def fitted(model: Path, out: Path, photos: Path, *arguments: object) -> subprocess.CompletedProcess:
    settings = ("data.validation=1", "data.patch=60", "data.batch=8", "data.scales=[2]", f"data.folders=[{photos}]")
    options = [f"--set={override}" for override in (*settings, "data.exclude=[broken.png]")]
    command = [sys.executable, SCRIPT, model, "estimator", out, "--jobs", "1", *options, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_it_learns_and_goes_on_with_what_is_there(photos, model, tmp_path):
    done = fitted(model, tmp_path, photos, "--pieces", 32, "--batch", 16, "--epochs", 20)
    assert done.returncode == 0, done.stderr
    before, after = (checkpoints.load(file).model for file in (model, tmp_path / "model.safetensors"))
    assert after.config.initial.quiet and not before.config.initial.quiet
    weights, rested = after.initial.state_dict(), before.initial.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in rested.items())
    assert after.initial.quiet.fitted and after.initial.quiet.read.weight.abs().max() > 0
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["×2, no noise", "×2, 8 bits, some noise"]
    errors = [[float(part.split("kernel ")[1].split(",")[0]) for part in line.split("→")] for line in lines]
    assert all(new < old for old, new in errors)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.glob("seen/*/*.npz")}
    assert len([file for file in files if file.name.startswith("piece")]) == 4
    again = fitted(model, tmp_path, photos, "--pieces", 40, "--batch", 16, "--epochs", 1)
    assert again.returncode == 0, again.stderr
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.glob("seen/*/*.npz")}
    assert len(kept) == len(files) + 1 and all(kept[file] == time for file, time in files.items())


def test_models_that_do_not_serve(photos, toy, tmp_path):
    Trainer(toy(photos, "usrnet_tiny"), tmp_path).save()
    done = fitted(tmp_path / "model.safetensors", tmp_path, photos)
    assert done.returncode and done.stderr.splitlines()[-1].endswith("answers pixels; give another, such as tiny")
