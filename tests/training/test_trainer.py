"""Training: resuming equals never stopping, bad steps are skipped, mistakes are readable."""

import math
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blindsr import checkpoints, training
from blindsr.alternating import AlternatingSR
from blindsr.atomic import read_lines
from blindsr.cli import main
from blindsr.config import ConfigError
from blindsr.inference import machine
from blindsr.interfaces import BlindSRError
from blindsr.locking import only_writer
from blindsr.training.check import check
from blindsr.training.distributed import Processes
from blindsr.training.objective import golden_draw
from blindsr.training.settings import ScheduleConfig
from blindsr.training.state import load_state
from blindsr.training.trainer import Trainer

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


def test_what_is_saved_is_the_moving_average(photos, tmp_path, toy):
    trainer = Trainer(toy(photos, "estimator", "ema=0.15"), tmp_path)
    expected = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    for step in range(1, 4):
        trainer.train_step()
        for name, weight in trainer.model.named_parameters():
            expected[name].lerp_(weight.detach(), 1 - min(0.15, (1 + step) / (10 + step)))
    trainer.save()
    saved, ours = checkpoints.load(tmp_path / "model.safetensors").model, dict(trainer.model.named_parameters())
    for name, weight in saved.named_parameters():
        torch.testing.assert_close(weight.detach(), expected[name])
    assert any(not torch.equal(weight, ours[name]) for name, weight in saved.named_parameters())
    assert all(torch.equal(a, b) for a, b in zip(saved.buffers(), trainer.model.buffers()))


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


def test_a_loss_that_blows_up_sends_the_run_back(photos, tmp_path, toy, monkeypatch):
    watched = ("watch={factor: 1.5, patience: 2, after: 4}", "schedule.iterations=14", "data.scales=[2]")
    trainer = Trainer(toy(photos, "usrnet_tiny", *watched, "validate_every=100"), tmp_path)
    whole = Trainer.train_step

    def train_step(self, batch=None):
        if self.step == 8:  # something went wrong
            for p in self.model.restorer.parameters():
                p.data.mul_(3)
        return whole(self, batch)

    monkeypatch.setattr(Trainer, "train_step", train_step)
    trainer.run()
    events = read_lines(tmp_path / "log.jsonl")
    (retreat,) = [e for e in events if "retreat" in e]
    assert 8 < retreat["step"] <= 12 and "back to the weights of step" in retreat["retreat"]
    losses = {e["step"]: e["loss"] for e in events if "loss" in e}
    assert losses[9] > 2 * losses[8] > losses[14]
    rates = {e["step"]: e["learning_rate"] for e in events if "loss" in e}
    expected = trainer.config.schedule.factor(13 / 14, 13) * trainer.config.optimizer.learning_rate
    assert rates[14] == pytest.approx(expected / 2)
    again = Trainer(toy(photos, "usrnet_tiny", *watched), tmp_path)
    assert again.retreats == 1 and again.step == 14


@pytest.mark.parametrize("retreats", [1, 3])
def test_a_run_that_blows_up_for_ever_gives_up(photos, tmp_path, toy, monkeypatch, retreats):
    watched = (f"watch={{patience: 2, retreats: {retreats}}}", "schedule.iterations=30")
    trainer = Trainer(toy(photos, "usrnet_tiny", *watched), tmp_path)
    whole = Trainer.train_step

    def train_step(self, batch=None):
        if self.step >= 2:
            batch.y[:] = float("nan")
        return whole(self, batch)

    monkeypatch.setattr(Trainer, "train_step", train_step)
    with pytest.raises(BlindSRError, match=f"blown up at step .* after {retreats} retreats.*learning_rate"):
        trainer.run()
    assert all(torch.isfinite(p).all() for p in checkpoints.load(tmp_path / "model.safetensors").model.parameters())


