"""The alternation: its two schedules, its modes and where gradients go."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from blindsr.alternating import AlternatingConfig, AlternatingSR, most_textured
from blindsr.estimators.dan import DANConfig
from blindsr.estimators.noise import estimate_noise
from blindsr.estimators.spectral import SpectralConfig
from blindsr.interfaces import BlindSRError
from blindsr.kernels.basis import KernelBasis
from blindsr.kernels.gaussian import gaussian
from blindsr.restorers.usrnet import USRNet, USRNetConfig

RESTORER = USRNetConfig(n_iterations=4, channels=(8, 8), hidden=8)
KERNELS = np.stack([gaussian(9, 0.5 + 0.05 * i, 0.5 + 0.07 * (i % 13), 0.1 * i) for i in range(40)])


def make(**options) -> AlternatingSR:
    torch.manual_seed(0)
    settings = dict(
        restorer=RESTORER,
        initial=SpectralConfig(code=4, window=16, hidden=8),
        estimator=DANConfig(code=4, size=9, channels=16, blocks=1, hidden=8),
        basis="test",
        loops=2,
    )
    model = AlternatingSR(AlternatingConfig(**(settings | options)), KernelBasis.fit(KERNELS, 4))
    if model.estimator is not None and model.estimator.config.corrects:
        torch.nn.init.normal_(model.estimator.weigh.tail.weight, std=0.1)  # an untrained correction is none
    return model


@pytest.fixture
def y() -> torch.Tensor:
    return torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("schedule, parts", [("warm", [range(0, 2), range(2, 4)]), ("restart", [range(4), range(4)])])
def test_schedules(schedule, parts, y):
    model = make(schedule=schedule)
    assert model.schedule() == parts
    result = model(y, 2)
    assert len(result.iterates) == 2
    assert [i.x.shape for i in result.iterates] == [(2, 3, 40, 48)] * 2
    assert not torch.equal(result.iterates[0].kernel, result.iterates[1].kernel)


def test_warm_with_an_estimator_that_changes_nothing_is_non_blind(y):
    """If the code stays, splitting the iterations over loops must give the non-blind result."""
    model = make()
    torch.nn.init.zeros_(model.estimator.weigh.tail.weight)
    model.estimator.belief.bias.data[1] = -50.0  # no share of the evidence
    with torch.no_grad():
        result = model(y, 2)
        given = model(y, 2, result.kernel, result.sigma)
    torch.testing.assert_close(result.x, given.x)


def test_restart_repeats_from_the_nearest_neighbour(y):
    model = make(schedule="restart")
    with torch.no_grad():
        result = model(y, 3)
        last = model.restorer(y, result.kernel, result.sigma, 3)
    torch.testing.assert_close(result.x, last)


def test_kernels_are_always_valid(y):
    for iterate in make()(y, 4).iterates:
        assert (iterate.kernel >= 0).all()
        torch.testing.assert_close(iterate.kernel.sum((1, 2, 3)), torch.ones(2))


def test_given_sigma_stays(y):
    sigma = torch.tensor([0.01, 0.1])
    result = make()(y, 2, sigma=sigma)
    assert all(torch.equal(i.sigma, sigma) for i in result.iterates)


def test_given_kernel_is_non_blind(y):
    model = make()
    k = torch.full((2, 1, 3, 3), 1 / 9)
    result = model(y, 2, k)
    assert len(result.iterates) == 1 and result.iterates[0].code is None
    torch.testing.assert_close(result.sigma, model.first_estimate(y, 2).sigma)


def test_the_first_estimate_may_come_from_elsewhere(y):
    model = make()
    larger = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(2))
    first = model.first_estimate(larger, 2)
    with torch.no_grad():
        result = model(y, 2, first=first)
    assert torch.equal(result.iterates[0].kernel, first.kernel) and torch.equal(result.iterates[0].sigma, first.sigma)


def test_estimates_alone(y):
    """Without the last restoration all estimates are the same."""
    model = make()
    with torch.no_grad():
        whole, alone = model(y, 2), model(y, 2, finish=False)
    assert alone.x is None and alone.iterates[0].x is not None
    assert all(torch.equal(a.kernel, b.kernel) for a, b in zip(whole.iterates, alone.iterates))


def test_a_restorer_that_doubts_is_told():
    """At first a doubt changes nothing; with weights on it, a doubted kernel restores otherwise than a true one."""
    torch.manual_seed(0)
    restorer = USRNet(replace(RESTORER, doubt_rank=2))
    y, k, sigma = torch.rand(2, 3, 12, 12), torch.full((2, 1, 3, 3), 1 / 9), torch.zeros(2)
    with torch.no_grad():
        sure, doubted = (restorer(y, k, sigma, 2, doubt=d) for d in (None, torch.tensor([0.0, 0.9])))
        torch.testing.assert_close(sure, doubted)
        torch.nn.init.normal_(restorer.prior_changes.up["tail_weight"])
        sure, doubted = (restorer(y, k, sigma, 2, doubt=d) for d in (None, torch.tensor([0.0, 0.9])))
    torch.testing.assert_close(sure[0], doubted[0])
    assert (sure[1] - doubted[1]).abs().max() > 1e-4


def test_non_blind_model_asks_for_a_kernel(y):
    model = AlternatingSR(AlternatingConfig(restorer=RESTORER))
    assert not model.blind
    with pytest.raises(BlindSRError, match="give the kernel"):
        model(y, 2)


def test_plain_dan_starts_from_a_dirac(y):
    model = make(initial=None, estimator=DANConfig(code=4, channels=16, blocks=1, corrects=False), schedule="restart")
    first = model(y, 2).iterates[0].kernel
    assert first[0, 0].argmax() == 9 * 9 // 2


@pytest.mark.parametrize(
    "detach, image_reaches_estimator, kernel_error_reaches_restorer",
    [("none", True, True), ("image", True, False), ("estimate", False, True), ("both", False, False)],
)
def test_detach_rule(detach, image_reaches_estimator, kernel_error_reaches_restorer, y):
    model = make(detach=detach)
    model(y, 2).x.mean().backward()
    reached = model.estimator.weigh.tail.weight.grad
    assert (reached is not None and bool(reached.abs().sum() > 0)) == image_reaches_estimator
    model.zero_grad()
    model(y, 2).kernel.square().sum().backward()
    reached = model.restorer.prior.head.weight.grad
    assert (reached is not None and bool(reached.abs().sum() > 0)) == kernel_error_reaches_restorer


def test_window_is_the_most_textured():
    y = torch.zeros(1, 3, 40, 50)
    y[..., 20:28, 30:38] = torch.rand(8, 8)
    top, left = most_textured(y, 12)
    assert top <= 20 and top + 12 >= 28 and left <= 30 and left + 12 >= 38


@pytest.mark.parametrize("side", [27, 39, 40, 42])
def test_estimator_looks_at_a_bounded_window(side):
    model = make(crop=side)
    seen = []
    model.estimator.register_forward_hook(lambda module, inputs, output: seen.append(inputs[1].shape[-2:]))
    model(torch.rand(1, 3, 40, 44), 2)
    assert seen == [(min(side, 40), min(side, 44))]


@pytest.mark.parametrize("head", ["pca", "softmax"])
def test_heads(head, y):
    """Whatever the head answers, an estimate has both its code and a valid kernel."""
    initial = SpectralConfig(head=head, code=4, size=9, window=16, hidden=8)
    model = make(initial=initial, estimator=DANConfig(head=head, code=4, size=9, channels=16, blocks=1, hidden=8))
    for iterate in model(y, 3).iterates:
        assert iterate.code.shape == (2, 4) and iterate.kernel.shape == (2, 1, 9, 9)
        torch.testing.assert_close(iterate.kernel.sum((1, 2, 3)), torch.ones(2))


def test_bfloat16_reaches_no_kernel(y):
    """Plain DAN starts from an encoded Dirac; under autocast codes and kernels must stay float32."""
    model = make(initial=None, estimator=DANConfig(code=4, channels=16, blocks=1, corrects=False), schedule="restart")
    with torch.autocast("cpu", torch.bfloat16):
        result = model(y, 2)
    assert all(i.kernel.dtype == torch.float32 and i.code.dtype == torch.float32 for i in result.iterates)


def test_scales_that_no_restorer_serves(y):
    model = make()
    with pytest.raises(BlindSRError, match="enlarges ×1 and ×2 and ×3 and ×4 only, not ×5; use scale 1 or 2"):
        model(y, 5)
    with pytest.raises(BlindSRError, match="not ×5"):
        model(y, 5, torch.ones(2, 1, 3, 3) / 9, torch.zeros(2))


def test_mismatches_are_readable():
    with pytest.raises(BlindSRError, match="code has 5 numbers"):
        make(initial=SpectralConfig(code=5, window=16, hidden=8))
    with pytest.raises(BlindSRError, match="kernel has 25 pixels"):
        make(initial=SpectralConfig(head="softmax", code=4, window=16, hidden=8))
    with pytest.raises(BlindSRError, match="kernel has 25 pixels"):
        make(estimator=DANConfig(code=4, channels=16, blocks=1, hidden=8))
    with pytest.raises(BlindSRError, match="crop of 20 is too small"):
        make(crop=20)
    with pytest.raises(BlindSRError, match="splits 4 iterations over 5 loops"):
        make(loops=5)
    with pytest.raises(ValueError, match="needs a basis"):
        AlternatingConfig(restorer=RESTORER, initial=SpectralConfig())


def test_a_least_doubt_is_told_to_the_restorer_alone(y):
    """What the estimator says of itself stays as it is."""
    doubtful = replace(RESTORER, doubt_rank=2)
    plain, careful = make(restorer=doubtful), make(restorer=doubtful, least_doubt=0.9)
    careful.load_state_dict(plain.state_dict())
    for model in (plain, careful):
        for matrix in model.restorer.prior_changes.up.values():
            torch.nn.init.constant_(matrix, 0.05)
    with torch.no_grad():
        a, b = plain(y, 2), careful(y, 2)
        assert torch.equal(a.iterates[0].doubt, b.iterates[0].doubt)
        assert not torch.equal(a.iterates[0].x, b.iterates[0].x)
        k, sigma = a.iterates[0].kernel, a.sigma
        assert torch.equal(plain(y, 2, k, sigma).x, careful(y, 2, k, sigma).x)  # a true kernel is trusted
        told = torch.full((2,), 0.2)
        raised = careful(y, 2, k, sigma, doubt=told).x
        assert torch.equal(raised, plain(y, 2, k, sigma, doubt=torch.full((2,), 0.9)).x)


@pytest.mark.parametrize("learn_all", [True, False])
def test_earlier_pictures_learn_only_where_asked(y, learn_all):
    model = make(schedule="restart", detach="both")
    iterates = model(y, 2, learn_all=learn_all).iterates
    assert iterates[0].x.requires_grad == learn_all and iterates[1].x.requires_grad
    assert iterates[0].kernel.requires_grad and iterates[1].kernel.requires_grad


def test_noise_that_is_known_to_be_there(y):
    """Less is taken for it, whether it was given or estimated; more stays as it is."""
    model, k = make(), torch.full((2, 1, 9, 9), 1 / 81)
    given = torch.tensor([0.0, 0.5])
    told = model(y, 2, k, given, least_sigma=0.1)
    assert told.iterates[0].sigma.tolist() == pytest.approx([0.1, 0.5])
    assert torch.equal(told.x, model(y, 2, k, torch.tensor([0.1, 0.5])).x)
    assert not torch.allclose(told.x, model(y, 2, k, given).x)
    free = model(y, 2)
    least = max(float(i.sigma.detach().max()) for i in free.iterates) + 0.1
    assert all(bool((i.sigma == torch.tensor(least)).all()) for i in model(y, 2, least_sigma=least).iterates)


def test_the_noise_that_colours_show(y):
    """Is kept through all loops; the estimators are asked where it is not white, and when they learn."""
    learned, asked = make().eval(), make(noise="colours").eval()
    gray = y[:1, :1].expand(-1, 3, -1, -1)
    y = torch.cat([y[:1], gray])
    found = asked(y, 2).iterates
    assert found[0].sigma[0].item() == pytest.approx(float(y[:1].std()), rel=0.2)  # the picture is noise and nothing else
    assert found[0].sigma[1] == learned(y, 2).iterates[0].sigma[1]
    assert torch.equal(found[0].sigma, found[1].sigma)
    assert torch.equal(asked(y, 2, found[0].kernel).sigma, found[0].sigma)
    assert torch.equal(asked.train().first_estimate(y, 2).sigma, learned.train().first_estimate(y, 2).sigma)


def test_colours_show_the_noise_of_a_start_from_a_dirac(y):
    options = dict(initial=None, estimator=DANConfig(code=4, size=9, channels=16, blocks=1, hidden=8, corrects=False))
    model = make(**options, noise="colours").eval()
    assert all(torch.equal(i.sigma, estimate_noise(y)) and i.sigma.min() > 0.2 for i in model(y, 2).iterates)
    assert all(not i.sigma.any() for i in make(**options).eval()(y, 2).iterates)
    assert not model.train().first_estimate(y, 2).sigma.any()
