"""The examples of docs/extending.md are components that work, and links lead somewhere."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from blindsr import registry
from blindsr.alternating import AlternatingConfig, AlternatingSR
from blindsr.config import parse
from blindsr.degradation.operation import Pair
from blindsr.evaluation.cases import Case, CaseSpec
from blindsr.interfaces import Estimate
from blindsr.kernels.basis import KernelBasis

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
YAML = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
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
        for each in registry.PACKAGES:  # all others first: what is imported later would be forgotten with the example
            registry.names(each)
        if (kind, name) not in registry._components:
            monkeypatch.setattr(registry, "_components", dict(registry._components))
            module = types.ModuleType(f"example_{name}")  # dataclasses look their module up
            monkeypatch.setitem(sys.modules, module.__name__, module)
            exec(compile(block, name, "exec"), module.__dict__)
        return registry.build(registry.parse_component(kind)({"name": name, **options}, name))

    return build


def test_there_is_an_example_of_every_kind():
    assert {kind for kind, _ in EXAMPLES.values()} == set(registry.PACKAGES)


def test_they_take_no_place_that_is_taken():
    for path in re.findall(r"^## .*`(blindsr/\S+\.py)`", TEXT, re.MULTILINE):
        assert not (ROOT / path).exists() and (ROOT / path).parent.is_dir()


def test_all_of_them_in_one_model(make):
    """That of mine.yaml learns on its data."""
    make("plain"), make("newton"), make("discs"), make("eight_bit", kernels="gaussian")
    mine = yaml.safe_load(next(block for block in YAML if "mine.yaml" in block))
    config = parse(AlternatingConfig, mine["model"], "model")
    degradation = registry.build(registry.parse_component("degradation")(mine["data"]["degradation"], "degradation"))
    rng = np.random.default_rng(0)
    model = AlternatingSR(config, KernelBasis.fit(make("discs").sample(200, rng), config.estimator.code))
    batch = degradation.batch(torch.rand(2, 3, 96, 96), 2, rng, torch.rand(2, 3, 144, 144))
    first = model.first_estimate(batch.context, batch.scale)
    restored = model(batch.y, batch.scale, first=first)
    assert restored.x.shape == batch.x.shape and len(restored.iterates) == config.loops
    (restored.x - batch.x).abs().mean().backward()
    assert model.estimator.share.grad.abs().sum() > 0


def test_restorer(make):
    k = torch.full((1, 1, 3, 3), 1 / 9)
    x = make("plain")(torch.rand(1, 3, 8, 9), k, torch.zeros(1), 2, iterations=range(2))
    assert x.shape == (1, 3, 16, 18)


def test_estimator(make):
    previous = Estimate(torch.zeros(2, 6), torch.zeros(2), torch.full((2, 1, 7, 7), 1 / 49))
    estimate = make("newton", code=6, size=7)(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 16, 16), 2, previous)
    assert estimate.code.shape == (2, 6) and estimate.code.abs().max() > 0


def test_kernels(make):
    kernels = make("discs").sample(3, np.random.default_rng(0))
    assert kernels.shape == (3, 25, 25)
    np.testing.assert_allclose(kernels.sum((1, 2)), 1, atol=1e-5)


def test_degradation(make):
    x = torch.rand(2, 3, 80, 80)
    made = make("eight_bit", kernels="gaussian").batch(x[..., 16:64, 16:64], 2, np.random.default_rng(0), x)
    for y in (made.y, made.context):
        torch.testing.assert_close(255 * y, (255 * y).round())


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


PAGES = [ROOT / "README.md", *(page for part in ("docs", "pca", "blindsr/weights") for page in sorted((ROOT / part).rglob("*.md")))]


def anchors(page: Path) -> set[str]:
    """The names that a page's headings have as the ends of links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        if re.match(r"https?:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
