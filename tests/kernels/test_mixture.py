from __future__ import annotations

import numpy as np
import pytest

from blindsr.config import ConfigError
from blindsr.registry import as_mapping, build, parse_component

HALVES = {
    "name": "mixture",
    "components": [{"name": "gaussian", "size": 15, "isotropic": 1.0}, {"name": "motion", "size": 15}],
    "weights": [1, 3],
}


def read(mapping):
    return parse_component("kernels")(mapping, "kernels")


def test_shares_and_order():
    kernels = build(read(HALVES)).sample(4000, np.random.default_rng(0))
    assert kernels.shape == (4000, 15, 15) and kernels.dtype == np.float32
    # Isotropic Gaussians equal their own transpose, camera shake does not.
    gaussian = np.abs(kernels - kernels.transpose(0, 2, 1)).max((1, 2)) < 1e-6
    assert abs(gaussian.mean() - 0.25) < 0.03
    assert abs(gaussian[:2000].mean() - 0.25) < 0.04


def test_same_seed_same_kernels():
    family = build(read(HALVES))
    assert np.array_equal(*(family.sample(50, np.random.default_rng(1)) for _ in range(2)))


def test_configuration_round_trip():
    config = read(HALVES)
    assert read(as_mapping(config)) == config


def test_errors_name_the_place():
    with pytest.raises(ConfigError, match=r"kernels\.components\[1\]\.extents.*extent"):
        read({**HALVES, "components": ["gaussian", {"name": "motion", "extents": 3}]})
    with pytest.raises(ConfigError, match="weights: there are 1 for 2 parts"):
        read({**HALVES, "weights": [1]})
    with pytest.raises(ConfigError, match="list of kernels"):
        read({**HALVES, "components": "gaussian"})
    with pytest.raises(ConfigError, match="one size"):
        build(read({"name": "mixture", "components": [{"name": "gaussian", "size": 15}, "motion"]}))
