"""The estimator that sees edges beside the spectrum: any size, any scale, and a half-turn that it can tell."""

import pytest
import torch

from blindsr.estimators.convolutional import ConvolutionalConfig, ConvolutionalEstimator
from blindsr.estimators.spectral import VIEWS
from blindsr.interfaces import SCALES
from blindsr.ops.filtering import blur, luma

SMALL = ConvolutionalConfig(head="softmax", code=5, size=9, window=16, hidden=8, channels=(4, 6, 8), blocks=(1, 1, 2), heads=2)


def make(**changes) -> ConvolutionalEstimator:
    torch.manual_seed(0)
    return ConvolutionalEstimator(ConvolutionalConfig(**{**vars(SMALL), **changes}))


@pytest.mark.parametrize("size", [(5, 7), (16, 16), (15, 80), (65, 47)])
@pytest.mark.parametrize("head", ["softmax", "pca"])
def test_any_size_and_scale(size, head):
    estimator = make(head=head).eval()
    for scale in SCALES:
        estimate = estimator(None, torch.rand(2, 3, *size), scale)
        answer = estimate.kernel if head == "softmax" else estimate.code
        assert torch.isfinite(answer).all() and (estimate.sigma >= 0).all() and (estimate.doubt >= 0).all()
        assert answer.shape == ((2, 1, 9, 9) if head == "softmax" else (2, 5))


def test_flat_and_dark_photos_are_finite():
    estimator = make().eval()
    for level in (0.0, 0.5):
        y = torch.full((1, 3, 32, 32), level)
        assert torch.isfinite(estimator.others(y, torch.eye(4)[:1])[0]).all()


def test_brightness_and_contrast_hardly_count():
    """What edges look like does not depend on how strong they are."""
    estimator, which = make().eval(), torch.eye(4)[1:2]
    y = torch.rand(1, 3, 40, 40) * 0.5 + 0.2
    one, other = (estimator.others(t, which)[0] for t in (y, 1.5 * y + 0.1))
    torch.testing.assert_close(one, other, atol=0.05, rtol=0)


def test_a_kernel_and_its_half_turn_look_different():
    """Which the spectrum cannot tell."""
    estimator, which = make().eval(), torch.eye(4)[:1]
    k = torch.zeros(1, 1, 9, 9)
    k[..., 4, 2:7] = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
    x = (torch.rand(1, 1, 24, 24) > 0.8).float().repeat(1, 3, 1, 1)
    y, turned = blur(x, k), blur(x, k.flip(-1, -2))
    assert not torch.allclose(estimator.others(y, which)[0], estimator.others(turned, which)[0], atol=0.02)
    spectra = [estimator.spectra(estimator.windows(torch.cat([luma(t)] * 3, 1))) for t in (x, x.flip(-1, -2))]
    torch.testing.assert_close(*spectra, atol=0.2, rtol=0.05)


def test_one_look_while_it_learns():
    estimator = make().train()
    looks = []
    estimator.pooled.register_forward_hook(lambda *_: looks.append(1))
    estimator(None, torch.rand(1, 3, 32, 32), 2)
    estimator.eval()(None, torch.rand(1, 3, 32, 32), 2)
    assert len(looks) == 1 + len(VIEWS)
