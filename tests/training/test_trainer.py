"""Training: resuming equals never stopping, bad steps are skipped, mistakes are readable."""

from pathlib import Path

import pytest
import torch

from blindsr import checkpoints, training
from blindsr.config import ConfigError
from blindsr.evaluation.jsonl import read_lines
from blindsr.interfaces import BlindSRError
from blindsr.training.data import BatchSource
from blindsr.training.objective import golden_draw
from blindsr.training.photos import open_photos
from blindsr.training.settings import ScheduleConfig
from blindsr.training.trainer import Trainer, learning_rate_factor

SHIPPED = sorted(p.stem for p in (Path(__file__).parents[2] / "configs" / "train").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_configuration_trains(name, photos, tmp_path, toy):
    trainer = Trainer(toy(photos, name), tmp_path)
    before = [p.clone() for p in trainer.weights]
    trainer.run()
    assert trainer.step == 3 and trainer.skipped == 0
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.weights))
    assert checkpoints.load(tmp_path / "model.safetensors").card["step"] == 3
    events = read_lines(tmp_path / "log.jsonl")
    assert [e["step"] for e in events if "loss" in e] == [1, 2, 3]
    assert [e["step"] for e in events if "validation" in e] == [2, 3]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resuming_equals_never_stopping(photos, tmp_path, precision, toy):
    config = toy(photos, "tiny", "schedule.iterations=4", f"precision={precision}")
    whole = Trainer(config, tmp_path / "whole")
    whole.run()
    first = Trainer(config, tmp_path / "pieces")
    for _ in range(2):
        first.train_step()
    first.save()
    for _ in range(1):
        first.train_step()  # work that a crash would lose
    second = Trainer(config, tmp_path / "pieces")
    assert second.step == 2
    second.run()
    for a, b in zip(whole.model.state_dict().values(), second.model.state_dict().values()):
        assert torch.equal(a, b)
    for a, b in zip(whole.average.state_dict().values(), second.average.state_dict().values()):
        assert torch.equal(a, b)


def test_parts_that_do_not_learn_stay(photos, tmp_path, toy):
    trainer = Trainer(toy(photos, "tiny", "train=[estimator]"), tmp_path)
    frozen = trainer.model.restorer.prior.head.weight.clone()
    for _ in range(3):
        trainer.train_step()
    assert torch.equal(trainer.model.restorer.prior.head.weight, frozen)
    assert trainer.model.estimator.weigh.tail.weight.abs().sum() > 0


def test_a_step_that_is_not_finite_changes_nothing(photos, tmp_path, toy):
    trainer = Trainer(toy(photos), tmp_path)
    before = [p.clone() for p in trainer.weights]
    batch = trainer.source.batch(0)
    batch.y[0, 0, 0, 0] = float("nan")
    trainer.train_step(batch)
    assert trainer.skipped == 1 and trainer.step == 1
    assert all(torch.isfinite(b).all() for b in trainer.model.buffers())
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.weights))


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


MIXED = (
    "data.degradation={name: mixed, weights: [1, 1], parts: [bsrgan, {name: classical, kernels: "
    "{name: gaussian, size: 25}}]}"
)


def test_shuffled_samples_are_mixed_in(photos, tmp_path, toy):
    """They have no kernel, lie on another grid, and teach the restorer nevertheless."""
    sizes = ("data.scales=[1, 2]", "data.patch=32", "data.context=40", "data.validation_patch=36")
    trainer = Trainer(toy(photos, "tiny", MIXED, *sizes, "schedule.iterations=6"), tmp_path / "a")
    batches = [trainer.source.batch(step) for step in range(12)]
    shuffled = [b for b in batches if b.k is None]
    assert 2 <= len(shuffled) <= 10
    for b in shuffled:
        assert b.grid == "centre" and b.sigma is None and b.context is None
        assert b.x.shape == (2, 3, 32, 32) and b.y.shape == (2, 3, 32 // b.scale, 32 // b.scale)
    trainer.run()
    assert trainer.skipped == 0
    report = [e for e in read_lines(tmp_path / "a" / "log.jsonl") if "validation" in e][-1]["validation"]
    assert {"x2 unknown psnr blind 3", "x2 psnr true kernel", "x2 kernel error 3"} <= set(report)
    assert not any("unknown kernel" in name for name in report)
    with pytest.raises(BlindSRError, match="needs true kernels"):
        Trainer(toy(photos, "usrnet_tiny", MIXED, *sizes), tmp_path / "b")


def test_samples_depend_on_seed_and_step_alone(photos, tmp_path, toy):
    source = Trainer(toy(photos), tmp_path).source
    a, b, c = source.batch(7), source.batch(7), source.batch(8)
    assert torch.equal(a.y, b.y) and torch.equal(a.k, b.k)
    assert a.scale != c.scale or not torch.equal(a.x, c.x)


def test_unreadable_photos_are_named_and_skipped(photos, tmp_path, toy):
    said = []
    config = toy(photos, "tiny", "data.exclude=[]").data
    source = BatchSource(config, open_photos(config.folders, (), said.append), 0)
    for step in range(6):
        source.batch(step)
    assert len(said) == 1 and "broken.png" in said[0]


@pytest.mark.parametrize(
    "setting, message",
    [
        ("data.folders=[/nowhere]", "no such folder"),
        ("data.batsh=3", "did you mean 'batch'"),
        ("train=[restorer, estimater]", "no part is called 'estimater'"),
        ("data.scales=[5]", "scales must be"),
        ("model.loops=9", "warm schedule"),
        ("data.validation=9", "too few"),
        ("model.basis=nothing", "no such kernel basis"),
        ("start_from=[none.safetensors]", "none.safetensors"),
        ("data.patch=24", "smaller than the kernels"),
        ("model.basis=gaussian_motion_21", "code has 192"),
        ("model.crop=40", "too small"),
    ],
)
def test_mistakes_are_one_line(photos, tmp_path, setting, message, toy):
    with pytest.raises(BlindSRError, match=message) as caught:
        Trainer(toy(photos, "tiny", setting), tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_state_of_another_model_is_refused(photos, tmp_path, toy):
    Trainer(toy(photos), tmp_path).save()
    with pytest.raises(BlindSRError, match="--fresh"):
        Trainer(toy(photos, "tiny", "model.restorer.channels=[8, 16]"), tmp_path)
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(BlindSRError, match="--fresh"):
        Trainer(toy(photos), tmp_path)


def test_learning_rates():
    cosine = ScheduleConfig(warmup=10, final=0.1)
    assert learning_rate_factor(cosine, 0, 0) == pytest.approx(0.1)
    assert learning_rate_factor(cosine, 0.5, 100) == pytest.approx(0.55)
    assert learning_rate_factor(cosine, 1, 100) == pytest.approx(0.1)
    step = ScheduleConfig(kind="step", warmup=0, milestones=(0.5, 0.8))
    assert [learning_rate_factor(step, p, 9) for p in (0.4, 0.6, 0.9)] == [1, 0.5, 0.25]


def test_shares_hold_over_short_stretches():
    assert sum(golden_draw(step) < 0.3 for step in range(40)) == pytest.approx(12, abs=1)


def test_unknown_names():
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        training.load_config("tinny")
