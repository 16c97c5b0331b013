"""The adversarial losses by hand, and who learns when from whom."""

from dataclasses import dataclass
from math import exp, log

import pytest
import torch
from torch import nn

from blindsr import registry
from blindsr.config import ConfigError, parse
from blindsr.training.adversarial import (
    LOSSES,
    AdversarialConfig,
    Critic,
    feature_matching,
    least_squares_critic,
    least_squares_generator,
    relativistic_critic,
    relativistic_generator,
    vanilla_critic,
    vanilla_generator,
)

KINDS = list(LOSSES)


def discriminator(name: str = "patchgan") -> nn.Module:
    torch.manual_seed(0)
    options = {"name": name, "channels": 8} | ({"layers": 2} if name == "patchgan" else {})
    return registry.build(registry.parse_component("discriminator")(options, "test"))


def h(logit: float) -> float:
    """Cross entropy of a logit that should be high."""
    return log(1 + exp(-logit))


# -- the losses --------------------------------------------------------------------------------------

FAKE, REAL = torch.tensor([-1.0, 0.5]), torch.tensor([2.0, 1.0])


def test_least_squares_by_hand():
    assert float(least_squares_critic(FAKE, REAL)) == pytest.approx(((1 + 0) / 2 + (1 + 0.25) / 2) / 2)
    assert float(least_squares_generator(FAKE)) == pytest.approx((4 + 0.25) / 2)


def test_vanilla_by_hand():
    assert float(vanilla_critic(FAKE, REAL)) == pytest.approx((h(2) + h(1) + h(1) + h(-0.5)) / 4)
    assert float(vanilla_generator(FAKE, REAL)) == pytest.approx((h(-1) + h(0.5)) / 2)


def test_relativistic_by_hand():
    """The mean of the fakes is −0.25, that of the real ones 1.5."""
    critic = (h(2.25) + h(1.25) + h(2.5) + h(1)) / 4
    generator = (h(-2.25) + h(-1.25) + h(-2.5) + h(-1)) / 4
    assert float(relativistic_critic(FAKE, REAL)) == pytest.approx(critic)
    assert float(relativistic_generator(FAKE, REAL)) == pytest.approx(generator)


def test_relativistic_is_antisymmetric():
    """To exchange fake and real is to exchange critic and generator, or the sign of all logits; what both add
    alike does not count."""
    fake, real = torch.randn(2, 4, 1, 5, 5)
    loss = relativistic_critic(fake, real)
    torch.testing.assert_close(relativistic_generator(real, fake), loss)
    torch.testing.assert_close(relativistic_critic(-real, -fake), loss)
    torch.testing.assert_close(relativistic_critic(fake + 3, real + 3), loss)
    assert abs(vanilla_critic(fake + 3, real + 3) - vanilla_critic(fake, real)) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_who_separates_pays_little(kind):
    critic, generator = LOSSES[kind]
    # Least squares wants 0 and 1, the others anything far apart.
    low, high = (torch.full((2, 1, 3, 3), v) for v in ((0.0, 1.0) if kind == "least_squares" else (-8.0, 8.0)))
    assert critic(low, high) < 0.01 < 0.9 < critic(high, low)
    assert generator(high, low) < 0.01 < 0.9 < generator(low, high)
    if kind != "least_squares":
        nothing = torch.zeros(2, 1, 3, 3)
        assert float(critic(nothing, nothing)) == pytest.approx(log(2)) == float(generator(nothing, nothing))


@pytest.mark.parametrize("kind", KINDS)
def test_large_logits_stay_finite(kind):
    fake, real = torch.full((2,), 1e4, requires_grad=True), torch.full((2,), -1e4)
    loss = LOSSES[kind][0](fake, real)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(fake.grad).all()


def test_feature_matching_by_hand():
    fake = (torch.tensor([1.0, 2.0]), torch.tensor([[0.0, 4.0]]), torch.tensor([100.0]))
    real = (torch.tensor([0.0, 0.0]), torch.tensor([[1.0, 1.0]]), torch.tensor([-100.0]))
    for t in (*fake, *real):
        t.requires_grad_()
    loss = feature_matching(fake, real)
    assert loss.item() == pytest.approx((1.5 + 2) / 2)  # the logits do not count
    loss.backward()
    assert fake[0].grad is not None and all(t.grad is None for t in (fake[2], *real))


