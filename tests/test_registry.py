"""Every registered component keeps the contract of its kind; a new one is picked up here by itself."""

import dataclasses

import numpy as np
import pytest
import torch

from blindsr import registry
from blindsr.config import ConfigError
from blindsr.interfaces import SCALES, BlindSRError, Estimate, Estimator, Restorer

# What the components without usable defaults need.
NEEDED = {
    "mixture": {"components": ["gaussian", "motion"]},
    "classical": {"kernels": "gaussian"},
    "recorded": {"files": ["records.npz"]},
    "shuffled": {"steps": [{"op": "fit"}]},
    "mixed": {"parts": [{"name": "classical", "kernels": "gaussian"}, {"name": "shuffled", "steps": [{"op": "fit"}]}]},
}
ALL = [(kind, name) for kind in registry.PACKAGES for name in registry.names(kind)]


def configuration(kind: str, name: str):
    return registry.parse_component(kind)({"name": name, **NEEDED.get(name, {})}, "test")


@pytest.mark.parametrize("kind, name", ALL)
def test_configuration_is_frozen_explained_and_round_trips(kind, name):
    config = configuration(kind, name)
    assert dataclasses.is_dataclass(config) and type(config).__dataclass_params__.frozen
    assert not type(config).__doc__.startswith(type(config).__name__ + "("), "write what the options mean"
    assert registry.parse_component(kind)(registry.as_mapping(config), "test") == config


@pytest.mark.parametrize("name", registry.names("kernels"))
def test_kernels_are_valid_and_repeatable(name):
    family = registry.build(configuration("kernels", name))
    drawn, again = (family.sample(7, np.random.default_rng(3)) for _ in range(2))
    assert drawn.shape == (7, family.size, family.size) and drawn.dtype == np.float32
    assert drawn.min() >= 0
    np.testing.assert_allclose(drawn.sum((1, 2)), 1, atol=1e-4)
    np.testing.assert_array_equal(drawn, again)


@pytest.mark.parametrize("name", registry.names("restorer"))
@pytest.mark.parametrize("scale", SCALES)
def test_restorers_enlarge(name, scale):
    """By every scale that they name, and by no other; whoever uses no kernel does without."""
    restorer = registry.build(configuration("restorer", name)).eval()
    assert isinstance(restorer, Restorer) and restorer.n_iterations >= 1
    assert restorer.scales and set(restorer.scales) <= set(SCALES)
    y, sigma = torch.rand(1, 3, 5, 7), torch.zeros(1)
    k = torch.full((1, 1, 3, 3), 1 / 9)
    known = [(k, sigma)] if restorer.uses_kernel else [(None, None), (k, sigma)]
    if scale not in restorer.scales:
        with pytest.raises(BlindSRError, match=f"not ×{scale}"):
            restorer(y, *known[0], scale)
        return
    with torch.inference_mode():
        answers = [restorer(y, *given, scale, iterations=range(1)) for given in known]
    x = answers[0]
    assert x.shape == (1, 3, 5 * scale, 7 * scale) and torch.isfinite(x).all()
    assert all(torch.equal(other, x) for other in answers)


def test_usrnet_serves_every_scale_with_a_kernel():
    restorer = registry.build(configuration("restorer", "usrnet"))
    assert restorer.scales == SCALES and restorer.uses_kernel


@pytest.mark.parametrize("name", registry.names("estimator"))
def test_estimators_answer_a_kernel_or_its_code(name):
    config = configuration("estimator", name)
    estimator = registry.build(config).eval()
    assert isinstance(estimator, Estimator)
    size = config.size
    previous = Estimate(torch.zeros(2, config.code), torch.zeros(2), torch.full((2, 1, size, size), 1 / size**2))
    with torch.inference_mode():
        estimate = estimator(torch.rand(2, 3, 72, 80), torch.rand(2, 3, 36, 40), 2, previous)
    assert estimate.sigma.shape == (2,) and (estimate.sigma >= 0).all()
    assert (estimate.code is not None and estimate.code.shape == (2, config.code)) or (
        estimate.kernel is not None and estimate.kernel.shape == (2, 1, size, size)
    )


@pytest.mark.parametrize("name", sorted(set(registry.names("degradation")) - {"recorded"}))  # which is for training alone
def test_degradations_make_pairs(name):
    degradation = registry.build(configuration("degradation", name))
    sample = degradation(np.random.default_rng(0).random((61, 64, 3)).astype(np.float32), 3, np.random.default_rng(1))
    assert sample.hr.shape == tuple(3 * n for n in sample.lr.shape[:2]) + (3,)
    assert sample.grid in ("corner", "centre")


def test_two_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two components"):
        registry.register("restorer", "usrnet", object)(object)


def test_a_component_must_be_named():
    with pytest.raises(ConfigError, match="needs a restorer"):
        registry.parse_component("restorer")({}, "x")
