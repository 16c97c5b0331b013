"""How a run begins: weights of earlier stages, and a compiled prior that need not be."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from blindsr import checkpoints
from blindsr.interfaces import BlindSRError
from blindsr.restorers.compiled import Compiled
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


def test_a_run_that_has_begun_tells_of_other_starting_weights(photos, tmp_path, toy, capsys):
    first, file = Trainer(toy(photos, "usrnet_tiny"), tmp_path / "a"), tmp_path / "a" / "model.safetensors"
    first.save()
    Trainer(toy(photos, "usrnet_tiny"), tmp_path / "a")
    assert "start_from" not in capsys.readouterr().err
    second = Trainer(toy(photos, "usrnet_tiny", f"start_from=[{file}]"), tmp_path / "a")
    assert "start_from has changed, and only counts where a run begins" in capsys.readouterr().err
    second.save()
    Trainer(toy(photos, "usrnet_tiny", f"start_from=[{file}]"), tmp_path / "a")
    assert "start_from" not in capsys.readouterr().err


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


def test_a_lack_of_memory_is_no_fault_of_the_compiler(monkeypatch):
    def compile(function):
        def compiled(x):
            if x.numel() > 4:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
            return function(x) + 1

        return compiled

    monkeypatch.setattr(torch, "compile", compile)
    tried = Compiled(lambda x: x, report=lambda line: pytest.fail(line))
    with pytest.raises(RuntimeError, match="out of memory"):
        tried(torch.zeros(5))
    assert tried(torch.zeros(3)).sum() == 3  # smaller pieces are compiled still


def test_what_is_wrong_with_the_prior_itself_is_told(photos, tmp_path, toy, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: lambda x: function(x))
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", lambda: "c++")
    trainer = Trainer(toy(photos, "usrnet_tiny", "compile=true"), tmp_path)
    with pytest.raises(RuntimeError, match="channels"):
        trainer.model.restorer.prior(torch.rand(1, 7, 16, 16))


def test_weights_that_rest(photos, tmp_path, toy):
    trainer = Trainer(toy(photos, "usrnet_tiny", "rest=[restorer.prior]"), tmp_path / "a")
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    trainer.run()
    changed = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed and all(name.startswith("restorer.hyper.") for name in changed)
    with pytest.raises(BlindSRError, match="no weight is called 'restorer.piror'; did you mean 'restorer.prior'"):
        Trainer(toy(photos, "usrnet_tiny", "rest=[restorer.piror]"), tmp_path / "b")
    with pytest.raises(BlindSRError, match="nothing is left to learn"):
        Trainer(toy(photos, "usrnet_tiny", "rest=[restorer]"), tmp_path / "c")


def test_a_batch_that_teaches_nothing_is_told(photos, tmp_path, toy):
    """What changes with the doubt rests, and estimated kernels teach nothing else."""
    rests = "rest=[restorer.prior_changes, restorer.hyper_changes]"
    trainer = Trainer(toy(photos, "tiny", "model.restorer.doubt_rank=2", "train=[restorer]", "true_kernel=0", rests), tmp_path)
    with pytest.raises(BlindSRError, match="teaches nothing that learns; name more in train, or less in rest"):
        trainer.train_step()


def test_hyper_parameters_on_another_scale(photos, tmp_path, toy):
    """Their weights would fit, and mean something else."""
    Trainer(toy(photos, "usrnet_tiny", "model.restorer.logarithmic=false"), tmp_path / "a").save()
    file = tmp_path / "a" / "model.safetensors"
    with pytest.raises(BlindSRError, match="not on a logarithmic scale.*logarithmic_hyper"):
        Trainer(toy(photos, "usrnet_tiny", "model.restorer.logarithmic=true", f"start_from=[{file}]"), tmp_path / "b")


def test_hyper_parameters_moved_to_a_logarithmic_scale(photos, tmp_path, toy):
    """The fit of scripts/logarithmic_hyper.py restores as the network did that it was made from."""
    other = ("model.restorer.doubt_rank=4", "model.restorer.logarithmic=false")
    Trainer(toy(photos, "usrnet_tiny", *other), tmp_path / "a").save()
    old, new = tmp_path / "a" / "model.safetensors", tmp_path / "b" / "model.safetensors"
    script = Path(__file__).parents[2] / "scripts" / "logarithmic_hyper.py"
    subprocess.run([sys.executable, script, old, new, "--steps", "600"], check=True, capture_output=True)
    before, after = (checkpoints.load(file).model for file in (old, new))
    assert after.config.restorer.logarithmic and not before.config.restorer.logarithmic
    y, k, sigma = torch.rand(2, 3, 16, 16), torch.full((2, 1, 5, 5), 0.04), torch.tensor([0.001, 0.05])
    for doubt in (None, torch.tensor([0.02, 0.7])):
        x, again = (model.restorer(y, k, sigma, 2, doubt=doubt) for model in (before, after))
        assert (again - x).abs().max() < 0.02 and not torch.equal(again, x)


def test_what_is_done_with_doubt_is_kept(photos, tmp_path, toy):
    """scripts/keep_doubted.py: told the kernel the new restorer, in doubt as before."""
    rank, rests = "model.restorer.doubt_rank=4", "rest=[restorer.prior_changes, restorer.hyper_changes]"
    old, told, kept = (tmp_path / name / "model.safetensors" for name in "abc")
    Trainer(toy(photos, "tiny", rank), old.parent).save()
    trainer = Trainer(toy(photos, "usrnet_tiny", rank, rests, f"start_from=['{old}:restorer']"), told.parent)
    with torch.no_grad():
        for weight in trainer.model.restorer.prior.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    trainer.train_step()
    trainer.save()
    script = Path(__file__).parents[2] / "scripts" / "keep_doubted.py"
    subprocess.run([sys.executable, script, old, told, kept], check=True, capture_output=True)
    y, k, sigma = torch.rand(2, 3, 16, 16), torch.full((2, 1, 5, 5), 0.04), torch.tensor([0.001, 0.05])
    before, new, after = (checkpoints.load(file).model for file in (old, told, kept))

    def restore(model, doubt=None):
        return model.restorer(y, k, sigma, 2, doubt=None if doubt is None else torch.full((2,), doubt))

    with torch.no_grad():
        assert after.finds_kernel and torch.equal(restore(after), restore(new))
        moved, off = ((restore(model, 0.9) - restore(before, 0.9)).norm() for model in (new, after))
    assert 0 < off < 0.7 * moved
    result = subprocess.run([sys.executable, script, "tiny", told, kept], capture_output=True, text=True)
    assert result.returncode and result.stderr.count("\n") == 1 and "differ in their sizes" in result.stderr