def test_blank_pictures_raise_an_alarm(photos, tmp_path, toy, capsys):
    trainer = Trainer(toy(photos, "usrnet_tiny"), tmp_path)
    with torch.no_grad():
        trainer.average.restorer.prior.tail.weight.zero_()
    trainer.step = 1
    trainer._validate()
    assert "ALARM at step 1" in capsys.readouterr().err
    assert any("blank" in e.get("alarm", "") for e in read_lines(tmp_path / "log.jsonl"))
    assert (tmp_path / "pictures" / "000001.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("rate, most", [("1e-2", 60), ("1e-12", 12)])
def test_check_overfits_one_batch_or_says_that_it_cannot(rate, most, photos, toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("data.scales=[1]", "data.patch=32", "model.restorer.n_iterations=2")
    passed, said = check(toy(photos, "usrnet_tiny", f"optimizer.learning_rate={rate}", *small), most=most)
    assert passed == (rate == "1e-2") and f"{most} steps: loss" in said
    assert not list(tmp_path.iterdir())


def test_check_compares_like_with_like(photos, toy, monkeypatch):
    """Steps that are told the kernel have smaller losses than those that find it."""
    told, forward = [], AlternatingSR.forward

    def spy(self, y, scale, k=None, *more, **options):
        told.append(k)
        return forward(self, y, scale, k, *more, **options)

    monkeypatch.setattr(AlternatingSR, "forward", spy)
    check(toy(photos, "tiny", "true_kernel=0.5", "data.scales=[2]"), most=4)
    assert told and all(k is None for k in told)


def test_check_on_the_command_line(photos, toy_settings, monkeypatch, capsys):
    words = [w for setting in toy_settings(photos, "usrnet_tiny") for w in ("--set", setting)]
    for passed, verdict, code in ((True, "PASS: well", 0), (False, "FAIL: well", 2)):
        monkeypatch.setattr("blindsr.training.check.check", lambda config, passed=passed: (passed, "well"))
        assert main(["train", "usrnet_tiny", "--check", *words]) == code
        assert capsys.readouterr().out.strip() == verdict
    assert main(["train", "usrnet_tiny", "--check", "--out", "kept", *words]) == 2
    assert "leave --out out" in capsys.readouterr().err


def test_adversarial_stages_tell_niqe(photos, tmp_path, toy):
    trainer = Trainer(
        toy(photos, "usrgan", "data.validation_patch=192", "data.scales=[2]", "adversarial.start=0"), tmp_path
    )
    trainer.run()
    events = read_lines(tmp_path / "log.jsonl")
    assert any("features of the discriminator stand in" in e.get("remark", "") for e in events)
    report = [e for e in events if "validation" in e][-1]["validation"]
    assert {"x2 niqe", "x2 niqe bicubic", "x2 niqe true"} <= set(report)
    assert all("critic" in e and "matching" in e for e in events if "loss" in e)
    assert trainer.adversary.optimizer.state_dict()["state"]


def test_an_error_in_a_loader_process_is_one_line_and_the_end(photos, tmp_path, toy):
    """No process of its own may outlive the run: Python would wait for it for ever."""
    trainer = Trainer(toy(photos, "usrnet_tiny", "data.workers=1"), tmp_path)
    trainer.source.config = replace(trainer.source.config, patch=2000)
    with pytest.raises(BlindSRError, match="lower data.patch") as caught:
        trainer.run()
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children()


def test_a_loader_process_that_is_killed_is_one_line(photos, tmp_path, toy):
    trainer = Trainer(toy(photos, "usrnet_tiny", "data.workers=1", "schedule.iterations=100000"), tmp_path)
    step = trainer.train_step

    def after_a_kill(batch):
        (loader,) = multiprocessing.active_children()
        os.kill(loader.pid, signal.SIGKILL)
        loader.join()
        return step(batch)

    trainer.train_step = after_a_kill
    with pytest.raises(BlindSRError, match="a loader process was killed") as caught:
        trainer.run()
    assert "\n" not in str(caught.value)


def test_one_run_at_a_time(photos, tmp_path, toy_settings, capsys):
    overrides = [part for option in toy_settings(photos, "usrnet_tiny") for part in ("--set", option)]
    with only_writer(tmp_path, "wait"):
        assert main(["train", "usrnet_tiny", "--out", str(tmp_path), *overrides]) == 2
    assert "another process is writing to it; wait for that run" in capsys.readouterr().err
    assert main(["train", "usrnet_tiny", "--out", str(tmp_path), *overrides]) == 0


def test_what_changes_on_resuming(photos, tmp_path, toy):
    """Options of the optimizer count from then on, and a validation is made up that stopping has left out."""
    first = Trainer(toy(photos, "usrnet_tiny"), tmp_path)
    for _ in range(2):
        first.train_step()
    first.save()
    second = Trainer(toy(photos, "usrnet_tiny", "optimizer.betas=[0.5, 0.9]", "schedule.iterations=2"), tmp_path)
    assert second.optimizer.param_groups[0]["betas"] == (0.5, 0.9)
    second.config = replace(second.config, schedule=replace(second.config.schedule, iterations=3))
    second.run()
    events = read_lines(tmp_path / "log.jsonl")
    assert [e["step"] for e in events if "validation" in e] == [2, 3]


def test_a_fresh_run_that_cannot_begin_leaves_the_log(photos, tmp_path, toy):
    trainer = Trainer(toy(photos, "usrnet_tiny"), tmp_path)
    trainer.run()
    log = (tmp_path / "log.jsonl").read_text()
    with pytest.raises(BlindSRError, match="graphs want a CUDA device"):
        Trainer(toy(photos, "usrnet_tiny", "graphs=true"), tmp_path, resume=False)
    assert (tmp_path / "log.jsonl").read_text() == log != ""


def test_a_fresh_run_that_torchrun_starts_again(photos, tmp_path, toy):
    """Begins anew as long as what lies there is an earlier run's, and goes on from its own."""
    config = toy(photos, "usrnet_tiny", "schedule.iterations=2")
    Trainer(config, tmp_path).run()
    again = replace(Processes.join("cpu"), restarted=True)
    Trainer(config, tmp_path, resume=False)  # and is killed before it has saved anything
    second = Trainer(config, tmp_path, resume=False, processes=again)
    assert second.step == 0
    second.train_step()
    second.save()
    assert Trainer(config, tmp_path, resume=False, processes=again).step == 1
    assert Trainer(config, tmp_path).step == 1


def test_a_loss_that_is_not_a_number_is_no_mean(photos, tmp_path, toy, monkeypatch):
    trainer = Trainer(toy(photos, "usrnet_tiny", "schedule.iterations=4", "log_every=2", "validate_every=99"), tmp_path)
    step, told = trainer.train_step, iter((math.nan, 0.5, math.nan, math.nan))
    monkeypatch.setattr(trainer, "train_step", lambda batch: step(batch) | {"loss": next(told)})
    monkeypatch.setattr(trainer, "_validate", lambda: None)
    trainer.run()
    text = (tmp_path / "log.jsonl").read_text()
    assert "NaN" not in text and [e["loss"] for e in read_lines(tmp_path / "log.jsonl")] == [0.5, None]


def test_a_fresh_run_falls_back_to_nothing_of_an_earlier_one(photos, tmp_path, toy, monkeypatch):
    (tmp_path / "calm.pt").write_bytes(b"of another run")
    trainer = Trainer(toy(photos, "usrnet_tiny", "schedule.iterations=1"), tmp_path, resume=False)
    assert (tmp_path / "calm.pt").exists()  # as long as nothing has taken its place
    there = []
    monkeypatch.setattr(trainer, "_loop", lambda *_: not there.append((tmp_path / "calm.pt").exists()))
    with pytest.raises(KeyboardInterrupt):  # as if it had been stopped at once
        trainer.run()
    assert there == [False]


def test_the_run_falls_back_to_a_checkpoint_that_calm_steps_followed(photos, tmp_path, toy):
    """A blow-up may be younger than the last checkpoint; that one has not proved itself yet."""
    trainer = Trainer(toy(photos, "usrnet_tiny", "save_every=4", "watch.patience=3"), tmp_path)
    for step in range(1, 13):
        trainer.train_step()
        if step % 4 == 0:
            trainer.save()
    assert load_state(tmp_path / "state.pt")["step"] == 12
    assert load_state(tmp_path / "calm.pt")["step"] == 8
    trainer._retreat()
    assert trainer.step == 12 and trainer.retreats == 1
    weights, calm = load_state(tmp_path / "state.pt")["model"], load_state(tmp_path / "calm.pt")["model"]
    assert all(torch.equal(weights[name], calm[name]) for name in calm)


def test_flat_pictures_do_not_end_an_adversarial_run(photos, tmp_path, toy):
    trainer = Trainer(toy(photos, "usrgan", "data.validation_patch=192", "data.scales=[2]"), tmp_path)
    with torch.no_grad():
        trainer.average.restorer.prior.tail.weight.zero_()
    trainer.step = 1
    trainer._validate()
    (report,) = [e["validation"] for e in read_lines(tmp_path / "log.jsonl") if "validation" in e]
    assert "x2 niqe bicubic" in report and "x2 niqe" not in report


@pytest.mark.parametrize(
    "setting, message",
    [
        ("data.folders=[/nowhere]", "no such folder"),
        ("data.batsh=3", "did you mean 'batch'"),
        ("train=[restorer, estimater]", "no part is called 'estimater'"),
        ("data.scales=[5]", "scales must be"),
        ("model.loops=9;model.schedule=warm", "warm schedule"),
        ("data.validation=9", "too few"),
        ("model.basis=nothing", "no such kernel basis"),
        ("start_from=[none.safetensors]", "none.safetensors"),
        ("data.patch=24", "smaller than the kernels"),
        ("model.basis=gaussian_motion_21", "kernel has 25 pixels a side, those of gaussian_motion_21 21; set its size"),
        ("model.crop=40", "too small"),
        ("schedule.minutes=-3", "minutes must be at least 0"),
        ("log_every=0", "at least 1"),
        ("optimizer.learning_rate=-1", "learning_rate must be above 0"),
        ("seed=-1", "seed may not be negative"),
        ("data.validation_patch=32", "nothing is left to judge of 24 pixels inside a border of 16; raise data.validation_patch"),
        ("data.validation_patch=32;data.scales=[2]", "24 pixels are smaller than the kernels, 25; raise data.validation_patch"),
        ("loss={image: 0, kernel: 0, sigma: 0, doubt: 0, earlier: 0, earlier_image: 0}", "nothing would be learned"),
    ],
)
def test_mistakes_are_one_line(photos, tmp_path, setting, message, toy):
    with pytest.raises(BlindSRError, match=message) as caught:
        Trainer(toy(photos, "tiny", *setting.split(";")), tmp_path / "run")
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
    assert cosine.factor(0, 0) == pytest.approx(0.1)
    assert cosine.factor(0.5, 100) == pytest.approx(0.55)
    assert cosine.factor(1, 100) == pytest.approx(0.1)
    step = ScheduleConfig(kind="step", warmup=0, milestones=(0.5, 0.8))
    assert [step.factor(p, 9) for p in (0.4, 0.6, 0.9)] == [1, 0.5, 0.25]


def test_shares_hold_over_short_stretches():
    assert sum(golden_draw(step) < 0.3 for step in range(40)) == pytest.approx(12, abs=1)


def test_unknown_names():
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        training.load_config("tinny")


def test_precision_is_what_the_machine_has(photos, tmp_path, monkeypatch, toy):
    """bf16 in software takes longer than fp32, so that nobody should get it unasked."""
    seen = []

    def prior_of(trainer):
        trainer.model.restorer.prior.head.register_forward_hook(lambda module, given, made: seen.append(made.dtype))
        return trainer

    for native, wanted in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(machine, "has_native_bf16", lambda device, native=native: native)
        prior_of(Trainer(toy(photos, "tiny", "precision=auto"), tmp_path / str(native))).train_step()
        assert set(seen) == {wanted}
        seen.clear()
