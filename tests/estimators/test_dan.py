"""DAN's estimator against the published outputs, and what ours adds."""

import numpy as np
import pytest
import torch

from blindsr.estimators.dan import DANConfig, DANEstimator
from blindsr.interfaces import Estimate


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


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_one_set_of_weights_serves_every_scale(scale):
    torch.manual_seed(0)
    estimator = DANEstimator(DANConfig(code=6, channels=16, blocks=2, hidden=8))
    y, x = torch.rand(2, 3, 13, 17), torch.rand(2, 3, 13 * scale, 17 * scale)
    before = Estimate(torch.randn(2, 6), torch.tensor([0.0, 0.1]))
    after = estimator(x, y, scale, before, torch.randn(2, 6))
    assert after.code.shape == (2, 6) and after.sigma.shape == (2,)


def test_the_untrained_correction_is_none():
    estimator = DANEstimator(DANConfig(code=6, channels=16, blocks=1, hidden=8))
    before = Estimate(torch.randn(1, 6), torch.tensor([0.1]))
    after = estimator(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 8, 8), 2, before, torch.randn(1, 6))
    torch.testing.assert_close(after.code, before.code)
    torch.testing.assert_close(after.sigma, before.sigma)
