"""Numbers that make no sense are refused, and named."""

import math

import pytest

from blindsr import registry
from blindsr.config import ConfigError


@pytest.mark.parametrize(
    "kind, options, message",
    [
        ("operation", {"name": "gaussian_noise", "level": [25, 2]}, "level must be two rising numbers"),
        ("operation", {"name": "speckle_noise", "colour": 0.7}, "colour and gray together must be between 0 and 1"),
        ("operation", {"name": "poisson_noise", "exponent": [2, math.inf]}, "exponent must be two rising numbers"),
        ("operation", {"name": "gaussian_blur", "size": [1, 9]}, "size must be two rising numbers between 3 and 255"),
        ("operation", {"name": "gaussian_blur", "variance": [0, 0]}, "the variance at ×1 must be at least 0.01"),
        ("operation", {"name": "camera", "shot": [0, 0.1]}, "shot must be two rising numbers"),
        ("operation", {"name": "halve", "matlab": 2}, "matlab must be between 0 and 1"),
        ("operation", {"name": "shrink", "size": 24}, "size must be odd and at least 3, not 24"),
        ("operation", {"name": "resize", "up": 0.5}, "up and down together"),
        ("operation", {"name": "resize", "smaller": [0, 1]}, "smaller must be two rising numbers"),
        ("operation", {"name": "sharpen", "weight": -1}, "weight must be at least 0, not -1"),
        ("operation", {"name": "jpeg", "quality": [0, 9]}, "quality must be two rising numbers between 1 and 100"),
        ("kernels", {"name": "gaussian", "ratio": math.nan}, "ratio must be between 0 and 1"),
        ("kernels", {"name": "motion", "jolts": math.inf}, "jolts must be at least 0, not inf"),
        ("kernels", {"name": "mixture", "components": ["motion"], "weights": [0]}, "not all of them may be 0"),
        ("restorer", {"name": "usrnet", "n_iterations": 0}, "n_iterations must be at least 1"),
        ("restorer", {"name": "usrnet", "channels": [16, 0]}, "each of at least 1"),
        ("estimator", {"name": "convolutional", "window": 2}, "window must be at least 8"),
        ("estimator", {"name": "convolutional", "channels": [32, 64, 0]}, "every number of channels"),
    ],
)
def test_numbers_that_make_no_sense(kind, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        registry.parse_component(kind)(options, "here")
    assert str(caught.value).startswith("here: ")
