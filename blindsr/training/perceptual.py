"""The perceptual loss: distance between the features that VGG-19 sees in two pictures.

Johnson et al., "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016; taken before the
activation as in ESRGAN (Wang et al., ECCVW 2018, section 3.3), where features are dense and keep the brightness. The
network is configuration E of Simonyan and Zisserman, ICLR 2015. Its weights do not come with this package: the user
names a file of them with torchvision's names (``features.0.weight`` …), as torchvision publishes one for ImageNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blindsr.interfaces import BlindSRError
from blindsr.published import read_pth

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels, convolutions; a pooling ends each block
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB
LAYERS = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}
"""The weights with which BSRGAN was trained."""
SMALLEST = 16  # pixels a side: four poolings before the last layer
CURE = "name torchvision's vgg19 state_dict (.pth or .safetensors), or leave vgg empty to match features instead"


def vgg19() -> tuple[list[nn.Module], dict[str, int]]:
    """The convolutional part of VGG-19, in the order of torchvision, and where in it each convolution stands, by
    its name: ``conv5_4`` at 34, say, and its activation at 35."""
    modules: list[nn.Module] = []
    places: dict[str, int] = {}
    channels = 3
    for block, (width, count) in enumerate(BLOCKS, 1):
        for i in range(1, count + 1):
            places[f"conv{block}_{i}"] = len(modules)
            modules += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        modules.append(nn.MaxPool2d(2))
    return modules, places


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a .pth or .safetensors file. Raises BlindSRError if there are none to be had."""
    if not file.is_file():
        raise BlindSRError(f"{file}: no such file of VGG-19 weights; {CURE}")
    if file.suffix != ".safetensors":
        return read_pth(file)
    try:
        return safetensors.torch.load_file(file)
    except (safetensors.SafetensorError, OSError, ValueError):
        raise BlindSRError(f"{file}: not a readable safetensors file, or cut short; fetch it again") from None


class PerceptualLoss(nn.Module):
    """Σ_l w_l · mean |φ_l(x) − φ_l(reference)|, φ_l being a convolution of VGG-19 before its activation.

    ``file`` holds the weights; ``layers`` gives the w_l by the convolutions' names, ``conv1_1`` to ``conv5_4``.
    Raises BlindSRError for a file that is missing, cut short, or of another network. The network is frozen and
    stays in evaluation mode.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, file: str | Path, layers: Mapping[str, float] = LAYERS):
        super().__init__()
        modules, places = vgg19()
        self.weights = {places[name]: weight for name, weight in layers.items()}
        self.network = nn.Sequential(*modules[: max(self.weights) + 1])
        self._load(Path(file))
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def _load(self, file: Path) -> None:
        given = read_weights(file)
        wanted = {name: f"features.{name}" for name in self.network.state_dict()}
        if missing := [key for key in wanted.values() if key not in given]:
            raise BlindSRError(f"{file}: not VGG-19, it lacks {missing[0]}; {CURE}")
        try:
            self.network.load_state_dict({name: given[key] for name, key in wanted.items()})
        except RuntimeError:
            raise BlindSRError(f"{file}: not VGG-19, its layers have other shapes; {CURE}") from None

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Evaluation mode, whatever is asked for."""
        return super().train(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """φ_l of ``x`` for every layer that counts, from the first to the last."""
        x = (x - self.mean) / self.deviation
        found = []
        for place, module in enumerate(self.network):
            x = module(x)
            if place in self.weights:
                found.append(x)
        return found

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """The distance of ``x`` from ``reference``, both (B, 3, H, W), RGB in [0, 1] and at least SMALLEST pixels a
        side; ``reference`` gets no gradient."""
        with torch.no_grad():
            wanted = self.features(reference)
        terms = zip(sorted(self.weights), self.features(x), wanted)
        return torch.stack([self.weights[place] * F.l1_loss(a.float(), b.float()) for place, a, b in terms]).sum()
