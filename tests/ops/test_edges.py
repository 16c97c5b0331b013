"""Smoothing that keeps edges alone."""

import torch

from blindsr.ops.edges import l0_smooth
from blindsr.ops.filtering import blur


def steps(noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two grays, and the same with noise."""
    x = torch.full((1, 1, 48, 60), 0.3)
    x[..., 12:36, 15:45] = 0.7
    return x, x + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def test_noise_goes_and_edges_stay():
    x, noisy = steps(0.03)
    smooth = l0_smooth(noisy, 0.01)
    assert (smooth - x).square().mean() < 0.1 * (noisy - x).square().mean()
    assert (smooth[..., 20, 16] - smooth[..., 20, 13]).item() > 0.35


def test_a_soft_edge_gets_steeper():
    """The tails of a blurred edge are flattened, so all of its contrast lies in the middle."""
    at = torch.arange(60.0)
    row = torch.sigmoid((at - 15) / 2) - torch.sigmoid((at - 45) / 2)
    x = row.expand(1, 1, 54, -1)
    smooth = l0_smooth(x, 0.004)
    assert smooth.diff(dim=-1).abs().max() > 1.1 * x.diff(dim=-1).abs().max()
    assert smooth[..., 15:20].amax() > x[..., 15:20].amax() + 0.02


def test_more_strength_leaves_fewer_edges():
    x = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(1))
    edges = [(l0_smooth(x, s).diff(dim=-1).abs() > 0.02).float().mean() for s in (1e-5, 1e-2, 1.0)]
    assert edges[0] > edges[1] > edges[2]
    torch.testing.assert_close(l0_smooth(x, 1e-9), x, atol=1e-3, rtol=0)


def test_it_belongs_to_every_picture_alone_and_keeps_its_mean():
    x = torch.rand(2, 1, 31, 44, generator=torch.Generator().manual_seed(2))
    both = l0_smooth(x, 0.004)
    torch.testing.assert_close(both[1:], l0_smooth(x[1:], 0.004))
    torch.testing.assert_close(both.mean((-2, -1)), x.mean((-2, -1)))


def test_of_a_blurred_picture_the_sharp_one():
    x, _ = steps()
    k = torch.full((1, 1, 5, 5), 1 / 25)
    y = blur(x, k)
    with_kernel, without = l0_smooth(y, 1e-3, k), l0_smooth(y, 1e-3)
    assert (with_kernel - x).square().mean() < 0.1 * (without - x).square().mean()
