"""Samples made on the device: the same samples whoever makes them, cut from where the recipe says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from blindsr import training
from blindsr.interfaces import BlindSRError
from blindsr.ops.filtering import blur
from blindsr.ops.resize import decimate
from blindsr.training.data import split, stream
from blindsr.training.resident import ResidentSource
from blindsr.training.trainer import Trainer

CPU = torch.device("cpu")


def source(photos, toy, *overrides, seed=0, rank=0, world=1) -> ResidentSource:
    config = toy(photos, "tiny", "data.resident=true", *overrides).data
    return ResidentSource(config, split(config, lambda line: None)[0], seed, rank, world, CPU)


def test_a_batch_depends_on_seed_step_and_rank_alone(photos, toy):
    one, other = source(photos, toy), source(photos, toy)
    other.batch(0)
    a, b = one.batch(3), other.batch(3)
    for name in ("x", "y", "k", "sigma", "context"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert a.scale == b.scale
    for changed in (one.batch(4), source(photos, toy, seed=1).batch(3), source(photos, toy, rank=1, world=2).batch(3)):
        assert changed.scale != a.scale or not torch.equal(changed.k, a.k)


def test_loader_processes_change_nothing(photos, toy):
    made = source(photos, toy)
    with_loader = stream(made, 2, workers=1)
    try:
        for step in (2, 3):
            assert torch.equal(next(with_loader).y, made.batch(step).y)
    finally:
        with_loader.close()


def test_patches_are_cut_turned_and_degraded_as_the_recipe_says(photos, toy):
    plain = "data.degradation.noiseless=1.0", "data.degradation.rounded=0.0"
    made = source(photos, toy, "data.context=0", *plain, "data.scales=[3]")
    recipe = made.prepare(0)
    upright = replace(recipe, turn=torch.zeros_like(recipe.turn))
    batch = made.finish(upright)
    side = batch.x.shape[-1]
    kept = split(made.config, lambda line: None)[0]
    for i, (photo, top, left) in enumerate(recipe.place.tolist()):
        pixels = np.asarray(Image.open(photos / kept.name(photo)))[top : top + side, left : left + side]
        np.testing.assert_allclose(batch.x[i].permute(1, 2, 0).numpy(), pixels / 255, atol=1e-6)
    torch.testing.assert_close(batch.y, decimate(blur(batch.x, batch.k), 3))
    for turn, turned in (([1, 0, 0], batch.x.mT), ([0, 1, 0], batch.x.flip(-2)), ([0, 0, 1], batch.x.flip(-1))):
        recipe_turned = replace(recipe, turn=torch.tensor(turn, dtype=torch.bool).expand_as(recipe.turn))
        assert torch.equal(made.finish(recipe_turned).x, turned)


def test_the_first_estimate_sees_the_patch_and_more(photos, toy):
    made = source(photos, toy, "data.degradation.noiseless=1.0", "data.scales=[2]")
    batch = made.batch(0)
    assert batch.context.shape[-1] == 30 and batch.y.shape[-1] == 24  # 60 and 48 high-resolution pixels
    inner = batch.context[..., 3:-3, 3:-3]  # the middles agree away from where each is circular
    torch.testing.assert_close(inner[..., 8:-8, 8:-8], batch.y[..., 8:-8, 8:-8], atol=2e-3, rtol=0)


def test_gamma_brightens_and_darkens(photos, toy):
    plain, bright = source(photos, toy), source(photos, toy, "data.gamma=[0.5, 0.5]")
    torch.testing.assert_close(bright.batch(1).x, plain.batch(1).x ** 0.5)


def test_only_the_classical_degradation(photos, toy):
    with pytest.raises(BlindSRError, match="leave data.resident out"):
        config = toy(photos, "joint_real", "data.resident=true").data
        ResidentSource(config, split(config, lambda line: None)[0], 0, 0, 1, CPU)


def test_no_photo_is_large_enough(photos, toy):
    with pytest.raises(BlindSRError, match="lower data.patch"):
        source(photos, toy, "data.patch=290", "data.context=0", "data.patch_lr=290")


def test_a_stage_trains_from_it(photos, toy, tmp_path):
    trainer = Trainer(toy(photos, "usrnet_tiny", "data.resident=true"), tmp_path / "run")
    trainer.run()
    assert trainer.step == 3 and trainer.skipped == 0


@pytest.mark.parametrize("name", ["usrnet_tiny", "tiny"])
def test_graphs_say_what_they_want(photos, toy, tmp_path, name):
    with pytest.raises(BlindSRError, match="leave graphs out"):
        Trainer(toy(photos, name, "graphs=true"), tmp_path / "run")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_recorded_steps_are_the_steps(photos, toy, tmp_path):
    overrides = ("data.resident=true", "device=cuda", "schedule.iterations=12", "data.batch=4")
    plain = Trainer(toy(photos, "usrnet_tiny", *overrides), tmp_path / "plain")
    recorded = Trainer(toy(photos, "usrnet_tiny", *overrides, "graphs=true"), tmp_path / "recorded")
    for _ in range(8):
        plain.train_step()
        recorded.train_step()
    for a, b in zip(plain.model.parameters(), recorded.model.parameters()):
        torch.testing.assert_close(a, b)


def test_gamma_and_its_mistakes(photos, toy):
    with pytest.raises(BlindSRError, match="two rising powers"):
        toy(photos, "tiny", "data.gamma=[2, 1]")
    assert training.load_config("tiny").data.gamma == (1.0, 1.0)
