"""Discriminators: what they answer, what a logit sees, and that spectral norm holds."""

import pytest
import torch
from torch import nn

from blindsr import registry
from blindsr.config import ConfigError
from blindsr.training.discriminators.base import Discriminator

NAMES = registry.names("discriminator")


def make(name: str, **options) -> Discriminator:
    torch.manual_seed(0)
    return registry.build(registry.parse_component("discriminator")({"name": name, "channels": 8, **options}, "test"))


def receptive_field(discriminator: Discriminator, size: int) -> tuple[int, int]:
    """Rows and columns of a size×size picture on which the logit in the middle depends."""
    x = torch.rand(1, 3, size, size, requires_grad=True)
    logits = discriminator(x)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    touched = x.grad[0].abs().sum(0) > 0
    return int(touched.any(1).sum()), int(touched.any(0).sum())


def test_both_are_known():
    assert NAMES == ["patchgan", "unet"]


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_the_last_of_the_features(name):
    discriminator = make(name).eval()
    x = torch.rand(2, 3, 37, 45)
    *hidden, logits = discriminator.features(x)
    torch.testing.assert_close(discriminator(x), logits)
    assert logits.shape[:2] == (2, 1)
    assert len(hidden) >= 2 and all(len(h) == 2 and h.shape[1] >= 8 for h in hidden)


@pytest.mark.parametrize("height, width", [(32, 32), (33, 47), (64, 35)])
def test_shapes_at_odd_sizes(height, width):
    x = torch.rand(2, 3, height, width)
    assert make("unet")(x).shape == (2, 1, height, width)
    assert make("patchgan")(x).shape == (2, 1, height // 8 - 2, width // 8 - 2)


@pytest.mark.parametrize("name", NAMES)
def test_smallest_is_the_smallest(name):
    discriminator = make(name)
    side = discriminator.smallest
    assert torch.isfinite(discriminator(torch.rand(1, 3, side, side))).all()
    with pytest.raises(RuntimeError):
        discriminator(torch.rand(1, 3, side - 1, side - 1))


@pytest.mark.parametrize("layers, patch", [(1, 16), (2, 34), (3, 70)])
def test_a_logit_of_patchgan_sees_its_patch(layers, patch):
    """The sizes that Isola et al. give in appendix 6.1.2."""
    assert receptive_field(make("patchgan", layers=layers), 128) == (patch, patch)


def test_a_logit_of_the_unet_sees_the_lowest_resolution():
    """A skip alone would see the nine pixels of head, body and tail; the way down and up sees far more."""
    rows, columns = receptive_field(make("unet"), 96)
    assert 40 <= rows < 96 and 40 <= columns < 96


def test_skips_carry_single_pixels():
    """Most of what moves a logit lies within its reach at full resolution: 4 pixels, by head, body and tail. Without
    skips it would be a fifth."""
    x = torch.rand(4, 3, 96, 96, requires_grad=True)
    make("unet").eval()(x)[:, 0, 48, 48].sum().backward()
    strength = x.grad.square().sum((0, 1))
    assert strength[44:53, 44:53].sum() > 0.8 * strength.sum()


@pytest.mark.parametrize("name", NAMES)
def test_spectral_norm_holds(name):
    """The largest singular value is 1 after some passes, however large the weights beneath have grown."""
    discriminator = make(name).train()
    normal = [m for m in discriminator.modules() if nn.utils.parametrize.is_parametrized(m, "weight")]
    assert len(normal) == {"patchgan": 5, "unet": 8}[name]
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        for conv in normal:
            conv.parametrizations.weight.original.mul_(3)
        for _ in range(60):
            discriminator(x)
        discriminator.eval()
        for conv in normal:
            assert float(torch.linalg.matrix_norm(conv.weight.flatten(1), 2)) == pytest.approx(1, abs=0.02)
            raw = conv.parametrizations.weight.original
            assert float(torch.linalg.matrix_norm(raw.flatten(1), 2)) > 1.5


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_a_batch_do_not_touch(name):
    discriminator = make(name).eval()
    x = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(discriminator(x)[:1], discriminator(x[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"channels": 0}, {"layers": 0}, {"chanels": 8}])
def test_nonsense_is_refused(options):
    with pytest.raises(ConfigError, match="channels"):
        registry.parse_component("discriminator")({"name": "patchgan", **options}, "test")
