"""The restorer learns from recorded estimates, and the records are made by the script."""

import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blindsr.degradation.recorded import RecordedEstimates, RecordedEstimatesConfig, Records
from blindsr.interfaces import BlindSRError
from blindsr.training.trainer import Trainer

SCRIPT = Path(__file__).parents[2] / "scripts" / "record_estimates.py"


@pytest.fixture(scope="module")
def files(photos, tmp_path_factory, toy) -> tuple[Path, Path]:
    """A toy model of untrained weights, and the records of a photo."""
    folder = tmp_path_factory.mktemp("records")
    Trainer(toy(photos, "tiny", "data.scales=[2]"), folder / "a").save()
    model, out = folder / "a" / "model.safetensors", folder / "records.npz"
    assert recorded(photos, model, out, 1) == f"{out}: 2 rows of 1 photos"
    return model, out


def recorded(photos: Path, model: Path, out: Path, n: int, *more: str) -> str:
    """Runs the script; what it said last."""
    options = ["--records", str(n), "--jobs", "1", "--side", "96"]
    for override in (f"data.folders=[{photos}]", "data.exclude=[broken.png]", "data.validation=1", "data.scales=[2]", *more):
        options += ["--set", override]
    done = subprocess.run([sys.executable, SCRIPT, model, "tiny", out, *options], capture_output=True, text=True)
    return (done.stdout or done.stderr).splitlines()[-1]


def test_records_of_photos(files, photos, tmp_path):
    model, begun = files
    out, before = tmp_path / "records.npz", Records.load(begun)
    with out.open("wb") as file:
        replace(before, doubt=before.doubt + 1).save(file)
    assert recorded(photos, model, out, 2) == f"{out}: 4 rows of 2 photos"
    records = Records.load(out)
    assert np.array_equal(records.doubt[:2], before.doubt + 1)  # what was there stays
    assert list(records.number) == [0, 0, 1, 1] and set(records.scale) == {2}  # the last loop and the answer of each
    np.testing.assert_allclose(records.k.sum((1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(records.found.sum((1, 2)), 1, atol=1e-4)
    assert (records.doubt > 0).all() and not np.array_equal(records.found[0], records.found[1])
    said = recorded(photos, model, out, 3, "data.degradation.rounded=1")
    assert said.endswith("holds records of another model or configuration; choose another file")


def test_rounds_of_refining_before_the_answer_are_not_recorded(files, photos, toy, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    script, config = importlib.import_module(SCRIPT.stem), toy(photos, "tiny", "data.scales=[2]").data
    answers = []

    def run_model(model, case):
        *loops, answer = script_run_model(model, case)
        between = [replace(answer, kernel=torch.full_like(answer.kernel, i)) for i in (2, 3)]
        answers.append((loops[-1], answer))
        return [*loops, *between, answer]

    script_run_model = script.run_model
    monkeypatch.setattr(script, "run_model", run_model)
    rows = script.record((str(files[0]), config, 96, 0))
    for row, right in zip(rows, answers[0], strict=True):
        np.testing.assert_array_equal(row["found"], right.kernel[0, 0])


def test_they_teach_the_changes(files, photos, tmp_path, toy):
    model, out = files
    options = (f"data.degradation.files=[{out}]", "data.scales=[2]", f"start_from=[{model}]")
    trainer = Trainer(toy(photos, "tiny_recorded", *options), tmp_path / "b")
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    trainer.run()
    changed = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed and all(name.split(".")[1].endswith("_changes") for name in changed)
    for wrong in (("tiny_recorded", "train=[restorer, estimator]"), ("usrnet_tiny", recorded_by(out))):
        with pytest.raises(BlindSRError, match="teach the restorer of a blind model alone"):
            Trainer(toy(photos, wrong[0], *wrong[1:], "data.scales=[2]"), tmp_path / "d")


def test_records_of_several_files_teach_together(files, photos, tmp_path, toy):
    both, other = [tmp_path / name for name in ("both.npz", "other.npz")], Records.load(files[1])
    for path, scale in zip(both, (2, 4)):
        with path.open("wb") as file:
            replace(other, scale=np.full_like(other.scale, scale)).save(file)
    degradation = RecordedEstimates(RecordedEstimatesConfig(tuple(map(str, both))))
    x, rng = torch.rand(1, 3, 48, 48), np.random.default_rng(0)
    for scale in (2, 4):
        assert degradation.batch(x, scale, rng).y.shape[-1] == 48 // scale
    with pytest.raises(BlindSRError, match=r"no records of scale 3 in \S+both.npz, \S+other.npz; leave"):
        degradation.batch(x, 3, rng)
    with both[1].open("wb") as file:  # of a model with smaller kernels
        replace(other, scale=np.full_like(other.scale, 4), found=other.found[:, 2:-2, 2:-2]).save(file)
    degradation = RecordedEstimates(RecordedEstimatesConfig(tuple(map(str, both))))
    found = degradation.batch(x, 4, np.random.default_rng(0)).found.kernel
    assert found.shape[-1] == 25 and found[..., :2, :].abs().sum() == 0 < found[..., 2:-2, 2:-2].sum()


def recorded_by(file: Path) -> str:
    return f"data.degradation={{name: recorded, files: [{file}]}}"
