"""Records of estimates: patches get the true kernel of one, and come with what was found for it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from blindsr import registry
from blindsr.degradation.classical import degrade
from blindsr.degradation.recorded import Records
from blindsr.interfaces import BlindSRError, Degradation
from blindsr.training.data import collate

N = 5


def records() -> Records:
    """Of scales 2, 2, 2, 2 and 3; the second is rounded, the fourth noisy."""
    rng = np.random.default_rng(0)

    def kernels() -> np.ndarray:
        values = rng.random((N, 7, 7), dtype=np.float32)
        return values / values.sum((1, 2), keepdims=True)

    few = np.linspace(0.01, 0.05, N, dtype=np.float32)
    return Records(
        origin=np.zeros(N, int), number=np.arange(N), scale=np.array([2, 2, 2, 2, 3]), k=kernels(), noise=np.float32(0.1) * (np.arange(N) == 3),
        rounded=np.arange(N) == 1, found=kernels(), sigma=few, doubt=10 * few,
    )  # fmt: skip


@pytest.fixture
def recorded(tmp_path: Path) -> Degradation:
    path = tmp_path / "records.npz"
    with path.open("wb") as file:
        records().save(file)
    return registry.build(registry.parse_component("degradation")({"name": "recorded", "files": [str(path)]}, "degradation"))


def test_what_was_found_comes_with_the_kernel_that_blurred(recorded: Degradation) -> None:
    x, all_ = torch.rand(8, 3, 24, 24), records()
    batch = recorded.batch(x, 2, np.random.default_rng(1))
    drawn = [int(np.flatnonzero((all_.k == k.numpy()).all((1, 2)))[0]) for k in batch.k[:, 0]]
    assert len(set(drawn)) > 2 and 4 not in drawn
    for i, n in enumerate(drawn):
        plain = degrade(x[i : i + 1], batch.k[i : i + 1], 2)[0]
        expected = (plain.clamp(0, 1) * 255).round() / 255 if n == 1 else plain
        if n == 3:
            assert batch.sigma[i] == pytest.approx(0.1) and (batch.y[i] - plain).std().item() == pytest.approx(0.1, rel=0.1)
        else:
            torch.testing.assert_close(batch.y[i], expected)
            assert (batch.sigma[i] > 0) == (n == 1)
        assert np.array_equal(batch.found.kernel[i, 0].numpy(), all_.found[n])
        assert batch.found.sigma[i] == all_.sigma[n] and batch.found.doubt[i] == all_.doubt[n]


def test_samples_make_batches(recorded: Degradation) -> None:
    samples = [recorded.batch(torch.rand(1, 3, 24, 24), 2, np.random.default_rng(i)) for i in range(3)]
    batch = collate(samples).to(torch.device("cpu"))
    assert torch.equal(batch.found.kernel, torch.cat([sample.found.kernel for sample in samples]))
    assert batch.found.doubt.shape == (3,) and batch.found.code is None


def test_a_scale_without_records(recorded: Degradation) -> None:
    with pytest.raises(BlindSRError, match=r"no records of scale 4 in \S+; leave it out of data.scales"):
        recorded.batch(torch.rand(1, 3, 24, 24), 4, np.random.default_rng(0))


def test_files_are_for_others(recorded: Degradation) -> None:
    with pytest.raises(BlindSRError, match="for training alone"):
        recorded(np.zeros((24, 24, 3), np.float32), 2, np.random.default_rng(0))


@pytest.mark.parametrize("content", [None, b"", b"no records", "pickle", "others", "damaged"])
def test_files_without_records(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "records.npz"
    if content == "pickle":
        np.savez(path, **{name: np.array([{}], object) for name in vars(records())})
    elif content == "damaged":
        with path.open("wb") as file:
            records().save(file)
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 3 : len(whole) // 3 + 200] = bytes(200)
        path.write_bytes(whole)
    elif content == "others":
        np.savez(path, k=np.zeros(3))
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(BlindSRError, match="holds no recorded estimates"):
        Records.load(path)
