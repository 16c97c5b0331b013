"""The perceptual loss: VGG-19 as torchvision writes it, its layers, and files that do not fit."""

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from blindsr.interfaces import BlindSRError
from blindsr.training.perceptual import DEVIATION, LAYERS, MEAN, PerceptualLoss

# Number of the module -> channels out and in, of torchvision's vgg19().features; written out, not asked of the code.
CONVOLUTIONS = {
    0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128),
    10: (256, 128), 12: (256, 256), 14: (256, 256), 16: (256, 256),
    19: (512, 256), 21: (512, 512), 23: (512, 512), 25: (512, 512),
    28: (512, 512), 30: (512, 512), 32: (512, 512), 34: (512, 512),
}  # fmt: skip
POOLS = {4, 9, 18, 27}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for number, (outside, inside) in CONVOLUTIONS.items():
        weight = torch.randn(outside, inside, 3, 3, generator=generator)
        tensors[f"features.{number}.weight"] = weight * (2 / (9 * inside)) ** 0.5
        tensors[f"features.{number}.bias"] = 0.1 * torch.randn(outside, generator=generator)
    return tensors | {"classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(state, path)
    yield path
    path.unlink()  # 80 MB


@pytest.fixture(scope="module")
def loss(file) -> PerceptualLoss:
    return PerceptualLoss(file)


def features(state, x: torch.Tensor) -> dict[int, torch.Tensor]:
    """Every convolution's output, before its activation."""
    x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
    found = {}
    for number in range(35):
        if number in CONVOLUTIONS:
            x = found[number] = F.conv2d(x, state[f"features.{number}.weight"], state[f"features.{number}.bias"], 1, 1)
        else:
            x = F.max_pool2d(x, 2) if number in POOLS else x.relu()
    return found


def test_the_layers_and_weights_of_bsrgan(state, loss):
    """Modules 2, 7, 16, 25 and 34 of torchvision's, which are convolutions, weighted 0.1, 0.1, 1, 1, 1."""
    a, b = torch.rand(2, 1, 3, 32, 40)
    of_a, of_b = features(state, a), features(state, b)
    weights = {2: 0.1, 7: 0.1, 16: 1.0, 25: 1.0, 34: 1.0}
    by_hand = sum(weight * (of_a[number] - of_b[number]).abs().mean() for number, weight in weights.items())
    torch.testing.assert_close(loss(a, b), by_hand, rtol=1e-4, atol=1e-5)
    assert min(f.min() for f in loss.features(a)) < 0, "an activation would have left nothing below 0"


def test_identical_pictures_are_at_no_distance(loss):
    x = torch.rand(2, 3, 33, 21)
    assert loss(x, x) == 0
    assert loss(x, x + 0.05) > 0.01


def test_gradients_reach_the_picture_alone(loss):
    x, reference = (torch.rand(1, 3, 16, 16, requires_grad=True) for _ in range(2))
    loss(x, reference).backward()
    assert x.grad.abs().max() > 0 and reference.grad is None
    assert all(not p.requires_grad and p.grad is None for p in loss.parameters())


def test_it_stays_frozen(loss):
    parent = torch.nn.ModuleList([loss]).train()
    assert parent.training and not any(module.training for module in loss.modules())


def test_fewer_layers_need_less_of_the_network(state, file):
    loss = PerceptualLoss(file, {"conv2_1": 2.0})
    assert len(loss.network) == 6
    a, b = torch.rand(2, 1, 3, 16, 16)
    torch.testing.assert_close(loss(a, b), 2 * F.l1_loss(features(state, a)[5], features(state, b)[5]))


def test_safetensors_are_read_too(state, tmp_path):
    path = tmp_path / "vgg19.safetensors"
    shallow = {k: v.half() for k, v in state.items() if k.split(".")[1] in ("0", "2")}
    safetensors.torch.save_file(shallow, path)
    loss = PerceptualLoss(path, {"conv1_2": 1.0})
    torch.testing.assert_close(loss.network[2].weight, shallow["features.2.weight"].float())


def refused(path, match: str) -> None:
    with pytest.raises(BlindSRError, match=match) as error:
        PerceptualLoss(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_missing_file(tmp_path):
    refused(tmp_path / "vgg19.pth", "no such file")
    refused(tmp_path, "no such file")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file(suffix, tmp_path):
    path, small = tmp_path / f"vgg19{suffix}", {"features.0.weight": torch.zeros(64, 3, 3, 3)}
    (torch.save if suffix == ".pth" else safetensors.torch.save_file)(small, path)
    path.write_bytes(path.read_bytes()[:-2000])
    refused(path, "not a readable")


def test_misnamed_tensors(state, tmp_path):
    path = tmp_path / "vgg19.pth"
    torch.save({k.replace("features.", "conv."): v for k, v in state.items() if k.endswith("bias")}, path)
    refused(path, r"lacks features\.0\.weight; name torchvision's vgg19")


def test_another_network(tmp_path):
    """The names of VGG-19, but not its shapes."""
    path = tmp_path / "vgg19.pth"
    names = [f"features.{number}.{kind}" for number in CONVOLUTIONS for kind in ("weight", "bias")]
    torch.save({name: torch.zeros(4) for name in names}, path)
    refused(path, "other shapes")


def test_the_layers_named_are_those_documented():
    assert list(LAYERS) == ["conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4"]
