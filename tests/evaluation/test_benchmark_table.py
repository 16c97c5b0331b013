"""Tables: every number is the mean that one computes by hand."""

from statistics import fmean

import pytest

from blindsr.evaluation.protocol import Group, ImageSet, Protocol, PublishedRow, Setting
from blindsr.evaluation.table import build, markdown

PROTOCOL = Protocol(
    description="d",
    sets=(ImageSet("a", hr="a"), ImageSet("b", hr="b")),
    settings=(Setting(2, (0.0, 2.55)),),
    groups=(Group("round", ("k1", "k2")),),
    published=(PublishedRow("theirs", 2, (30.0, 31.0, 35.0)),),
)

KERNELS = {2: ("k1", "k2", "k3")}


def cell(image, kernel, method, psnr, sigma=0.0, image_set="a"):
    metrics = {"psnr": psnr, "ssim": psnr / 100}
    return {"image": image, "set": image_set, "scale": 2, "kernel": kernel, "sigma_255": sigma, "method": method,
            "metrics": metrics, "seconds": 1.0}  # fmt: skip


@pytest.fixture
def cells():
    numbers = {"oracle": (30, 32, 31, 33, 36, 38), "blind": (29, 30, 31, 30, 33, 31)}
    return [
        cell(image, kernel, method, values[2 * i + j])
        for method, values in numbers.items()
        for i, kernel in enumerate(("k1", "k2", "k3"))
        for j, image in enumerate(("p", "q"))
    ]


def test_means_groups_and_the_loss(cells):
    (table,) = build(PROTOCOL, KERNELS, cells)
    assert table.columns == ["k1", "k2", "k3", "mean round", "mean"] and table.photos == 2
    oracle, blind, theirs = table.rows
    assert oracle.values["psnr"]["k1"] == 31 and oracle.values["psnr"]["mean round"] == 31.5
    assert blind.values["psnr"]["mean"] == pytest.approx(fmean((29, 30, 31, 30, 33, 31)))
    assert blind.values["ssim"]["k3"] == pytest.approx(0.32)
    assert blind.loss == pytest.approx(fmean((1, 2, 0, 3, 3, 7))) and oracle.loss is None
    assert theirs.published and theirs.values == {
        "psnr": {"k1": 30, "k2": 31, "k3": 35, "mean round": 30.5, "mean": 32}
    }
    text = markdown("t", "the protocol", [table])
    assert "the protocol" in text and "| theirs (published) | 30.00 | 31.00 | 35.00 | 30.50 | 32.00 | – | – |" in text
    assert "| blind | 29.50 | 30.50 | 32.00 | 30.00 | 30.67 | 0.3067 | 2.67 |" in text
    assert "**33.33**" in text and "**29.50**" not in text


def test_sets_as_columns(cells):
    from dataclasses import replace

    protocol = replace(PROTOCOL, columns="set", published=(PublishedRow("theirs", 2, (30.0, 31.0), (0.9, 0.8)),))
    (table,) = build(protocol, KERNELS, [*cells, cell("r", "k1", "blind", 20.0, image_set="b")])
    blind, theirs = table.rows[1:]
    assert table.columns == ["a", "b"] and blind.values["psnr"]["b"] == 20
    assert theirs.values["ssim"] == {"a": 0.9, "b": 0.8}
    assert "30.00/0.9000" in markdown("t", "", [table])
    # With the first set left out, the published value of the second still stands under it.
    (table,) = build(protocol, KERNELS, [cell("r", "k1", "blind", 20.0, image_set="b")])
    assert table.columns == ["b"] and table.rows[-1].values["psnr"] == {"b": 31.0}


def test_noise_levels_have_tables_of_their_own(cells):
    tables = build(PROTOCOL, KERNELS, [*cells, cell("p", "k1", "blind", 25.0, sigma=2.55)])
    assert [t.sigma_255 for t in tables] == [0.0, 2.55]
    assert [row.method for row in tables[1].rows] == ["blind"]


def test_published_numbers_stand_under_their_kernels_where_others_are_not_done():
    (table,) = build(PROTOCOL, KERNELS, [cell("p", "k2", "blind", 25.0), cell("p", "k3", "blind", 25.0)])
    assert table.rows[-1].values["psnr"] == {"k2": 31, "k3": 35, "mean round": 31, "mean": 33}
