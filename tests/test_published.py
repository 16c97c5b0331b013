"""Published .pth files: recognised by their names, converted by a table written out here by hand, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from blindsr import checkpoints
from blindsr.interfaces import BlindSRError
from blindsr.restorers.usrnet import USRNet, USRNetConfig

TINY = USRNetConfig(2, (8, 16, 16), 8)


def published_layout(model: USRNet) -> dict[str, torch.Tensor]:
    """The state of a USRNet as the published code names and shapes it."""
    depth = len(model.prior.down)
    names = {"prior.head.weight": "p.m_head.weight", "prior.tail.weight": "p.m_tail.weight"}
    for block in (0, 1):
        for conv, place in ((1, 0), (2, 2)):
            names[f"prior.body.{block}.conv{conv}.weight"] = f"p.m_body.{block}.res.{place}.weight"
            for i in range(depth):
                down, up = f"p.m_down{i + 1}.{block}", f"p.m_up{depth - i}.{block + 1}"
                names[f"prior.down.{i}.{block}.conv{conv}.weight"] = f"{down}.res.{place}.weight"
                names[f"prior.up.{i}.{block + 1}.conv{conv}.weight"] = f"{up}.res.{place}.weight"
    for i in range(depth):
        names[f"prior.down.{i}.2.weight"] = f"p.m_down{i + 1}.2.weight"
        names[f"prior.up.{i}.0.weight"] = f"p.m_up{depth - i}.0.weight"
    for i in (0, 2, 4):
        names[f"hyper.mlp.{i}.weight"], names[f"hyper.mlp.{i}.bias"] = f"h.mlp.{i}.weight", f"h.mlp.{i}.bias"
    state = model.state_dict()
    assert set(names) == set(state)
    is_linear = {name for name in state if "mlp" in name and state[name].ndim == 2}
    return {new: state[old][..., None, None] if old in is_linear else state[old] for old, new in names.items()}


def complaint(path: Path) -> str:
    with pytest.raises(BlindSRError) as error:
        checkpoints.load(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("config", [TINY, USRNetConfig(3, (8, 8, 16, 24), 5)])
@pytest.mark.parametrize("wrapper", ["", "params", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_tensor_finds_its_place(config: USRNetConfig, wrapper: str, prefix: str, tmp_path: Path) -> None:
    ours, path = USRNet(config), tmp_path / "net.pth"
    state = {f"{prefix}{name}": tensor for name, tensor in published_layout(ours).items()}
    torch.save({wrapper: state, "epoch": 4} if wrapper else state, path)
    checkpoint = checkpoints.load(path)
    assert checkpoint.name == "net" and checkpoint.model.config.restorer == config
    assert not checkpoint.model.blind and checkpoint.model.basis is None
    loaded = checkpoint.model.restorer.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in ours.state_dict().items())


def test_the_old_format_of_torch_is_read_too(tmp_path: Path) -> None:
    torch.save(published_layout(USRNet(TINY)), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert checkpoints.load(tmp_path / "old.pth").model.config.restorer == TINY


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("p.m_up1.2.res.2.weight"), "restorer.prior.up.1.2.conv2.weight is missing"),
        (lambda s: s.update({"p.m_attention.weight": torch.zeros(1)}), "p.m_attention.weight is unexpected"),
        (lambda s: s.update({"p.m_tail.weight": torch.zeros(1, 8, 3, 3)}), "instead of (3, 8, 3, 3)"),
        (lambda s: s.update({"p.m_tail.weight": torch.full((3, 8, 3, 3), torch.nan)}), "NaN"),
        (lambda s: s.pop("h.mlp.4.bias"), "not a USRNet"),
    ],
)
def test_what_does_not_fit_is_named(change, words: str, tmp_path: Path) -> None:
    state = published_layout(USRNet(TINY))
    change(state)
    torch.save(state, tmp_path / "net.pth")
    assert words in complaint(tmp_path / "net.pth")


@pytest.mark.parametrize("content", [[torch.zeros(1)], torch.zeros(3)])
def test_a_file_without_a_state_dict(content, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "net.pth")
    assert "no state_dict" in complaint(tmp_path / "net.pth")


@pytest.mark.parametrize("content", [b"\x80", b"\x80\x02.", b"\x80\x02X\xff\x00\x00\x00half"])
def test_damaged_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(content)
    assert "not a readable .pth file" in complaint(tmp_path / "net.pth")


class Bomb:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_what_is_pickled_is_never_run(tmp_path: Path) -> None:
    torch.save({"net": Bomb(tmp_path / "trace")}, tmp_path / "bomb.pth")
    assert "could run code" in complaint(tmp_path / "bomb.pth")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["usrnet_tiny", "usrgan_tiny"])
def test_the_published_weights_are_recognised(name: str, published: Callable[[str], Path]) -> None:
    checkpoint = checkpoints.load(published(f"{name}.pth"))
    assert checkpoint.name == name and not checkpoint.model.blind
    assert checkpoint.model.config.restorer == USRNetConfig(6, (16, 32, 64, 64), 32)
    assert sum(p.numel() for p in checkpoint.model.parameters()) == 590_332
