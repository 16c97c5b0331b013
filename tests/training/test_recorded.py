"""The restorer learns from recorded estimates, and the records are made by the script."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from blindsr.degradation.recorded import Records
from blindsr.interfaces import BlindSRError
from blindsr.training.trainer import Trainer

SCRIPT = Path(__file__).parents[2] / "scripts" / "record_estimates.py"


@pytest.fixture(scope="module")
def files(photos, tmp_path_factory, toy) -> tuple[Path, Path]:
    """A toy model of untrained weights, and two photos of records of it."""
    folder = tmp_path_factory.mktemp("records")
    Trainer(toy(photos, "tiny", "data.scales=[2]"), folder / "a").save()
    model, out = folder / "a" / "model.safetensors", folder / "records.npz"
    for n in (1, 2):  # the second time goes on
        options = ["--records", str(n), "--jobs", "1"]
        for override in (f"data.folders=[{photos}]", "data.exclude=[broken.png]", "data.validation=1", "data.scales=[2]"):
            options += ["--set", override]
        subprocess.run([sys.executable, SCRIPT, model, "tiny", out, *options], check=True, capture_output=True)
    return model, out


def test_records_of_photos(files):
    records = Records.load(files[1])
    assert list(records.number) == [0, 0, 1, 1] and set(records.scale) == {2}  # the last loop and the answer of each
    np.testing.assert_allclose(records.k.sum((1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(records.found.sum((1, 2)), 1, atol=1e-4)
    assert (records.doubt > 0).all() and not np.array_equal(records.found[0], records.found[1])


def test_they_teach_the_changes(files, photos, tmp_path, toy):
    """Also changes for misses, which the weights that the run starts from do not have."""
    model, out = files
    options = (f"data.degradation.file={out}", "data.scales=[2]", f"start_from=[{model}]")
    trainer = Trainer(toy(photos, "tiny_recorded", *options), tmp_path / "b")
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    trainer.run()
    changed = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])}
    assert {name.split(".")[1] for name in changed} >= {"prior_changes", "prior_misses"}
    assert all(name.split(".")[1].partition("_")[2] in ("changes", "misses") for name in changed)
    with pytest.raises(BlindSRError, match="another shape"):
        Trainer(toy(photos, "tiny_recorded", *options, "model.restorer.doubt_rank=3"), tmp_path / "c")
