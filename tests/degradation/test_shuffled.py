"""The shuffled degradation: order, probabilities, replay, sizes."""

import json
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blindsr import config, registry
from blindsr.degradation.shuffled import Shuffled, ShuffledConfig, Step, replay
from blindsr.interfaces import BlindSRError


def shipped(name: str) -> ShuffledConfig:
    return registry.parse_component("degradation")(config.load(config.find("degradation", name)), name)


@pytest.fixture(scope="module", params=["bsrgan", "bsrgan_plus"])
def shuffled(request) -> Shuffled:
    return Shuffled(shipped(request.param))


@given(
    shape=st.tuples(st.integers(8, 40), st.integers(8, 40), st.sampled_from([1, 3])),
    scale=st.integers(1, 4),
    seed=st.integers(0, 2**63),
    patch=st.integers(0, 12),
    flat=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_photo_any_seed(shuffled, shape, scale, seed, patch, flat):
    rng = np.random.default_rng(seed)
    hr = np.full(shape, rng.random(), np.float32) if flat else rng.random(shape, dtype=np.float32)
    if patch * scale > min(shape[:2]):
        with pytest.raises(BlindSRError, match=f"{patch * scale - min(shape[:2])} short of the {patch * scale}"):
            shuffled(hr, scale, rng, patch)
        return
    made = shuffled(hr, scale, rng, patch)
    size = (patch, patch) if patch else (shape[0] // scale, shape[1] // scale)
    assert made.lr.shape == (*size, 3) and made.hr.shape == (size[0] * scale, size[1] * scale, 3)
    for picture in (made.lr, made.hr):
        assert picture.dtype == np.float32 and np.isfinite(picture).all()
        assert picture.min() >= 0 and picture.max() <= 1
    again = replay(hr, json.loads(json.dumps(made.record)))
    assert np.array_equal(again.lr, made.lr) and np.array_equal(again.hr, made.hr)
    assert made.grid == "centre" and made.kernel is None and made.sigma is None


def test_order_and_probabilities_of_bsrgan():
    """The rules of the published pipeline, over many draws."""
    shuffled, rng, n = Shuffled(shipped("bsrgan")), np.random.default_rng(0), 2000
    seen, firsts = Counter(), Counter()
    for _ in range(n):
        names = [s["op"] for s in shuffled.draw(4, rng)]
        assert names[-1] == "jpeg" and names.index("shrink") < names.index("fit")
        body = names[1:-1] if names[0] == "halve" else names[:-1]
        seen.update(set(names)), firsts.update(body[:1])
        seen["two jpegs"] += names.count("jpeg") == 2
    assert seen["halve"] / n == pytest.approx(0.25, abs=0.04)
    assert seen["camera"] / n == pytest.approx(0.25, abs=0.04)
    assert seen["two jpegs"] / n == pytest.approx(0.9, abs=0.03)
    assert firsts["gaussian_blur"] / n == pytest.approx(2 / 6.15, abs=0.05)
    assert 0 < firsts["fit"] + firsts["shrink"] < n / 2


def test_halving_is_for_scale_4_and_changes_what_follows():
    shuffled, rng = Shuffled(shipped("bsrgan")), np.random.default_rng(1)
    factors = []
    for scale in (1, 2, 3):
        assert all(s["op"] != "halve" for _ in range(100) for s in shuffled.draw(scale, rng))
    for _ in range(400):
        steps = shuffled.draw(4, rng)
        if steps[0]["op"] == "halve":
            factors += [s["factor"] for s in steps if s["op"] == "shrink" and "factor" in s]
    assert 3 < max(factors) <= 4  # up to 2·2, not 2·4


def test_a_fixed_order_where_nothing_is_shuffled():
    c = shipped("bsrgan_plus")
    straight = Shuffled(ShuffledConfig(c.steps, c.first, c.last, shuffle=0.0))
    order = ["sharpen", "gaussian_blur", "resize", "gaussian_noise", "jpeg"]
    names = [s["op"] for s in straight.draw(4, np.random.default_rng(0))]
    assert [n for n in names if n in order][:5] == order
    assert names[-2:] == ["fit", "jpeg"]


def test_operations_can_be_left_out():
    c = shipped("bsrgan")
    rng = np.random.default_rng(0)
    assert all(s["op"] != "camera" for _ in range(200) for s in Shuffled(c.without("camera")).draw(4, rng))
    with pytest.raises(BlindSRError, match="no operation is called 'kamera'"):
        c.without("kamera")
    with pytest.raises(BlindSRError, match="--without fit: some step must always be 'fit'"):
        c.without("fit")


def test_patches_are_pieces_of_the_degraded_photo():
    """Cut out with a margin first, a patch must look as if it had been cut from the whole."""
    rows, cols = np.mgrid[:160, :160] / 160
    hr = np.stack([rows, cols, 0.5 + 0 * rows], axis=2).astype(np.float32)
    shuffled = Shuffled(shipped("bsrgan").without("camera", "gaussian_noise"))
    for seed in range(5):
        made = shuffled(hr, 4, np.random.default_rng(seed), 16)
        blocks = made.hr.reshape(16, 4, 16, 4, 3).mean((1, 3))
        assert np.abs(made.lr - blocks)[2:-2, 2:-2].max() < 0.06


def test_configurations_say_what_is_wrong():
    parse = registry.parse_component("degradation")
    with pytest.raises(config.ConfigError, match="did you mean 'jpeg'"):
        parse({"name": "shuffled", "steps": [{"op": "fit"}, {"op": "jpg"}]}, "mine")
    with pytest.raises(config.ConfigError, match="probability must be"):
        parse({"name": "shuffled", "steps": [{"op": "fit", "probability": 2}]}, "mine")
    assert Step(registry.parse_component("operation")("fit", "x")).probability == 1


def test_a_mixture_takes_one_part_for_a_batch():
    parse = registry.parse_component("degradation")
    part = {"name": "classical", "kernels": "gaussian"}
    mixed = registry.build(parse({"name": "mixed", "weights": [1, 3], "parts": ["bsrgan", part]}, "m"))
    x = torch.rand(2, 3, 240, 240)
    shares = Counter()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        chosen = mixed.choose(rng)
        shares[chosen.kernel_size] += 1
        if seed < 4:
            made = chosen.batch(x, 2, rng)
            side = 240 - 4 * chosen.margin(2)
            assert made.x.shape[-1] == side and made.y.shape[-1] == side // 2
            assert (made.k is None) == (made.grid == "centre")
    assert shares[None] + shares[25] == 40 and 3 <= shares[None] <= 18
    with pytest.raises(config.ConfigError, match="2 parts"):
        parse({"name": "mixed", "weights": [1], "parts": ["bsrgan", part]}, "m")


def test_batches_do_not_always_begin_where_a_jpeg_block_does():
    """Nor do the patches of files; the borders of blocks show in the differences of neighbouring pixels."""
    steps = [{"op": "fit"}, {"op": {"name": "jpeg", "quality": [8, 9]}}]
    shuffled = registry.build(registry.parse_component("degradation")({"name": "shuffled", "steps": steps}, "mine"))
    rng, phases = np.random.default_rng(0), Counter()
    coarse = torch.rand(24, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    x = torch.nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic").clamp(0, 1)
    batch = shuffled.batch(x, 1, rng)
    side = 96 - 2 * shuffled.margin(1)
    assert batch.x.shape == batch.y.shape == (24, 3, side, side)
    assert (batch.x - batch.y).abs().mean() < 0.1  # cut at the same place
    for y in batch.y:
        edges = y.diff(dim=-1).abs().mean((0, 1))
        phases[int(torch.stack([edges[p::8].mean() for p in range(8)]).argmax())] += 1
    assert len(phases) > 4


def test_a_pickled_one_is_the_same():
    """Loader processes get it so, where processes are not forked."""
    shuffled = Shuffled(shipped("bsrgan"))
    again = pickle.loads(pickle.dumps(shuffled))
    assert again.draw(4, np.random.default_rng(3)) == shuffled.draw(4, np.random.default_rng(3))


def test_what_resizes_after_the_last_fit_is_an_error():
    c = shipped("bsrgan")
    loose = Shuffled(ShuffledConfig(c.steps, c.first, c.last))  # in any order, fit and shrink too
    hr = np.zeros((64, 64, 3), np.float32)
    with pytest.raises(BlindSRError, match="instead of 16×16 pixels: at ×4 'fit' must come after all that resizes"):
        for seed in range(40):
            loose(hr, 4, np.random.default_rng(seed))
