"""USRNet against the published outputs, and at awkward sizes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from blindsr import checkpoints
from blindsr.restorers.resunet import ResUNet
from blindsr.restorers.usrnet import HyperNet, USRNet, USRNetConfig

TINY = USRNetConfig(n_iterations=6, channels=(16, 32, 64, 64), hidden=32)


def uniform_kernel(size: int) -> torch.Tensor:
    return torch.full((1, 1, size, size), 1 / size**2)


@pytest.mark.parametrize("config, count", [(USRNetConfig(), 17_016_016), (TINY, 590_332)])
def test_published_sizes(config, count):
    assert sum(p.numel() for p in USRNet(config).parameters()) == count


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-4), (torch.float64, 1e-6)])
def test_published_outputs(dtype, tolerance, published):
    golden = np.load("tests/data/usrnet_tiny_official.npz")
    restorer = checkpoints.load(published("usrnet_tiny.pth")).model.restorer.to(dtype)
    for case in range(4):
        lr, k, expected = (torch.from_numpy(golden[f"case{case}_{n}"]).to(dtype) for n in ("lr", "kernel", "sr"))
        sigma = torch.tensor([float(golden[f"case{case}_sigma"])], dtype=dtype)
        with torch.inference_mode():
            sr = restorer(lr, k, sigma, int(golden[f"case{case}_scale"]))
        assert (sr - expected).abs().max() <= tolerance


@pytest.fixture(scope="module")
def small() -> USRNet:
    torch.manual_seed(0)
    return USRNet(USRNetConfig(n_iterations=2, channels=(8, 8), hidden=8)).eval()


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(19, 23), (16, 31), (40, 36)])
def test_odd_and_prime_sizes(small, scale, size):
    y = torch.rand(1, 3, *size)
    with torch.inference_mode():
        x = small(y, uniform_kernel(5), torch.zeros(1), scale)
    assert x.shape == (1, 3, size[0] * scale, size[1] * scale)
    assert torch.isfinite(x).all()


def test_kernels_up_to_71(small):
    with torch.inference_mode():
        x = small(torch.rand(1, 3, 40, 37), uniform_kernel(71), torch.full((1,), 0.01), 2)
    assert torch.isfinite(x).all()


def test_iterations_can_run_in_pieces(small):
    """x after iterations 0…1 at once is x after 0, carried on through 1."""
    y, k, sigma = torch.rand(2, 3, 12, 14), uniform_kernel(3).expand(2, 1, 3, 3), torch.tensor([0.0, 0.05])
    with torch.inference_mode():
        whole = small(y, k, sigma, 2)
        half = small(y, k, sigma, 2, iterations=range(1))
        carried = small(y, k, sigma, 2, x0=half, iterations=range(1, 2))
    torch.testing.assert_close(carried, whole)
    assert not torch.equal(half, whole)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fold", [1, 2])
def test_the_prior_starts_near_the_identity(seed, fold):
    """Before any training the prior passes a picture on: it must not scramble what the data step found."""
    torch.manual_seed(seed)
    prior = USRNet(replace(TINY, fold=fold)).prior
    rows, cols = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    x = (0.5 + 0.3 * torch.sin(rows / 5) * torch.cos(cols / 7)).expand(1, 3, 32, 32)
    with torch.inference_mode():
        passed = prior(torch.cat([x, torch.full((1, 1, 32, 32), 0.05)], dim=1))
    assert torch.corrcoef(torch.stack([passed[0, 1].flatten(), x[0, 1].flatten()]))[0, 1] > 0.9


def test_data_step_stays_float32_under_autocast(small):
    """bfloat16 in the prior must cost little: the FFTs keep full precision."""
    y, k = torch.rand(1, 3, 16, 16), uniform_kernel(5)
    with torch.inference_mode():
        exact = small(y, k, torch.zeros(1), 2)
        with torch.autocast("cpu", torch.bfloat16):
            fast = small(y, k, torch.zeros(1), 2)
    assert fast.dtype == torch.float32
    assert (fast - exact).abs().max() < 0.05


def test_a_folded_prior_works_on_blocks_of_pixels():
    """A quarter of the pixels inside, any size outside; and every pixel comes back to where it was."""
    torch.manual_seed(0)
    prior = ResUNet(4, 3, (12, 16), fold=2)
    prior.start_as_identity()
    prior.up[0][0].weight.data.zero_()  # what is left is the way through head and tail
    for block in prior.up[0][1:]:
        block.conv2.weight.data.zero_()
    seen = []
    prior.head.register_forward_hook(lambda module, given, made: seen.append((tuple(given[0].shape), tuple(made.shape))))
    x = torch.rand(2, 4, 18, 21)
    with torch.inference_mode():
        passed = prior(x)
    assert seen == [((2, 16, 10, 12), (2, 12, 10, 12))]  # 20 × 24, in blocks of 2×2
    assert torch.allclose(passed, x[:, :3], atol=1e-6)


def test_a_fold_needs_its_channels():
    with pytest.raises(ValueError, match="at least 12 channels"):
        USRNetConfig(channels=(8, 16), fold=2)


def test_logarithmic_hyper_parameters_tell_small_noise_levels_apart():
    """As published, σ of 0 and of 0.3 make one α; on a logarithmic scale they lie as far apart as 2 and 10."""

    def alphas(logarithmic: bool) -> torch.Tensor:
        torch.manual_seed(0)
        hyper = HyperNet(6, 32, logarithmic=logarithmic)
        levels = torch.tensor([0.0, 0.3, 2.0, 10.0]) / 255
        return hyper(torch.stack([levels, torch.full_like(levels, 2.0)], dim=1)).log().detach()

    def apart(answers: torch.Tensor) -> float:
        return float((answers[1] - answers[0]).norm() / (answers[3] - answers[2]).norm())

    assert apart(alphas(False)) < 0.05
    assert 0.5 < apart(alphas(True)) < 2


@pytest.mark.parametrize("logarithmic", [False, True])
def test_first_guess_of_the_hyper_parameters(logarithmic):
    hyper = HyperNet(3, 16, logarithmic=logarithmic)
    hyper.start_small()
    hyper.mlp[-1].weight.data.zero_()
    alpha, beta = hyper(torch.tensor([[0.05, 3.0]])).chunk(2, dim=1)
    torch.testing.assert_close(alpha, torch.full((1, 3), 0.01), rtol=1e-3, atol=0)
    torch.testing.assert_close(beta, torch.full((1, 3), 0.05), rtol=1e-3, atol=0)
