"""Models in one file: what is written comes back, and everything else is refused in one line."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from blindsr import checkpoints, registry
from blindsr.alternating import AlternatingConfig, AlternatingSR
from blindsr.checkpoints import CheckpointError
from blindsr.interfaces import BlindSRError
from blindsr.restorers.usrnet import USRNetConfig


def published_state(config: USRNetConfig) -> dict[str, torch.Tensor]:
    """A state_dict in the published layout: names and shapes as in usrnet_tiny.pth."""
    a, *rest = config.channels
    generator = torch.Generator().manual_seed(0)

    def weight(*shape: int) -> torch.Tensor:
        return 0.05 * torch.randn(*shape, generator=generator)

    state = {"p.m_head.weight": weight(a, 4, 3, 3), "p.m_tail.weight": weight(3, a, 3, 3)}
    pairs = list(zip(config.channels, rest))
    for level, (low, high) in enumerate(pairs, 1):
        for block in range(2):
            for conv in (0, 2):
                state[f"p.m_down{level}.{block}.res.{conv}.weight"] = weight(low, low, 3, 3)
                state[f"p.m_up{level}.{block + 1}.res.{conv}.weight"] = weight(low, low, 3, 3)
        state[f"p.m_down{level}.2.weight"] = weight(high, low, 2, 2)
        state[f"p.m_up{level}.0.weight"] = weight(high, low, 2, 2)
    for block in range(2):
        for conv in (0, 2):
            state[f"p.m_body.{block}.res.{conv}.weight"] = weight(rest[-1], rest[-1], 3, 3)
    sizes = ((config.hidden, 2), (config.hidden, config.hidden), (2 * config.n_iterations, config.hidden))
    for layer, (out, given) in enumerate(sizes):
        state[f"h.mlp.{2 * layer}.weight"] = weight(out, given, 1, 1)
        state[f"h.mlp.{2 * layer}.bias"] = weight(out)
    return state


SMALL = USRNetConfig(n_iterations=3, channels=(8, 12, 16, 16), hidden=5)


def test_round_trip(small_model, tmp_path):
    first = checkpoints.load(small_model)
    assert first.name == "small" and first.card == {"name": "small"}
    y = torch.rand(1, 3, 20, 22, generator=torch.Generator().manual_seed(0))
    for dtype, tolerance in ((torch.float32, 0), (torch.float16, 2e-2)):
        path = tmp_path / f"{dtype}.safetensors"
        checkpoints.save(path, first.model, {"steps": 3}, dtype=dtype)
        again = checkpoints.load(path)
        assert registry.as_mapping(again.model.config) == registry.as_mapping(first.model.config)
        with torch.inference_mode():
            assert (again.model(y, 2).x - first.model(y, 2).x).abs().max() <= tolerance
    assert path.stat().st_size < 0.7 * (tmp_path / "torch.float32.safetensors").stat().st_size
    assert not list(tmp_path.glob(".*"))


def test_loading_leaves_the_callers_random_numbers_alone(small_model):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    checkpoints.load(small_model)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"params": s}, lambda s: {f"module.{k}": v for k, v in s.items()}]
)
def test_published_layout_is_recognised(tmp_path, wrap):
    path = tmp_path / "usrnet.pth"
    state = published_state(SMALL)
    torch.save(wrap(state), path)
    checkpoint = checkpoints.load(path)
    assert checkpoint.model.config.restorer == SMALL and not checkpoint.model.blind
    weights = checkpoint.model.restorer.state_dict()
    assert torch.equal(weights["prior.up.0.1.conv2.weight"], state["p.m_up3.1.res.2.weight"])
    assert torch.equal(weights["hyper.mlp.4.weight"], state["h.mlp.4.weight"][:, :, 0, 0])


class Malice:
    def __reduce__(self):
        return (print, ("unpickled!",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_is_never_run(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"params": published_state(SMALL), "extra": Malice()}, path)
    with pytest.raises(BlindSRError, match="could run code|not a readable"):
        checkpoints.load(path)
    path.write_bytes(pickle.dumps(Malice()))
    with pytest.raises(BlindSRError, match=r"evil\.pth"):
        checkpoints.load(path)
    assert "unpickled" not in capsys.readouterr().out


def damaged(small_model, tmp_path, change) -> str:
    """A copy of the small model with its tensors and metadata changed."""
    with safetensors.safe_open(small_model, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
    change(tensors, metadata)
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(safetensors.torch.save(tensors, metadata))
    return str(path)


def set_config(key, value):
    def change(tensors, metadata):
        config = json.loads(metadata["config"])
        config[key] = value
        metadata["config"] = json.dumps(config)

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t, m: t.pop("restorer.prior.head.weight"), "head.weight is missing"),
        (lambda t, m: t.update(stray=torch.ones(2)), "stray is unexpected"),
        (
            lambda t, m: t.update({"restorer.prior.head.weight": torch.ones(8, 4, 1, 1)}),
            r"is \(8, 4, 1, 1\) instead of",
        ),
        (lambda t, m: t["restorer.prior.tail.weight"].fill_(float("nan")), "NaN"),
        (lambda t, m: m.update(format="blindsr-2"), "upgrade"),
        (lambda t, m: m.clear() or m.update(format="pt"), "not of blindsr"),
        (lambda t, m: m.update(config="{"), "damaged"),
        (set_config("loopz", 3), "did you mean 'loops'"),
        (set_config("restorer", {"name": "usrnt"}), "did you mean 'usrnet'"),
        (lambda t, m: t.update({"basis.components": torch.ones(3, 81)}), "code has 4 numbers"),
    ],
)
def test_files_that_do_not_fit(small_model, tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoints.load(damaged(small_model, tmp_path, change))
    assert "\n" not in str(caught.value) and "damaged.safetensors" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is text", b"PK\x03\x04broken", b"\x20\0\0\0\0\0\0\0{" + b"x" * 40]
)
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / "thing.safetensors"
    path.write_bytes(content)
    with pytest.raises(BlindSRError, match=r"thing\.safetensors") as caught:
        checkpoints.load(path)
    assert "\n" not in str(caught.value)


def test_another_network_is_refused(tmp_path):
    torch.save({"conv.weight": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="not a USRNet"):
        checkpoints.load(tmp_path / "other.pth")


def test_missing_names_the_shipped(tmp_path):
    with pytest.raises(CheckpointError, match="no such weights file"):
        checkpoints.load("tinny")
    with pytest.raises(CheckpointError, match="folder"):
        checkpoints.load(tmp_path)


def test_nothing_is_written_for_bad_weights(tmp_path):
    model = AlternatingSR(AlternatingConfig(restorer=SMALL, loops=1))
    with torch.no_grad():
        model.restorer.prior.head.weight[0, 0, 0, 0] = np.inf
    with pytest.raises(CheckpointError, match="not written"):
        checkpoints.save(tmp_path / "a.safetensors", model, {})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_file_alone(small_model, tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    path.write_bytes(small_model.read_bytes())
    before = path.read_bytes()

    def full(self, data):
        with open(self, "wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoints.save(path, checkpoints.load(small_model).model, {})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_shipped_weights_go_by_their_bare_name(small_model, monkeypatch):
    monkeypatch.setattr("blindsr.resources.shipped", lambda kind: small_model.parent)
    assert "small" in checkpoints.shipped_names() and checkpoints.load("small").name == "small"
    with pytest.raises(CheckpointError, match="; did you mean 'small'"):
        checkpoints.load("smal")


def test_the_fingerprint_tells_options_apart_too(small_model):
    """Those that weights do not show: pictures depend on them."""
    model = checkpoints.load(small_model).model
    before = checkpoints.fingerprint(model)
    assert before == checkpoints.fingerprint(checkpoints.load(small_model).model)
    for change in ({"crop": 64}, {"least_doubt": 0.5}, {"schedule": "restart"}):
        model.config = replace(checkpoints.load(small_model).model.config, **change)
        assert checkpoints.fingerprint(model) != before
