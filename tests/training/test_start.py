"""How a run begins: weights of earlier stages, and a compiled prior that need not be."""

import pytest
import torch

from blindsr import checkpoints
from blindsr.interfaces import BlindSRError
from blindsr.training.trainer import Trainer


def test_starting_weights_come_from_checkpoints(photos, tmp_path, toy):
    first = Trainer(toy(photos, "usrnet_tiny"), tmp_path / "a")
    first.run()
    file = tmp_path / "a" / "model.safetensors"
    second = Trainer(toy(photos, "tiny", f"start_from=[{file}]"), tmp_path / "b")
    ours, theirs = second.model.restorer.state_dict(), checkpoints.load(file).model.restorer.state_dict()
    assert all(torch.equal(ours[n], theirs[n]) for n in ours)
    assert second.trained == ["restorer", "estimator"]
    # The file of a stage in which the restorer did not learn must not undo the one in which it did.
    third = Trainer(toy(photos, "estimator"), tmp_path / "i")
    third.save()
    files = f"start_from=[{file}, {tmp_path / 'i' / 'model.safetensors'}]"
    fourth = Trainer(toy(photos, "tiny", files), tmp_path / "d")
    ours = fourth.model.restorer.state_dict()
    assert all(torch.equal(ours[n], theirs[n]) for n in ours)
    with pytest.raises(BlindSRError, match="another shape"):
        Trainer(toy(photos, "tiny", f"start_from=[{file}]", "model.restorer.hidden=5"), tmp_path / "c")


def test_one_part_of_a_checkpoint(photos, tmp_path, toy):
    first = Trainer(toy(photos, "tiny"), tmp_path / "a")
    first.save()
    file = tmp_path / "a" / "model.safetensors"
    other = ("model.estimator.channels=16",)  # the correction does not fit, the restorer does
    with pytest.raises(BlindSRError, match="another shape.*PART"):
        Trainer(toy(photos, "tiny", *other, f"start_from=[{file}]"), tmp_path / "b")
    second = Trainer(toy(photos, "tiny", *other, f"start_from=['{file}:restorer']"), tmp_path / "c")
    ours, theirs = second.model.restorer.state_dict(), checkpoints.load(file).model.restorer.state_dict()
    assert all(torch.equal(ours[n], theirs[n]) for n in ours)
    with pytest.raises(BlindSRError, match="no part"):
        Trainer(toy(photos, "tiny", f"start_from=['{file}:initial']"), tmp_path / "d")


@pytest.mark.parametrize("works", [0, 2])
def test_a_prior_that_cannot_be_compiled_runs_as_it_is(works, photos, tmp_path, toy, monkeypatch, capsys):
    """Whether in the first step or later, for another size; doubted kernels call it with other weights."""
    calls = []

    def compile(function):
        def compiled(x):
            calls.append(x.shape)
            if len(calls) > works:
                raise RuntimeError("no such operation\nin the backend")
            return function(x)

        return compiled

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", lambda: "c++")
    settings = ("model.restorer.doubt_rank=2", "true_kernel=0", "data.scales=[2]", "precision=fp32")
    tried, plain = (
        Trainer(toy(photos, "tiny", *settings, f"compile={word}"), tmp_path / word) for word in ("true", "false")
    )
    for _ in range(2):
        assert tried.train_step() == plain.train_step()
    assert len(calls) == works + 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "compiled" in line]
    assert "not compiled: no such operation in the backend" in line
    assert tried.skipped == 0 and any(p.grad is not None for p in tried.model.restorer.prior_changes.parameters())


def test_what_is_wrong_with_the_prior_itself_is_told(photos, tmp_path, toy, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    trainer = Trainer(toy(photos, "usrnet_tiny", "compile=true"), tmp_path)
    with pytest.raises(RuntimeError, match="channels"):
        trainer.model.restorer.prior(torch.rand(1, 7, 16, 16))
