"""Weights that change with the doubt: nothing changes for a true kernel, and what doubt teaches stays with doubt."""

import pytest
import torch

from blindsr.restorers.compiled import compile_prior
from blindsr.restorers.doubtful import DOUBTED, TRUSTED, Changes, gate
from blindsr.restorers.usrnet import USRNet, USRNetConfig

CONFIG = USRNetConfig(n_iterations=2, channels=(8, 16), hidden=8, doubt_rank=2)


@pytest.fixture
def restorer() -> USRNet:
    """With changes that are not zero any more."""
    torch.manual_seed(0)
    restorer = USRNet(CONFIG)
    for part in (restorer.prior_changes, restorer.hyper_changes):
        for matrix in part.up.values():
            torch.nn.init.normal_(matrix, std=0.05)
    return restorer


def restore(restorer: USRNet, doubt: torch.Tensor | None, n: int = 4) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    y, k = torch.rand(n, 3, 9, 10, generator=rng), torch.full((n, 1, 3, 3), 1 / 9)
    return restorer(y, k, torch.full((n,), 0.02), 2, doubt=doubt)


def test_the_gate_rises_smoothly():
    doubts = torch.linspace(0, 2, 400)
    values = gate(doubts)
    assert (values[doubts <= TRUSTED] == 0).all() and (values[doubts >= DOUBTED] == 1).all()
    assert (values.diff() >= 0).all() and values.diff().max() < 0.04
    assert gate(torch.tensor((TRUSTED * DOUBTED) ** 0.5)).item() == pytest.approx(0.5)


def test_changes_start_at_nothing():
    torch.manual_seed(0)
    fresh = USRNet(CONFIG)
    with torch.no_grad():
        torch.testing.assert_close(restore(fresh, torch.full((4,), 0.9)), restore(fresh, None))


def test_a_true_kernel_gets_the_restorer_without_changes(restorer):
    plain = USRNet(CONFIG)
    plain.load_state_dict(restorer.state_dict())
    plain.prior_changes = plain.hyper_changes = None
    with torch.no_grad():
        assert torch.equal(restore(restorer, None), restore(plain, None))
        assert torch.equal(restore(restorer, torch.zeros(4)), restore(plain, None))


def test_changes_lead_to_weights_of_old(restorer):
    """What its changes have already, as they are; and of what is more than their rank the nearest."""
    module, changes = restorer.prior, restorer.prior_changes
    old = {name: weight.clone() for name, weight in changes.weights(module, torch.ones(())).items()}
    changes.reach(module, old)
    again = changes.weights(module, torch.ones(()))
    for name, weight in old.items():
        torch.testing.assert_close(again[name], weight, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    changes.reach(module, old)
    again, low = changes.weights(module, torch.ones(())), 0
    for name, weight in module.named_parameters():
        wanted = (old[name] - weight.detach()).view(len(weight), -1)
        left = (again[name] - old[name]).norm().item()
        if name.replace(".", "_") in changes.down:
            low += 1
            assert left == pytest.approx(float(torch.linalg.svdvals(wanted)[CONFIG.doubt_rank :].norm()), rel=1e-3)
        else:
            assert left < 1e-5
    assert low


def test_samples_do_not_mix(restorer):
    """Every sample of a batch is restored as it would be alone with its doubt."""
    doubts = torch.tensor([0.0, 0.3, 0.9, 0.02])
    with torch.no_grad():
        together = restore(restorer, doubts)
        for i, doubt in enumerate(doubts):
            alike = restore(restorer, doubt.expand(4))
            torch.testing.assert_close(together[i], alike[i], atol=1e-5, rtol=0)
    assert (together[2] - restore(restorer, None)[2]).abs().max() > 1e-3


@pytest.mark.parametrize("doubts", [[0.2, 0.4, 0.6, 0.8], [0.0, 0.01, 0.9, 0.9], [0.5] * 4])
def test_estimated_kernels_teach_the_changes_alone(restorer, doubts):
    """Also those with hardly a doubt."""
    restore(restorer, torch.tensor(doubts)).square().sum().backward()
    touched = {name for name, p in restorer.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched and all("changes" in name for name in touched)


def test_true_kernels_teach_the_weights_alone(restorer):
    restore(restorer, None).square().sum().backward()
    touched = {name for name, p in restorer.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched and not any("changes" in name for name in touched)


def test_the_rank_saves_numbers():
    wide = torch.nn.Conv2d(64, 64, 3)
    changes = Changes(wide, 4)
    assert changes.up["weight"].shape == (64, 4) and changes.down["weight"].shape == (4, 576)
    assert changes.up["bias"].shape == (64, 1) and "bias" not in changes.down  # a vector is changed as it is
    assert changes.change("weight").shape == (64, 576) and not changes.change("weight").any()


def test_a_compiled_prior_takes_changed_weights(restorer):
    """Those of every batch anew."""
    doubts = torch.tensor([0.0, 0.9, 0.3, 0.9]), torch.tensor([0.07, 0.2, 0.0, 0.5]), torch.full((4,), 0.6)
    expected = [restore(restorer, each).detach() for each in doubts]
    said: list[str] = []
    compile_prior(restorer, said.append)
    if said:
        pytest.skip(said[0])  # no compiler here
    for each, right in zip(doubts, expected):
        made = restore(restorer, each)
        torch.testing.assert_close(made.detach(), right, atol=1e-5, rtol=0)
    made.square().sum().backward()
    assert restorer.prior_changes.up["head_weight"].grad.any()
    assert not said  # or it would have gone on as it is
