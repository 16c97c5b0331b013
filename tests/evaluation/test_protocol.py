"""Protocols: what they make of a photo, against the words of the papers written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
import torch

from blindsr import config, registry
from blindsr.config import ConfigError
from blindsr.evaluation.formula import degrade
from blindsr.evaluation.listing import kernels_of
from blindsr.evaluation.protocol import Protocol, Setting, load_protocol
from blindsr.interfaces import BlindSRError
from blindsr.kernels.files import parse_kernel
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import blur
from blindsr.ops.resize import decimate

SHIPPED = sorted(p.stem for p in (config.shipped("configs") / "benchmark").glob("*.yaml"))


@pytest.fixture
def photo() -> np.ndarray:
    """(107, 123, 3) uint8, smooth with some grain."""
    rng = np.random.default_rng(0)
    rough = scipy.ndimage.gaussian_filter(rng.normal(0, 1, (107, 123, 3)), (3, 3, 0))
    return np.clip(128 + 500 * rough + rng.normal(0, 4, rough.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_are_readable_and_round_trip(name):
    found, protocol = load_protocol(name)
    assert found == name and len(protocol.describe()) > 100
    assert config.parse(Protocol, registry.as_mapping(protocol), name) == protocol
    methods = [registry.build(registry.parse_component("method")(method, name)) for method in protocol.methods]
    assert protocol.knows_kernel or not any(m.needs_kernel for m in methods)
    enough = all(len(s.kernels) > 1 or s.gaussians for s in protocol.settings)
    assert enough or not any(m.needs_others for m in methods)


@pytest.mark.parametrize("scale, sigma_255", [(2, 0.0), (3, 2.55), (3, 7.65), (4, 0.0)])
def test_usrnet_table1_by_hand(photo, scale, sigma_255):
    """Blur on 8 bits, wrapping around, with whole levels as output; upper-left pixels; noise of seed 0."""
    kernel = gaussian(25, 2.0, 1.0, 0.5)
    made = degrade(photo, kernel, scale, sigma_255, load_protocol("usrnet_table1")[1])

    multiple = np.lcm(scale, 8)
    hr = photo[: 107 - 107 % multiple, : 123 - 123 % multiple]
    lr = np.empty_like(hr)
    for channel in range(3):
        lr[..., channel] = scipy.ndimage.convolve(hr[..., channel], kernel, mode="wrap")
    assert lr.dtype == np.uint8
    lr = np.float32(lr[0::scale, 0::scale] / 255.0)
    np.random.seed(0)
    lr = lr + np.random.normal(0, sigma_255 / 255.0, lr.shape)
    np.testing.assert_allclose(made.lr, lr, atol=1e-7)
    np.testing.assert_array_equal(made.hr, np.float32(hr / 255.0))
    assert made.sigma == sigma_255 / 255 and made.grid == "corner"
    np.testing.assert_array_equal(made.kernel, kernel)


def test_whole_levels_are_cut_off_not_rounded(photo):
    protocol = load_protocol("usrnet_table1")[1]
    kernel = gaussian(25, 1.5)
    cut = degrade(photo, kernel, 2, 0, protocol).lr
    exact = degrade(photo, kernel, 2, 0, replace(protocol, blur="float")).lr
    below = 255 * (exact - cut)
    assert below.min() > -1e-3 and below.max() < 1 + 1e-3 and 0.4 < below.mean() < 0.6


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_dan_setting1s_folded_kernel_explains_the_photo(photo, scale):
    """Blur by the folded kernel and plain decimation give what blur and bicubic imresize gave, but for 8 bits."""
    protocol = load_protocol("dan_setting1")[1]
    setting = next(s for s in protocol.settings if s.scale == scale)
    kernels = kernels_of(setting, None)
    assert len(kernels) == 8 and kernels[0].array.shape == (21, 21)
    for kernel in (kernels[0], kernels[-1]):
        made = degrade(photo, kernel.array, scale, 0, replace(protocol, round_lr=False))
        x = torch.from_numpy(made.hr.transpose(2, 0, 1).astype(np.float64))[None]
        y = decimate(blur(x, torch.from_numpy(made.kernel)[None, None]), scale)[0].numpy().transpose(1, 2, 0)
        inner = (slice(24 // scale + 2, -24 // scale - 2),) * 2
        assert np.square(y - made.lr)[inner].mean() < 10 ** (-90 / 10)
        rounded = degrade(photo, kernel.array, scale, 0, protocol).lr
        np.testing.assert_allclose(255 * rounded, np.rint(255 * rounded), atol=1e-4)


def test_what_is_told_is_named_as_kernels_are(tmp_path):
    np.save(tmp_path / "k.npy", gaussian(9, 0.8))
    for told, array in (("gaussian:1.6", parse_kernel("gaussian:1.6", 2)), ("k.npy", gaussian(9, 0.8))):
        (kernel,) = kernels_of(Setting(2, (0.0,), ("gaussian:1.0",), told=told), tmp_path)
        np.testing.assert_allclose(kernel.told, array, atol=1e-7)


def test_sixteen_bits_count_by_their_own_range(photo):
    for name in ("usrnet_table1", "dan_setting1"):
        protocol, kernel = load_protocol(name)[1], gaussian(21, 1.3)
        same = degrade(photo.astype(np.uint16) * 257, kernel, 2, 0, protocol)
        np.testing.assert_array_equal(same.lr, degrade(photo, kernel, 2, 0, protocol).lr)


def test_errors_of_a_degradation(photo):
    protocol = load_protocol("usrnet_table1")[1]
    with pytest.raises(BlindSRError, match="too small"):
        degrade(photo[:20], gaussian(25, 1.0), 2, 0, protocol)
    with pytest.raises(BlindSRError, match="negative taps"):
        degrade(photo, gaussian(9, 2.0) * 1.2 - 0.2 / 81, 2, 0, protocol)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"blurr": "float"}, "blur"),
        ({"border": "s**3"}, "number of pixels"),
        ({"decimation": "bicubic"}, "centre grid"),
        ({"sets": [{"name": "a"}]}, "hr"),
        ({"sets": [{"name": "a", "lr": "b"}]}, "without truth"),
        ({"sets": [{"name": "a", "hr": "a"}, {"name": "b", "hr": "b", "lr": "b"}]}, "either all sets"),
        ({"settings": [{"scale": 5}]}, "scale"),
        ({"settings": [{"scale": 2}, {"scale": 2}]}, "two settings"),
        ({"settings": [{"scale": 2, "gaussians": {"size": 20, "widths": [1, 2], "count": 2}}]}, "size must be odd"),
        ({"metrics": []}, "name one at least"),
        ({"seed": -1}, "seed is a whole number from 0"),
    ],
)
def test_protocols_that_make_no_sense(options, words):
    mapping = {"description": "d", "sets": [{"name": "a", "hr": "a"}], "settings": [{"scale": 2}]}
    with pytest.raises(ConfigError, match=words):
        config.parse(Protocol, mapping | options, "mine")
