"""The watch: a blow-up is noticed, ordinary noise is not."""

import math

import numpy as np
import pytest
import torch

from blindsr.training.trainer import Trainer
from blindsr.training.watch import Watch, WatchConfig, contrast


def losses(n: int, level: float = 0.05, spread: float = 0.6, seed: int = 0):
    """Log-normal, as losses of mixed scales and noise levels are."""
    return level * np.exp(spread * np.random.default_rng(seed).standard_normal(n))


@pytest.mark.parametrize("seed", range(5))
def test_ordinary_noise_is_no_alarm(seed):
    watch = Watch(WatchConfig())
    for i, loss in enumerate(losses(3000, seed=seed)):
        watch.note(loss * math.exp(-i / 1500), True)
        assert not watch.lost


def test_a_blow_up_is_noticed_within_patience():
    watch = Watch(WatchConfig())
    for loss in losses(500):
        watch.note(loss, True)
    steps = 0
    for loss in losses(60, level=0.5, seed=1):
        watch.note(loss, True)
        steps += 1
        if watch.lost:
            break
    assert watch.lost and watch.uneasy and steps <= 30


def test_one_terrible_step_is_no_blow_up():
    watch = Watch(WatchConfig())
    for loss in losses(500):
        watch.note(loss, True)
    watch.note(1e6, True)
    assert not watch.lost


def test_steps_that_are_not_finite_in_a_row():
    watch = Watch(WatchConfig(patience=4))
    for finite, uneasy in zip((1, 0, 0, 0, 1, 0, 0, 0), (0, 0, 1, 1, 0, 0, 1, 1)):
        watch.note(0.1, bool(finite))
        assert not watch.lost and watch.uneasy == bool(uneasy)  # single ones happen
    watch.note(float("nan"), False)
    assert watch.lost


def test_the_state_is_all_there_is():
    ours, theirs = Watch(WatchConfig()), Watch(WatchConfig())
    for loss in losses(200):
        ours.note(loss, True)
    theirs.load(ours.state())
    for watch in (ours, theirs):
        watch.note(0.3, True)
    assert ours.pulse == theirs.pulse


@pytest.mark.parametrize(
    "change, forgotten",
    [("loss.image=50", True), ("data.scales=[4]", True), ("model.detach=none", True), ("true_kernel=1", True)]
    + [("optimizer.learning_rate=1e-5", False), ("schedule.iterations=9", False)],
)
def test_its_level_is_forgotten_where_the_loss_has_another_meaning(change, forgotten, photos, tmp_path, toy, capsys):
    first = Trainer(toy(photos), tmp_path)
    for loss in losses(200):
        first.watch.note(loss, True)
    first.save()
    second = Trainer(toy(photos, "tiny", change), tmp_path)
    assert (second.watch.pulse.seen == 0) == forgotten == ("level anew" in capsys.readouterr().err)
    assert forgotten or second.watch.pulse == first.watch.pulse


def test_contrast():
    x = torch.rand(2, 3, 16, 16)
    assert contrast(x, x) == pytest.approx(1)
    assert contrast(torch.stack([x[0], torch.full_like(x[0], 0.5)]), x) == pytest.approx(0, abs=1e-6)
    assert contrast(x * float("nan"), x) == 0
    sky = torch.full_like(x, 0.5) + 0.001 * x  # as flat as it should be
    assert contrast(sky, sky) == 1 and contrast(0 * sky, sky) == 1 and contrast(sky * float("nan"), sky) == 0
