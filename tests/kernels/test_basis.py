from __future__ import annotations

import numpy as np
import pytest
import torch

from blindsr.interfaces import BlindSRError
from blindsr.kernels.basis import KernelBasis, fit_size
from blindsr.kernels.gaussian import GaussianKernels, GaussianKernelsConfig, gaussian


@pytest.fixture(scope="module")
def kernels() -> np.ndarray:
    return GaussianKernels(GaussianKernelsConfig(size=15, width=(0.8, 2.5))).sample(3000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def basis(kernels) -> KernelBasis:
    return KernelBasis.fit(kernels, 30)


def test_components_are_orthonormal(basis):
    assert basis.m == 30 and basis.size == 15
    assert torch.allclose(basis.components @ basis.components.T, torch.eye(30), atol=1e-5)


def test_round_trip(basis, kernels):
    k = torch.from_numpy(kernels[:50, None])
    assert (basis.decode(basis.encode(k)) - k).abs().max() < 1e-3
    code = 0.01 * torch.randn(8, 30, generator=torch.Generator().manual_seed(0))
    linear = (basis.mean + code @ basis.components).view(8, 1, 15, 15)
    assert torch.allclose(basis.encode(linear), code, atol=1e-5)


def test_the_mean_has_a_code_of_zeros(basis, kernels):
    assert basis.encode(torch.from_numpy(kernels.mean(0)[None, None])).abs().max() < 1e-5
    assert torch.allclose(basis.decode(torch.zeros(1, 30)), basis.mean.clamp(min=0).view(1, 1, 15, 15), atol=1e-5)


@pytest.mark.parametrize("size", [0.0, 0.1, 3.0, 1e4])
def test_every_code_gives_a_valid_kernel(basis, size):
    code = size * torch.randn(64, 30, generator=torch.Generator().manual_seed(1))
    k = basis.decode(code)
    assert k.isfinite().all() and k.min() >= 0
    assert torch.allclose(k.sum((1, 2, 3)), torch.ones(64), atol=1e-5)


def test_nothing_positive_left_gives_the_mean():
    basis = KernelBasis(torch.ones(1, 9) / 3, torch.full((9,), 1 / 9))
    code = torch.tensor([[-10.0]], requires_grad=True)
    k = basis.decode(code)
    assert torch.allclose(k, torch.full((1, 1, 3, 3), 1 / 9))
    k.square().sum().backward()
    assert code.grad.isfinite().all()


def test_decode_passes_gradients(basis):
    code = basis.encode(torch.from_numpy(gaussian(15, 1.2)).float()[None, None]).requires_grad_()
    basis.decode(code)[0, 0, 7, 7].backward()
    assert code.grad.abs().max() > 1e-3


def test_mismatches_are_readable(basis):
    with pytest.raises(BlindSRError, match="15×15"):
        basis.encode(torch.zeros(1, 1, 21, 21))
    with pytest.raises(BlindSRError, match="30 components"):
        basis.decode(torch.zeros(1, 10))
    with pytest.raises(BlindSRError, match="do not belong"):
        KernelBasis(np.zeros((3, 9)), np.zeros(25))
    with pytest.raises(BlindSRError, match="fit a longer one"):
        basis.truncated(31)


def test_fit_asks_for_possible_numbers(kernels):
    with pytest.raises(BlindSRError, match="ask for fewer"):
        KernelBasis.fit(kernels, 226)


def test_truncated(basis):
    short = basis.truncated(4)
    assert short.m == 4 and torch.equal(short.components, basis.components[:4])


@pytest.mark.parametrize("dtype, tolerance", [("float32", 0), ("float16", 5e-4)])
def test_save_and_load(basis, tmp_path, dtype, tolerance):
    path = tmp_path / "new" / "b.npz"
    basis.save(path, {"seed": 3}, dtype)
    again = KernelBasis.load(path)
    assert (again.components - basis.components).abs().max() <= tolerance
    assert torch.equal(again.mean, basis.mean) and again.record == {"seed": 3}
    assert [p.name for p in path.parent.iterdir()] == ["b.npz"]


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(BlindSRError, match="gone.npz: no such"):
        KernelBasis.load(tmp_path / "gone.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nonsense")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", components=np.array([{}]), mean=np.zeros(9))
    np.savez(tmp_path / "shapes.npz", components=np.zeros((2, 9)), mean=np.zeros(25))
    for name in ("bad", "other", "pickled", "shapes"):
        with pytest.raises(BlindSRError, match=f"{name}.npz: not a kernel basis") as caught:
            KernelBasis.load(tmp_path / f"{name}.npz")
        assert "\n" not in str(caught.value)


def test_fit_size_pads_and_crops_about_the_centre():
    k = gaussian(15, 1.0)
    grown = fit_size(k, 25)
    assert grown.shape == (25, 25) and grown[12, 12] == k[7, 7] and grown.sum() == pytest.approx(1)
    assert np.array_equal(fit_size(grown, 15), k)
    wide = np.zeros((3, 31))
    wide[1, 15], wide[1, 0] = 0.9999, 0.0001
    cropped = fit_size(wide, 25)
    assert cropped[12, 12] == pytest.approx(1) and cropped.sum() == pytest.approx(1)


def test_fit_size_refuses_to_cut():
    with pytest.raises(BlindSRError, match="cut off"):
        fit_size(gaussian(25, 4.0), 11)
    with pytest.raises(BlindSRError, match="zeros"):
        fit_size(np.zeros((5, 5)), 3)
