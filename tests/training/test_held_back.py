"""scripts/held_back.py: photos held back, restored by several models."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blindsr.training.trainer import Trainer

SCRIPT = Path(__file__).parents[2] / "scripts" / "held_back.py"


@pytest.fixture(scope="module")
def model(photos, tmp_path_factory, toy) -> Path:
    """A blind toy model of untrained weights."""
    folder = tmp_path_factory.mktemp("model")
    Trainer(toy(photos, "tiny"), folder).save()
    return folder / "model.safetensors"


def said(photos: Path, *arguments: object) -> str:
    options = [f"--set={override}" for override in (f"data.folders=[{photos}]", "data.exclude=[broken.png]", "data.validation=1")]
    command = [sys.executable, SCRIPT, "tiny", "--side", "96", "--jobs", "1", *options, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout or done.stderr.splitlines()[-1]


def test_models_beside_each_other(photos, model, tmp_path):
    same = shutil.copy(model, tmp_path / "same.safetensors")
    table = said(photos, model, same, "--scales", 2, "--draws", 1)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[0] == ["", "kernels", "model", "cases", "told", "first error", "blind", "aligned", "error"]
    assert [row[:2] for row in rows[2:]] == [["×2", "gaussian"]] * 2 + [["×2", "motion"]] * 2
    assert rows[2][3:] == rows[3][3:] and rows[4][3:] == rows[5][3:]  # the same cases for every model
    assert rows[2][3] == "1" and rows[2][4:] != rows[4][4:]
    assert all(float(row[7]) >= float(row[6]) for row in rows[2:])
    noisy = said(photos, model, "--scales", 2, "--draws", 1, "--ways", "told", "--sigma", 50, "--rounded")
    assert float(noisy.splitlines()[2].split("|")[5]) < float(rows[2][4])


def test_a_model_of_smaller_kernels(photos, toy, tmp_path):
    Trainer(toy(photos, "joint"), tmp_path).save()
    table = said(photos, tmp_path / "model.safetensors", "--scales", 2, "--draws", 1, "--ways", "first", "blind")
    assert len(table.splitlines()) == 4 and all(float(line.split("|")[-2]) > 0 for line in table.splitlines()[2:])


def test_photos_too_small(photos, model):
    assert said(photos, model, "--side", 9600).endswith("no photo held back is readable and 9600 pixels a side; lower --side")
    assert said(photos, model, "--side", 100).endswith("every scale must divide it; give a multiple of 12")
