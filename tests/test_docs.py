"""The examples of docs/extending.md are components that work."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from blindsr import registry
from blindsr.degradation.operation import Pair
from blindsr.evaluation.cases import Case, CaseSpec
from blindsr.interfaces import Estimate

TEXT = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = {
    found[2]: (found[1], block)
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    if (found := re.search(r'@register\("(\w+)", "(\w+)"', block))
}


@pytest.fixture
def make(monkeypatch):
    """Builds the example of a name, which the registry knows for as long as the test runs."""

    def build(name: str, **options):
        kind, block = EXAMPLES[name]
        registry.names(kind)  # all others first
        monkeypatch.setattr(registry, "_components", dict(registry._components))
        module = types.ModuleType(f"example_{name}")  # dataclasses look their module up
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(block, name, "exec"), module.__dict__)
        return registry.build(registry.parse_component(kind)({"name": name, **options}, name))

    return build


def test_there_is_an_example_of_every_kind():
    assert {kind for kind, _ in EXAMPLES.values()} == set(registry.PACKAGES)


def test_restorer(make):
    k = torch.full((1, 1, 3, 3), 1 / 9)
    x = make("plain")(torch.rand(1, 3, 8, 9), k, torch.zeros(1), 2, iterations=range(2))
    assert x.shape == (1, 3, 16, 18)


def test_estimator(make):
    previous = Estimate(torch.zeros(2, 6), torch.zeros(2), torch.full((2, 1, 7, 7), 1 / 49))
    estimate = make("newton", code=6, size=7)(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 16, 16), 2, previous)
    assert estimate.code.shape == (2, 6) and estimate.code.abs().max() > 0


def test_kernels(make):
    kernels = make("defocus").sample(3, np.random.default_rng(0))
    assert kernels.shape == (3, 25, 25)
    np.testing.assert_allclose(kernels.sum((1, 2)), 1, atol=1e-5)


def test_degradation(make):
    made = make("eight_bit", kernels="gaussian").batch(torch.rand(2, 3, 48, 48), 2, np.random.default_rng(0))
    torch.testing.assert_close(255 * made.y, (255 * made.y).round())


def test_operation(make):
    x = np.zeros((8, 8, 3), np.float32)
    assert make("fog").apply(Pair(x, x, (2, 2)), {"share": 0.25}).lr.max() == 0.25


def test_discriminator(make):
    edges, x = make("edges", channels=8), torch.rand(2, 3, 9, 8)
    assert edges(x).shape == (2, 1, 6, 5)
    torch.testing.assert_close(edges.eval()(x), edges(x + 0.3))
    assert edges(x[..., : edges.smallest, : edges.smallest]).shape == (2, 1, 1, 1)


def test_method(make):
    spec = CaseSpec("set", "photo", None, None, None, 2, 0.0, None)
    k = torch.full((1, 1, 3, 3), 1 / 9)
    case = Case(spec, torch.rand(1, 3, 8, 9), None, k, torch.zeros(1), "corner", True)
    method = make("tikhonov")
    (result,) = method.restore(case, None)
    assert result.x.shape == (1, 3, 16, 18) and method.label == "tikhonov"
