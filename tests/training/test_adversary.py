"""The opponent in a run: steps that are not finite, pictures that are too small."""

import pytest
import torch

from blindsr.atomic import read_lines
from blindsr.interfaces import BlindSRError
from blindsr.training.losses import CUT
from blindsr.training.trainer import Trainer

STAGE = ("data.scales=[2]", "adversarial.start=0", "validate_every=100")


def moved(adversary) -> list[torch.Tensor]:
    """All that the critic's optimizer remembers."""
    return [moment for state in adversary.optimizer.state.values() for moment in state.values()]


@pytest.mark.parametrize("wrong", ["picture", "loss"])
def test_a_step_of_the_critic_that_is_not_finite_changes_nothing_and_is_counted(wrong, photos, tmp_path, toy):
    trainer = Trainer(toy(photos, "usrgan", *STAGE), tmp_path)
    adversary = trainer.adversary
    x = torch.rand(2, 3, 96, 96)
    assert "critic" in adversary.learn(x, x, 1.0)
    before = [p.clone() for p in adversary.critic.parameters()]
    moments = [m.clone() for m in moved(adversary)]
    if wrong == "loss":  # a logit has overflown, the gradient has not
        engine = adversary.engine
        adversary.engine = lambda *pictures: engine(*pictures) + torch.tensor(float("inf"))
    else:
        x[0, 0, 5, 5] = float("nan")
    assert adversary.learn(x, torch.rand_like(x), 1.0) == {"critic_skipped": 1}
    assert all(torch.equal(a, b) for a, b in zip(before, adversary.critic.parameters()))
    assert moments and all(torch.equal(a, b) for a, b in zip(moments, moved(adversary)))
    assert all(torch.isfinite(b).all() for b in adversary.critic.buffers())
    trainer.save()
    assert Trainer(trainer.config, tmp_path).adversary.skipped == 1


def test_the_restorer_goes_on_while_the_critic_skips(photos, tmp_path, toy):
    trainer = Trainer(toy(photos, "usrgan", *STAGE), tmp_path)
    engine = trainer.adversary.engine
    trainer.adversary.engine = lambda *pictures: engine(*pictures) * float("nan")
    trainer.run()
    assert trainer.skipped == 0 and trainer.adversary.skipped == 3
    losses = [e for e in read_lines(tmp_path / "log.jsonl") if "loss" in e]
    assert [e["critic_skipped"] for e in losses] == [1, 2, 3] and not any("critic" in e for e in losses)


def test_the_vectors_of_spectral_norm_depend_on_the_weights_alone(photos, tmp_path, toy):
    """So that several processes need not send them to each other."""
    ends = []
    for n in range(2):
        critic = Trainer(toy(photos, "usrgan", *STAGE), tmp_path / str(n)).adversary.critic
        critic(*torch.rand(2, 2, 3, 96, 96, generator=torch.Generator().manual_seed(n)))
        ends.append(list(critic.buffers()))
    assert ends[0] and all(torch.equal(a, b) for a, b in zip(*ends))


@pytest.mark.parametrize("layers, smallest", [(3, 0), (4, 48)])
def test_patches_too_small_for_the_discriminator_are_told_at_the_start(layers, smallest, photos, tmp_path, toy):
    critic = f"adversarial.discriminator={{name: patchgan, channels: 4, layers: {layers}}}"
    config = toy(photos, "bsrgan", critic, "data.patch=36")
    if not smallest:
        Trainer(config, tmp_path)
        return
    with pytest.raises(BlindSRError, match=r"patches of 36 pixels .* patchgan .*raise data\.patch.*48") as caught:
        Trainer(config, tmp_path)
    assert "\n" not in str(caught.value) and not (tmp_path / "log.jsonl").exists()


def test_critics_see_nothing_of_the_border_that_does_not_count(photos, tmp_path, toy, monkeypatch):
    """Of a piece that was not blurred circularly, a restorer that takes it to be so knows nothing there."""
    critic = "adversarial.discriminator={name: patchgan, channels: 4, layers: 1}"
    trainer = Trainer(toy(photos, "joint_real", critic, "data.degradation.weights=[1, 0]", "data.patch=60", "data.context=60"), tmp_path)
    sides = []
    for name in ("terms", "learn"):
        ask = getattr(trainer.adversary, name)
        monkeypatch.setattr(trainer.adversary, name, lambda x, true, step, ask=ask: sides.append((x, true)) or ask(x, true, step))
    batch = trainer.source.batch(0)
    trainer.train_step(batch)
    assert len(sides) == 2 and batch.k is None
    for x, true in sides:
        assert x.shape == true.shape == (*batch.x.shape[:2], *(n - 2 * CUT for n in batch.x.shape[2:]))
        assert torch.equal(true, batch.x[..., CUT:-CUT, CUT:-CUT])
