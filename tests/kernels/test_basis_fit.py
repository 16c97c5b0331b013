from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from blindsr.config import ConfigError, parse
from blindsr.interfaces import BlindSRError
from blindsr.kernels.basis import KernelBasis, principal_components
from blindsr.kernels.basis_fit import BasisConfig, fit_basis, kept, load_basis_config
from blindsr.registry import build

ROOT = Path(__file__).parents[2]
SMALL = {
    "kernels": {"name": "mixture", "components": [{"name": "gaussian", "size": 11}, {"name": "motion", "size": 11}]},
    "count": 2000,
    "components": 20,
    "seed": 5,
}
SHIPPED = sorted(path.stem for path in (ROOT / "configs" / "basis").glob("*.yaml"))


def test_principal_components_match_a_singular_value_decomposition():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((300, 3, 3)) * np.arange(1, 10).reshape(3, 3) + 100
    components, mean, shares = principal_components(data, 4)
    centred = data.reshape(300, 9) - data.reshape(300, 9).mean(0)
    _, values, rows = np.linalg.svd(centred, full_matrices=False)
    assert np.allclose(mean, data.reshape(300, 9).mean(0))
    assert np.allclose(np.abs((components * rows[:4]).sum(1)), 1)
    assert np.allclose(shares, values[:4] ** 2 / (values**2).sum())


def test_float32_keeps_its_digits_far_from_zero():
    data = (np.random.default_rng(0).standard_normal((2000, 3, 3)) + 1000).astype(np.float32)
    components, _, shares = principal_components(data, 9)
    assert np.allclose(components @ components.T, np.eye(9), atol=1e-5) and abs(shares.sum() - 1) < 1e-4


def test_fit_basis_writes_what_it_reports(tmp_path):
    said: list[str] = []
    config = parse(BasisConfig, SMALL, "basis")
    record = fit_basis(config, tmp_path / "b.npz", said.append)
    basis = KernelBasis.load(tmp_path / "b.npz")
    assert basis.record == record and (basis.m, basis.size) == (20, 11)
    assert record["config"]["seed"] == 5 and record["config"]["kernels"]["components"][1]["name"] == "motion"
    assert parse(BasisConfig, record["config"], "record") == config
    assert len(record["kept"]) == 20 and np.all(np.diff(record["kept"]) >= 0)
    kernels = build(config.kernels).sample(2000, np.random.default_rng(5))
    for m in (5, 20):
        assert kept(basis.truncated(m), kernels) == pytest.approx(record["kept"][m - 1], abs=1e-4)
    assert record["held_out"]["gaussian"] > record["held_out"]["motion"] > 0.5
    assert any("20 components keep" in line for line in said)


def test_the_same_seed_gives_the_same_basis(tmp_path):
    config = parse(BasisConfig, SMALL, "basis")
    for name in ("a.npz", "b.npz"):
        fit_basis(config, tmp_path / name, lambda line: None)
    a, b = KernelBasis.load(tmp_path / "a.npz"), KernelBasis.load(tmp_path / "b.npz")
    assert torch.allclose(a.components, b.components, atol=1e-5)


def test_names_and_folders(tmp_path):
    import yaml

    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    fit_basis(tmp_path / "small.yaml", tmp_path, lambda line: None)
    fit_basis(str(tmp_path / "small.yaml"), tmp_path / "new", lambda line: None)
    assert KernelBasis.load(tmp_path / "small.npz").m == KernelBasis.load(tmp_path / "new" / "small.npz").m == 20
    assert load_basis_config("gaussian_21").components == 10
    with pytest.raises(ConfigError, match="did you mean 'gaussian_21'"):
        load_basis_config("gausian_21")


def test_errors(tmp_path):
    with pytest.raises(BlindSRError, match="npz"):
        fit_basis(parse(BasisConfig, SMALL, "basis"), tmp_path / "b.txt", lambda line: None)
    with pytest.raises(ConfigError, match="components < count"):
        parse(BasisConfig, {**SMALL, "count": 20}, "basis")
    (tmp_path / "typo.yaml").write_text("kernels: gaussian\ncomponent: 10\n")
    with pytest.raises(ConfigError, match="typo.component.*'components'"):
        load_basis_config(tmp_path / "typo.yaml")
    with pytest.raises(BlindSRError, match="components; ask for fewer"):
        fit_basis(parse(BasisConfig, {**SMALL, "components": 122}, "basis"), tmp_path / "b.npz", lambda line: None)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_bases_are_those_of_their_configurations(name):
    path = ROOT / "pca" / f"{name}.npz"
    config = load_basis_config(ROOT / "configs" / "basis" / f"{name}.yaml")
    basis = KernelBasis.load(path)
    assert path.stat().st_size < 300_000
    assert parse(BasisConfig, basis.record["config"], name) == config
    tolerance = 1e-5 if config.precision == "float32" else 2e-3
    assert torch.allclose(basis.components @ basis.components.T, torch.eye(config.components), atol=tolerance)
    fresh = build(config.kernels).sample(2000, np.random.default_rng(99))
    assert kept(basis, fresh) == pytest.approx(basis.record["kept"][-1], abs=0.004)
    assert f"`{name}.npz`" in (ROOT / "pca" / "README.md").read_text(encoding="utf-8")


def test_three_bases_are_shipped():
    assert SHIPPED == ["gaussian_21", "gaussian_motion_21", "gaussian_motion_25"]
