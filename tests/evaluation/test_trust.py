"""Rank correlation of a model's own judgement with what its kernels cost."""

from __future__ import annotations

import pytest

from blindsr.evaluation.table_text import markdown
from blindsr.evaluation.trust import LEAST, trust


def cell(method: str, n: int, psnr: float, risk: float | None = None) -> dict:
    place = {"set": "s", "image": f"i{n}", "scale": 2, "kernel": "k", "sigma_255": 0.0, "method": method}
    return place | {"metrics": {"psnr": psnr} | ({} if risk is None else {"kernel_risk": risk})}


def cells(count: int, risk) -> list[dict]:
    """The oracle reaches 30 dB; the blind method loses n / 10 dB in cell n."""
    oracle = [cell("oracle", n, 30.0) for n in range(count)]
    return oracle + [cell("blind", n, 30 - n / 10, risk(n)) for n in range(count)]


@pytest.mark.parametrize(("risk", "wanted"), [(lambda n: n**3, 1), (lambda n: -n, -1)])
def test_ranks_count_and_nothing_else(risk, wanted) -> None:
    found = trust(cells(LEAST, risk))
    assert list(found) == ["blind"] and found["blind"].cells == LEAST
    assert found["blind"].correlation == pytest.approx(wanted)
    assert f"over all {LEAST} cells: {wanted:.2f}" in markdown("t", "", [], found)


def test_nothing_is_said_of_too_few_or_equal_or_without_an_oracle() -> None:
    assert not trust(cells(LEAST - 1, lambda n: n))
    assert not trust(cells(LEAST, lambda n: 1.0))
    assert not trust([c for c in cells(LEAST, lambda n: n) if c["method"] == "blind"])
