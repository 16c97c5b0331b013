from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from blindsr.interfaces import BlindSRError
from blindsr.kernels.bicubic import bicubic_kernel
from blindsr.kernels.defocus import disk
from blindsr.kernels.files import parse_kernel, tidy
from blindsr.kernels.gaussian import gaussian
from blindsr.kernels.motion import linear_motion, shake_motion

K = np.array([[0, 1, 0], [2, 4, 3], [0, 1, 1]], np.float64)


def complaint(text: str, scale: int = 2) -> str:
    with pytest.raises(BlindSRError) as caught:
        parse_kernel(text, scale)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_words():
    assert np.allclose(parse_kernel("gaussian:1.6", 2), gaussian(25, 1.6))
    assert np.allclose(parse_kernel(" Gaussian:3.0, 1.2, 30 ", 2), gaussian(25, 3.0, 1.2, np.pi / 6))
    assert np.allclose(parse_kernel("gaussian:2,1", 2), gaussian(25, 2, 1))
    assert np.allclose(parse_kernel("motion:15,30", 2), linear_motion(25, 15, np.pi / 6))
    assert np.array_equal(parse_kernel("disk:2.5", 2), disk(25, 2.5))
    assert np.array_equal(parse_kernel("motion:seed=3", 2), shake_motion(25, 3))
    for scale in (1, 2, 3, 4):
        assert np.array_equal(parse_kernel("bicubic", scale), bicubic_kernel(scale))


def test_wide_words_get_a_larger_kernel():
    k = parse_kernel("gaussian:8", 2)
    assert k.shape[0] % 2 == 1 and k.shape[0] > 50 and k[0, k.shape[0] // 2] < 3e-3 * k.max()
    k = parse_kernel("motion:40,90", 2)
    assert k.shape[0] >= 41 and k.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "text, part",
    [
        ("gausian:1.6", "did you mean 'gaussian'"),
        ("gaussian", "write gaussian:WIDTH"),
        ("gaussian:", "write gaussian:WIDTH"),
        ("gaussian:0", "must be positive"),
        ("gaussian:nan", "not finite"),
        ("gaussian:1,2,3,4", "4 numbers"),
        ("gaussian:900", "too wide"),
        ("gaussian:3,1e308", "too wide"),
        ("disk", "write disk:RADIUS"),
        ("disk:-2", "at least 0.1"),
        ("disk:500", "too wide"),
        ("motion:a,b", "not a list of numbers"),
        ("motion:-4,0", "does not fit"),
        ("motion:1e9,0", "too long"),
        ("motion:seed=x", "not a seed"),
        ("bicubic:3", "write bicubic"),
        ("", "neither a file"),
        ("bicubic:", "not understood; write bicubic"),
        ("no/such.npy", "no such kernel file"),
        ("photo.jpg", "ends in .png, .npy or .mat"),
    ],
)
def test_wrong_words(text, part):
    assert part in complaint(text)


def test_bicubic_needs_a_scale_of_ours():
    assert "scale 7" in complaint("bicubic", 7)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int64])
def test_npy(tmp_path, dtype):
    np.save(tmp_path / "k.npy", K.astype(dtype))
    k = parse_kernel(str(tmp_path / "k.npy"), 2)
    assert k.dtype == np.float64 and np.allclose(k, K / 12)


def test_npy_with_extra_axes_and_stacks(tmp_path):
    np.save(tmp_path / "k.npy", K[None, None])
    assert np.allclose(parse_kernel(str(tmp_path / "k.npy"), 2), K / 12)
    np.save(tmp_path / "stack.npy", np.stack([K, K.T]))
    assert np.allclose(parse_kernel(f"{tmp_path}/stack.npy#2", 2), K.T / 12)
    assert "#1 … stack.npy#2" in complaint(f"{tmp_path}/stack.npy")
    np.save(tmp_path / "batch.npy", np.stack([K, K.T])[:, None])  # (n, 1, h, w), as networks have them
    assert np.allclose(parse_kernel(f"{tmp_path}/batch.npy#2", 2), K.T / 12)
    rows = np.ones((12, 1, 7))  # of a single row each
    np.save(tmp_path / "rows.npy", rows)
    assert parse_kernel(f"{tmp_path}/rows.npy#12", 2).shape == (1, 7)
    np.save(tmp_path / "batch.npy", rows[:, None])
    assert parse_kernel(f"{tmp_path}/batch.npy#12", 2).shape == (1, 7)
    savemat(tmp_path / "columns.mat", {"k": rows.transpose(2, 1, 0)})
    assert parse_kernel(f"{tmp_path}/columns.mat#12", 2).shape == (7, 1)
    np.save(tmp_path / "row.npy", np.ones((1, 1, 1, 7)))
    assert parse_kernel(f"{tmp_path}/row.npy", 2).shape == (1, 7)
    np.save(tmp_path / "last.npy", K[..., None])
    assert np.allclose(parse_kernel(f"{tmp_path}/last.npy", 2), K / 12)
    np.save(tmp_path / "one.npy", K[None, None])
    assert np.allclose(parse_kernel(f"{tmp_path}/one.npy", 2), K / 12)


