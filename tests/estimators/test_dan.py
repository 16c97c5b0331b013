"""DAN's estimator against the published outputs, and what ours adds."""

import numpy as np
import pytest
import torch

from blindsr.degradation.classical import degrade
from blindsr.estimators.dan import DANConfig, DANEstimator, EdgePrediction
from blindsr.interfaces import Estimate
from blindsr.kernels.distance import kernel_distance


def published_state() -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray]]:
    state, rest = {}, {}
    for i in range(6):
        for key, value in np.load(f"tests/data/dan_official_{i}.npz").items():
            if not key.startswith("weight/"):
                rest[key] = value
                continue
            name = key.removeprefix("weight/").replace("head_LR", "head_lr").replace("head_HR", "head_hr")
            state[name] = torch.from_numpy(value)
    return state, rest


def test_plain_form_reproduces_the_published_code():
    state, golden = published_state()
    estimator = DANEstimator(DANConfig(code=10, corrects=False))
    estimator.load_state_dict(state)
    with torch.inference_mode():
        estimate = estimator(torch.from_numpy(golden["sr"]), torch.from_numpy(golden["lr"]), int(golden["scale"]))
    np.testing.assert_allclose(estimate.code.numpy(), golden["code"], atol=1e-5)


def previous(n: int = 2, code: int = 6, size: int = 7) -> Estimate:
    kernel = torch.rand(n, 1, size, size)
    return Estimate(
        torch.randn(n, code), torch.rand(n) / 10, kernel / kernel.sum((-2, -1), keepdim=True), torch.rand(n)
    )


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_one_set_of_weights_serves_every_scale(scale):
    torch.manual_seed(0)
    estimator = DANEstimator(DANConfig(code=6, size=7, channels=16, blocks=2, hidden=8))
    y, x = torch.rand(2, 3, 13, 17), torch.rand(2, 3, 13 * scale, 17 * scale)
    after = estimator(x, y, scale, previous())
    assert after.code.shape == (2, 6) and after.sigma.shape == after.doubt.shape == (2,)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_untrained_correction_follows_the_evidence(scale):
    """Shown the true picture it must come nearer to the true kernel; σ and doubt stay."""
    torch.manual_seed(0)
    estimator = DANEstimator(DANConfig(head="softmax", code=6, size=7, channels=16, blocks=1, hidden=8))
    before, true = previous(), previous().kernel
    before = Estimate(before.code, torch.zeros(2), before.kernel, torch.ones(2))
    x = torch.rand(2, 3, 64, 64)
    after = estimator(x, degrade(x, true, scale), scale, before)
    assert (kernel_distance(after.kernel, true) < 0.9 * kernel_distance(before.kernel, true)).all()
    torch.testing.assert_close(after.kernel.sum((1, 2, 3)), torch.ones(2))
    torch.testing.assert_close(after.sigma, before.sigma)
    torch.testing.assert_close(after.doubt, before.doubt)


def test_edges_start_as_the_picture_itself():
    edges = EdgePrediction(8, 4)
    x = torch.rand(1, 1, 21, 24)
    torch.testing.assert_close(edges(torch.randn(1, 8, 7, 8), x, 3), x)


def test_every_weight_learns():
    """Through the least squares too: a kernel loss must reach the features of the blocks."""
    torch.manual_seed(0)
    estimator = DANEstimator(DANConfig(head="softmax", code=6, size=7, channels=16, blocks=1, hidden=8))
    for _name, p in estimator.named_parameters():  # what starts at zero holds back what lies before it
        if not p.any():
            torch.nn.init.normal_(p, std=0.1)
    after = estimator(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 16, 16), 2, previous())
    (after.kernel.square().sum() + after.sigma.sum() + after.doubt.sum()).backward()
    dead = [name for name, p in estimator.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead
