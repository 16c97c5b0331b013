"""RRDBNet: the published layout, a network written out by hand, and photos restored without a kernel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from blindsr import checkpoints, images
from blindsr.alternating import AlternatingConfig, AlternatingSR
from blindsr.cli import main
from blindsr.estimators.spectral import SpectralConfig
from blindsr.inference import machine
from blindsr.inference.facade import BlindSR
from blindsr.interfaces import BlindSRError
from blindsr.kernels.basis import KernelBasis
from blindsr.restorers.rrdbnet import RRDBNet, RRDBNetConfig

SMALL = RRDBNetConfig(channels=16, blocks=2, growth=8)


def layout(config: RRDBNetConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published files, in their order."""
    c, g = config.channels, config.growth
    convolutions = {"conv_first": (3, c)}
    for i in range(config.blocks):
        for j in (1, 2, 3):
            for n in (1, 2, 3, 4, 5):
                convolutions[f"RRDB_trunk.{i}.RDB{j}.conv{n}"] = (c + (n - 1) * g, g if n < 5 else c)
    for name in ("trunk_conv", "upconv1", *(["upconv2"] if config.scale == 4 else []), "HRconv"):
        convolutions[name] = (c, c)
    convolutions["conv_last"] = (c, 3)
    shapes = {}
    for name, (given, made) in convolutions.items():
        shapes |= {f"{name}.weight": (made, given, 3, 3), f"{name}.bias": (made,)}
    return shapes


def drawn(config: RRDBNetConfig) -> dict[str, Tensor]:
    """Weights large enough for every layer, slope and share to count in the answer."""
    rng = np.random.default_rng(0)

    def draw(shape: tuple[int, ...]) -> Tensor:
        scale = 0.1 if len(shape) == 1 else (1.5 / np.prod(shape[1:])) ** 0.5
        return torch.from_numpy(scale * rng.standard_normal(shape)).float()

    return {name: draw(shape) for name, shape in layout(config).items()}


def reference(w: dict[str, Tensor], x: Tensor, blocks: int, scale: int) -> Tensor:
    """The network from the papers' description, without modules. With the published weights of a small ×4 network it
    agrees with the published output to 1e-7."""

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    first = body = conv("conv_first", x)
    for i in range(blocks):
        outer = body
        for j in (1, 2, 3):
            seen = [body]
            for n in (1, 2, 3, 4):
                seen.append(leaky(conv(f"RRDB_trunk.{i}.RDB{j}.conv{n}", torch.cat(seen, 1))))
            body = body + 0.2 * conv(f"RRDB_trunk.{i}.RDB{j}.conv5", torch.cat(seen, 1))
        body = outer + 0.2 * body
    x = first + conv("trunk_conv", body)
    for name in ("upconv1", "upconv2")[: scale // 2]:
        x = leaky(conv(name, x.repeat_interleave(2, -1).repeat_interleave(2, -2)))
    return conv("conv_last", leaky(conv("HRconv", x)))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A ×4 file of the published layout."""
    torch.save(drawn(SMALL), tmp_path / "bsr.pth")
    return tmp_path / "bsr.pth"


@pytest.fixture
def model(published: Path) -> BlindSR:
    return BlindSR.from_pretrained(published, device="cpu", precision="fp32")


def whole(model: BlindSR, pixels: np.ndarray) -> np.ndarray:
    """What the bare network makes of an 8-bit photo."""
    y = torch.from_numpy(images.to_float(pixels)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        return images.from_float(model.model.restorer(y)[0].permute(1, 2, 0).numpy(), np.uint8)


# -- the network -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale, tensors, numbers", [(4, 702, 16_697_987), (2, 700, 16_661_059)])
def test_the_published_layout(scale: int, tensors: int, numbers: int) -> None:
    config = RRDBNetConfig(scale=scale)
    state = RRDBNet(config).state_dict()
    assert {name: tuple(t.shape) for name, t in state.items()} == layout(config)
    assert len(state) == tensors and sum(t.numel() for t in state.values()) == numbers


@pytest.mark.parametrize("scale", [2, 4])
def test_it_computes_what_the_papers_say(scale: int) -> None:
    config = RRDBNetConfig(16, 2, 8, scale)
    weights, y = drawn(config), torch.rand(2, 3, 7, 10, generator=torch.Generator().manual_seed(1))
    net = RRDBNet(config).eval()
    net.load_state_dict(weights)
    with torch.inference_mode():
        x = net(y, None, None, scale)
    expected = reference(weights, y, 2, scale)
    assert expected.std() > 0.1 and (x - expected).abs().max() < 1e-5 and torch.equal(net(y), x)


def test_branches_start_small() -> None:
    torch.manual_seed(0)
    trunk, x = RRDBNet(SMALL).RRDB_trunk, torch.randn(1, 16, 24, 24)
    with torch.inference_mode():
        change = (trunk(x) - 1.2**2 * x).std() / x.std()  # every RRDB adds a fifth of what it passes on
    assert change < 0.05


def test_every_weight_learns() -> None:
    net = RRDBNet(SMALL)
    net(torch.rand(1, 3, 8, 8)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("options", [{"scale": 3}, {"scale": 1}, {"blocks": 0}, {"growth": 0}])
def test_wrong_options(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RRDBNetConfig(**options)


def test_a_wider_network_takes_more_memory() -> None:
    small, wide = (RRDBNet(RRDBNetConfig(c, 1, c // 2)) for c in (16, 64))
    assert 250 < machine.bytes_per_pixel(small) < 400 and 870 < machine.bytes_per_pixel(wide) < 1300


# -- the model around it ---------------------------------------------------------------------------------


def test_one_iterate_and_nothing_found() -> None:
    model = AlternatingSR(AlternatingConfig(restorer=SMALL)).eval()
    assert model.blind and not model.finds_kernel
    y = torch.rand(2, 3, 9, 8)
    result = model(y, 4)
    (iterate,) = result.iterates
    assert torch.equal(result.x, model.restorer(y)) and result.kernel is None and result.sigma is None
    assert iterate.code is None and iterate.doubt is None


def test_what_the_model_refuses() -> None:
    model, y = AlternatingSR(AlternatingConfig(restorer=SMALL)), torch.rand(1, 3, 9, 8)
    with pytest.raises(BlindSRError, match="restores without a kernel; leave the kernel out"):
        model(y, 4, torch.ones(1, 1, 1, 1))
    with pytest.raises(BlindSRError, match="enlarges ×4 only, not ×3; use scale 4"):
        model(y, 3)
    with pytest.raises(BlindSRError, match="restores without a kernel and finds none"):
        model.first_estimate(y, 4)
    basis = KernelBasis(torch.ones(2, 81), torch.ones(81))
    estimator = SpectralConfig(code=2, window=16, hidden=8)
    for config in (
        AlternatingConfig(restorer=SMALL, basis="some"),
        AlternatingConfig(restorer=SMALL, basis="some", initial=estimator),
    ):
        with pytest.raises(BlindSRError, match="uses no kernel; leave initial, estimator and basis out"):
            AlternatingSR(config, basis)


@pytest.mark.parametrize("config", [SMALL, RRDBNetConfig(8, 3, 4, 2)])
@pytest.mark.parametrize("wrapper", ["", "params", "params_ema", "state_dict"])
def test_published_files_load(config: RRDBNetConfig, wrapper: str, tmp_path: Path) -> None:
    weights, path = drawn(config), tmp_path / "net.pth"
    torch.save({wrapper: weights} if wrapper else weights, path)
    checkpoint = checkpoints.load(path)
    assert checkpoint.model.config.restorer == config and "without a kernel" in checkpoint.card["origin"]
    loaded = checkpoint.model.restorer.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.items())
    checkpoints.save(tmp_path / "own.safetensors", checkpoint.model, {})
    assert checkpoints.load(tmp_path / "own.safetensors").model.config == checkpoint.model.config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("RRDB_trunk.1.RDB2.conv3.bias"), "restorer.RRDB_trunk.1.RDB2.conv3.bias is missing"),
        (lambda s: s.update({"conv_body.weight": torch.zeros(1)}), "restorer.conv_body.weight is unexpected"),
        (lambda s: s.update({"conv_first.weight": torch.zeros(16, 12, 3, 3)}), "instead of (16, 3, 3, 3)"),
        (lambda s: s.update({"conv_first.weight": torch.zeros(())}), "resembles RRDBNet, but has another layout"),
        (lambda s: s.pop("HRconv.weight"), "not a USRNet or RRDBNet"),
    ],
)
def test_what_does_not_fit_is_named(change, words: str, tmp_path: Path) -> None:
    weights = drawn(SMALL)
    change(weights)
    torch.save(weights, tmp_path / "net.pth")
    with pytest.raises(BlindSRError) as error:
        checkpoints.load(tmp_path / "net.pth")
    assert words in str(error.value) and "\n" not in str(error.value)


# -- photos ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["reflect", "taper", "circular"])
def test_a_photo_is_what_the_bare_network_makes_of_it(model: BlindSR, pixels: np.ndarray, boundary: str) -> None:
    restored = model.restore(pixels, boundary=boundary)
    assert np.abs(restored.image.astype(int) - whole(model, pixels)).max() <= 1
    assert restored.kernel is None and restored.sigma is None and restored.loops == () and restored.tiles == 1
    assert "without a kernel" in restored.summary()
    record = restored.record()
    assert not {"kernel", "kernel_source", "kernel_width", "sigma_255", "sigma_source", "loops"} & set(record)
    assert list(record["settings"]) == ["precision", "device", "tiles"] and None not in record.values()


def test_alpha_gray_and_sixteen_bits(model: BlindSR, pixels: np.ndarray) -> None:
    assert model.restore(pixels[..., 0]).image.shape == (96, 120)
    rgba = np.dstack([pixels, pixels[..., :1]]).astype(np.uint16)
    assert model.restore(rgba).image.shape == (96, 120, 4)


def test_tiles(model: BlindSR, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 110, 3), np.uint8)
    expected = whole(model, pixels).astype(int)
    tiled = model.restore(pixels, tile=32)
    assert tiled.tiles > 6 and np.abs(tiled.image - expected).mean() < 0.1
    monkeypatch.setattr(machine, "free_memory", lambda device: 60_000_000)
    assert model.restore(pixels).tiles > 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kernel": "gaussian:1.6"}, "model bsr restores without a kernel; leave the kernel out"),
        ({"sigma": 0.01}, "model bsr restores without a noise level; leave sigma out"),
        ({"scale": 3}, "model bsr does not enlarge ×3; use scale 4"),
        ({"boundary": "mirror"}, "boundary 'mirror' is not known"),
    ],
)
def test_what_is_refused(model: BlindSR, pixels: np.ndarray, options: dict, words: str) -> None:
    with pytest.raises(BlindSRError) as error:
        model.restore(pixels, **options)
    assert words in str(error.value)


# -- the command line ------------------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_restore_for_real(published: Path, photo: Path, pixels: np.ndarray, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    options = ["--model", published, "--out", out, "--compare", "--precision", "fp32", "--device", "cpu"]
    assert main([str(v) for v in ("restore", photo, *options)]) == 0
    assert "without a kernel" in capsys.readouterr().out
    assert images.read(out / "photo_x4.png").pixels.shape == (96, 120, 3)
    record = json.loads((out / "photo_x4.json").read_text())
    assert record["model"] == "bsr" and "kernel" not in record and "kernel" not in record["settings"]
    sheet = Image.open(out / "photo_x4_compare.png")
    assert sheet.width < 3 * 120  # before and after, no third panel


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("restore", ["--kernel", "gaussian:1.6"], "restores without a kernel; leave the kernel out"),
        ("restore", ["--sigma", "5"], "restores without a noise level; leave sigma out"),
        ("restore", ["--scale", "3"], "does not enlarge ×3; use scale 4"),
        ("estimate", [], "restores without a kernel and finds none: choose a blind --model, such as tiny"),
    ],
)
def test_the_command_line_says_once_what_it_cannot(
    command: str, options: list[str], words: str, published: Path, photo: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out"
    code = main([str(v) for v in (command, photo, published.parent, "--model", published, "--out", out, *options)])
    lines = capsys.readouterr().err.splitlines()
    assert code == 2 and len(lines) == 1 and words in lines[0] and not out.exists()
