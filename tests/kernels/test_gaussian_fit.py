"""The Gaussian that a kernel nearly is."""

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from blindsr.kernels.defocus import disk
from blindsr.kernels.distance import kernel_distance
from blindsr.kernels.gaussian import gaussian, gaussians
from blindsr.kernels.gaussian_fit import nearest_gaussian
from blindsr.kernels.motion import MotionKernels, MotionKernelsConfig

WIDTHS = [(0.3, 0.3, 0), (0.5, 0.4, 0.2), (1, 0.4, 0.3), (2, 2, 0), (3.5, 0.7, 1), (0.3, 3.4, 0.8), (3.5, 3.5, 0)]
SHAKE = MotionKernels(MotionKernelsConfig()).sample(1, np.random.default_rng(3))[0]


def test_gaussians_are_their_own(size=25):
    k = torch.from_numpy(np.stack([gaussian(size, *w) for w in WIDTHS])).float()[:, None]
    assert (kernel_distance(nearest_gaussian(k), k) < 1e-4).all()
    wide = torch.from_numpy(gaussian(size, 1.3, 0.9, 0.4))[None, None, 2:-2]  # not square
    assert kernel_distance(nearest_gaussian(wide), wide).item() < 1e-4


def test_noise_on_the_taps_goes():
    """Narrow ones lose a third of their sum to it."""
    rng = np.random.default_rng(0)
    k = torch.from_numpy(np.stack([gaussian(25, *w) for w in WIDTHS]))[:, None]
    noisy = k + 0.002 * k.amax((2, 3), keepdim=True) * torch.from_numpy(rng.random(k.shape))
    noisy = noisy / noisy.sum((2, 3), keepdim=True)
    assert (kernel_distance(nearest_gaussian(noisy), k) < 0.01).all()


@pytest.mark.parametrize("other", [disk(25, 2.5), SHAKE])
def test_no_gaussian_is_nearer(other):
    """Against scipy's least squares, started nearby, in widths and an angle."""
    k = torch.from_numpy(np.asarray(other, np.float64))[None, None]
    g = nearest_gaussian(k)
    ours = kernel_distance((g * k).sum() / (g * g).sum() * g, k).item()

    def missed(p: np.ndarray) -> np.ndarray:
        g = gaussians(25, np.exp(p[:1]), np.exp(p[1:2]), p[2:])[0]
        return ((g * other).sum() / (g * g).sum() * g - other).ravel()

    starts = [(0.5, 0.5, 0.1), (1.2, 0.2, 0.8), (1.2, 0.2, -0.8), (1.2, 0.2, 1.6)]
    best = min(least_squares(missed, s).cost for s in starts)
    assert ours <= np.sqrt(2 * best) / k.norm().item() * 1.001