# -- the critic --------------------------------------------------------------------------------------


@dataclass
class Weight:
    """A generator of one number."""

    value: torch.Tensor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.value * x


@pytest.fixture
def generator() -> Weight:
    return Weight(torch.tensor(0.5, requires_grad=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", registry.names("discriminator"))
def test_judge_teaches_the_generator_alone(name, kind, generator):
    critic = Critic(discriminator(name), kind).train()
    before = {key: value.clone() for key, value in critic.state_dict().items()}
    real = torch.rand(2, 3, 33, 35)
    terms = critic.judge(generator(real), real, matching=True)
    assert set(terms) == {"adversarial", "matching"} and all(term.shape == () for term in terms.values())
    for term in terms.values():
        generator.value.grad = None
        term.backward(retain_graph=True)
        assert generator.value.grad.abs() > 0
    assert all(p.grad is None and p.requires_grad for p in critic.parameters())
    assert critic.discriminator.training, "as it was before"
    for key, value in critic.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_critics_loss_teaches_the_critic_alone(kind, generator):
    critic = Critic(discriminator(), kind)
    real = torch.rand(2, 3, 32, 32)
    critic(generator(real), real).backward()
    assert generator.value.grad is None
    assert all(p.grad is not None for p in critic.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_one_pass_gives_the_loss_of_two(kind):
    critic = Critic(discriminator(), kind).eval()
    fake, real = torch.rand(2, 3, 3, 32, 32)
    calls = []
    handle = critic.discriminator.register_forward_hook(lambda *_: calls.append(1))
    loss = critic(fake, real)
    handle.remove()
    assert len(calls) == 1
    torch.testing.assert_close(loss, LOSSES[kind][0](critic.discriminator(fake), critic.discriminator(real)))


def test_matching_is_given_where_asked_for():
    critic, real = Critic(discriminator()), torch.rand(1, 3, 32, 32)
    assert set(critic.judge(real, real)) == {"adversarial"}
    assert critic.judge(real, real, matching=True)["matching"] == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", registry.names("discriminator"))
def test_the_critic_learns(name, kind):
    """Dim noise and bright are told apart within 30 steps, and the generator's loss then says so."""
    critic = Critic(discriminator(name), kind)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-3)
    rng = torch.Generator().manual_seed(0)

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        fake, real = torch.rand(2, 4, 3, 32, 32, generator=rng)
        return 0.5 * fake, real

    losses = []
    for _ in range(30):
        loss = critic(*draw())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(0.5 if kind == "least_squares" else log(2), abs=0.1)
    assert max(losses[-3:]) < 0.4 * losses[0]
    fake, real = draw()
    assert critic.judge(fake, real)["adversarial"] > 2 * critic(fake, real)


def test_in_bfloat16():
    critic = Critic(discriminator("unet"))
    fake, real = torch.rand(2, 1, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        loss, terms = critic(fake.bfloat16(), real), critic.judge(fake, real, matching=True)
    assert {t.dtype for t in (loss, *terms.values())} == {torch.float32}


# -- the configuration -------------------------------------------------------------------------------


def test_configuration_names_a_discriminator():
    config = parse(
        AdversarialConfig, {"discriminator": {"name": "unet", "channels": 16}, "weight": 0.05}, "adversarial"
    )
    assert registry.name_of(config.discriminator) == "unet" and config.discriminator.channels == 16
    assert parse(AdversarialConfig, registry.as_mapping(config), "adversarial") == config
    Critic(registry.build(config.discriminator), config.kind)


@pytest.mark.parametrize(
    "options, match",
    [
        ({}, "adversarial.discriminator: this option is required"),
        ({"discriminator": "patchgam"}, "did you mean 'patchgan'"),
        ({"discriminator": "unet", "kind": "hinge"}, "is not one of 'relativistic', 'vanilla'"),
        ({"discriminator": "unet", "weight": -1}, "weight must be at least 0, not -1"),
        ({"discriminator": "unet", "learning_rate": 0}, "learning_rate must be above 0"),
    ],
)
def test_mistakes_are_named(options, match):
    with pytest.raises(ConfigError, match=match):
        parse(AdversarialConfig, options, "adversarial")