def test_negative_taps_are_kept(tmp_path):
    np.save(tmp_path / "k.npy", bicubic_kernel(3))
    assert np.allclose(parse_kernel(str(tmp_path / "k.npy"), 3), bicubic_kernel(3))


def test_even_sizes_are_padded_at_the_bottom_and_right(tmp_path):
    k = np.zeros((4, 6))
    k[2, 3] = 5
    np.save(tmp_path / "k.npy", k)
    padded = parse_kernel(str(tmp_path / "k.npy"), 2)
    assert padded.shape == (5, 7) and padded[2, 3] == 1


@pytest.mark.parametrize("depth", [8, 16])
def test_gray_png(tmp_path, depth):
    values = np.round(K / K.max() * (2**depth - 1)).astype(f"uint{depth}")
    Image.fromarray(values).save(tmp_path / "k.png")
    assert np.allclose(parse_kernel(str(tmp_path / "k.png"), 2), K / 12, atol=2e-3)


def test_colour_png_is_read_as_gray(tmp_path):
    values = np.repeat((K * 60)[..., None], 3, -1).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "k.png")
    assert np.allclose(parse_kernel(str(tmp_path / "k.png"), 2), K / 12, atol=1e-3)


def test_mat(tmp_path):
    path = tmp_path / "k.mat"
    savemat(path, {"kernel": K, "scale": 2.0})
    assert np.allclose(parse_kernel(str(path), 2), K / 12)
    cells = np.empty((1, 3), object)
    cells[0] = [K, K.T, np.eye(4)]
    savemat(path, {"kernels": cells})
    assert "holds 3 kernels, the first 3×3; choose one, as k.mat#1 … k.mat#3" in complaint(str(path))
    assert np.allclose(parse_kernel(f"{path}#2", 2), K.T / 12)
    assert parse_kernel(f"{path}#3", 2).shape == (5, 5)
    assert "no kernel #4" in complaint(f"{path}#4")
    assert "no kernel #0" in complaint(f"{path}#0")
    savemat(path, {"kernels": np.stack([K, K.T], axis=-1)})
    assert np.allclose(parse_kernel(f"{path}#2", 2), K.T / 12)
    savemat(path, {"note": "nothing here"})
    assert "holds no kernel" in complaint(str(path))


@pytest.mark.parametrize(
    "array, part",
    [
        (np.full((3, 3), np.nan), "NaN"),
        (np.full((3, 3), np.inf), "NaN"),
        (np.zeros((3, 3)), "positive sum"),
        (-K, "positive sum"),
        (np.array([[1.0, -1.0, 1e-9]]), "positive sum"),
        (np.zeros((0, 3)), "not a kernel"),
        (np.array([["a"]]), "not a kernel"),
        (np.ones((300, 300)), "is it a photo, or a plot?"),
        (np.ones(7), "two dimensions"),
        (np.ones((2, 2, 3, 3)), "two dimensions"),
    ],
)
def test_arrays_that_are_no_kernels(tmp_path, array, part):
    np.save(tmp_path / "k.npy", array)
    message = complaint(str(tmp_path / "k.npy"))
    assert part in message and "k.npy" in message


@pytest.mark.parametrize("suffix", ["png", "npy", "mat"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 200, b"\x93NUMPY\x01\x00v", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_broken_files(tmp_path, suffix, content):
    path = tmp_path / f"k.{suffix}"
    path.write_bytes(content)
    message = complaint(str(path))
    assert str(path) in message and ("not a readable" in message or "holds no kernel" in message)


def test_truncated_and_wrong_files(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (99, 99), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "k.png")
    (tmp_path / "k.png").write_bytes((tmp_path / "k.png").read_bytes()[:2000])
    assert "not a readable .png" in complaint(str(tmp_path / "k.png"))
    np.save(tmp_path / "p.npy", np.array([{}], object), allow_pickle=True)
    assert "not a readable .npy" in complaint(str(tmp_path / "p.npy"))
    Image.new("L", (4000, 3000)).save(tmp_path / "photo.png")
    assert "3000×4000" in complaint(str(tmp_path / "photo.png"))
    (tmp_path / "folder.npy").mkdir()
    assert "no such kernel file" in complaint(str(tmp_path / "folder.npy"))
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x00" * 600)
    assert "'-v7'" in complaint(str(tmp_path / "new.mat"))


def test_tensors_are_kernels_too():
    k = torch.ones(1, 1, 3, 3, requires_grad=True)
    np.testing.assert_allclose(tidy(k, "k"), np.full((3, 3), 1 / 9))
