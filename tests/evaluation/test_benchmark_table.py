"""Tables: every number is the mean that one computes by hand."""

from dataclasses import replace
from statistics import fmean

import pytest

from blindsr.evaluation.protocol import Group, ImageSet, Protocol, PublishedRow, Setting
from blindsr.evaluation.table import build
from blindsr.evaluation.table_text import as_csv, markdown

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


def columns(table):
    return [column.name for column in table.columns]


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
    assert columns(table) == ["k1", "k2", "k3", "mean round", "mean"] and table.photos == {"a": 2}
    oracle, blind, theirs = table.rows
    assert oracle.values["psnr"]["k1"] == 31 and oracle.values["psnr"]["mean round"] == 31.5
    assert blind.values["psnr"]["mean"] == pytest.approx(fmean((29, 30, 31, 30, 33, 31)))
    assert blind.values["ssim"]["k3"] == pytest.approx(0.32)
    assert blind.below["psnr"] == pytest.approx(fmean((1, 2, 0, 3, 3, 7))) and not oracle.below
    assert blind.below["ssim"] == pytest.approx(fmean((1, 2, 0, 3, 3, 7)) / 100)
    assert theirs.published and theirs.values == {
        "psnr": {"k1": 30, "k2": 31, "k3": 35, "mean round": 30.5, "mean": 32}
    }
    text = markdown("t", "the protocol", [table])
    assert "the protocol" in text and "| theirs (published) | 30.00 | 31.00 | 35.00 | 30.50 | 32.00 | – | – |" in text
    assert "| blind | 29.50 | 30.50 | 32.00 | 30.00 | 30.67 | 0.3067 | 2.67 |" in text
    assert "**33.33**" in text and "**29.50**" not in text
    lines = as_csv([table]).splitlines()
    assert "2,0.0,blind,0,psnr,mean round,30.0,4" in lines and "2,0.0,theirs,1,psnr,mean,32.0," in lines
    assert [line for line in lines if "loss" in line] == ["2,0.0,blind,0,loss_against_oracle,all,2.66667,6"]


def test_the_best_and_the_second_as_they_are_printed():
    numbers = {"a": 30.001, "b": 29.999, "c": 29, "d": 28}
    (table,) = build(PROTOCOL, KERNELS, [cell("p", "k1", m, psnr) for m, psnr in numbers.items()])
    assert [table.rank(row, "psnr", "k1") for row in table.rows] == [1, 1, 2, 0, 0] and table.rows[-1].published
    (table,) = build(PROTOCOL, KERNELS, [cell("p", "k1", "a", 30)])  # no rivals
    assert {table.rank(row, "psnr", "k1") for row in table.rows} == {0}


def test_means_of_fewer_cells_are_named(cells):
    (table,) = build(PROTOCOL, KERNELS, cells)
    assert not table.uneven("psnr")
    short = [c for c in cells if (c["method"], c["kernel"]) != ("oracle", "k3")][:-1]
    (table,) = build(PROTOCOL, KERNELS, short)
    assert table.uneven("psnr") == [("oracle", "k3", 0, 2), ("blind", "k3", 1, 2)]
    assert "PSNR: Not all cells have the same number of images (0 of 2 for oracle k3; 1 of 2" in markdown("t", "", [table])
    assert "2,0.0,blind,0,psnr,k3,33.0,1" in as_csv([table]).splitlines()


def test_no_mean_stands_there_twice():
    """Neither that of a single kernel nor, beside a group of all kernels, that of all."""
    for kernels, wanted in ((("k1",), ["k1"]), (("k1", "k2"), ["k1", "k2", "mean round"])):
        (table,) = build(PROTOCOL, KERNELS, [cell("p", kernel, "blind", 25.0) for kernel in kernels])
        assert columns(table) == wanted


def test_what_is_not_a_number_was_not_measured(cells):
    (table,) = build(PROTOCOL, KERNELS, [*cells, cell("r", "k1", "blind", float("nan"))])
    assert table.rows[1].values["psnr"]["k1"] == 29.5 and table.photos == {"a": 3}


def test_sets_as_columns(cells):
    protocol = replace(PROTOCOL, columns="set", published=(PublishedRow("theirs", 2, (30.0, 31.0), (0.9, 0.8)),))
    (table,) = build(protocol, KERNELS, [*cells, cell("r", "k1", "blind", 20.0, image_set="b")])
    blind, theirs = table.rows[1:]
    assert columns(table) == ["a", "b"] and blind.values["psnr"]["b"] == 20
    assert theirs.values["ssim"] == {"a": 0.9, "b": 0.8}
    assert "30.00/0.9000" in markdown("t", "", [table]) and "3 photos" in markdown("t", "", [table])
    assert table.photos == {"a": 2, "b": 1} and table.uneven("psnr") == [("oracle", "b", 0, 1)]
    lines = as_csv([table]).splitlines()
    assert "2,0.0,blind,0,psnr,b,20.0,1" in lines and any(line.startswith("2,0.0,blind,0,psnr,a,") and line[-2:] == ",6" for line in lines)
    # With the first set left out, the published value of the second still stands under it.
    (table,) = build(protocol, KERNELS, [cell("r", "k1", "blind", 20.0, image_set="b")])
    assert columns(table) == ["b"] and table.rows[-1].values["psnr"] == {"b": 31.0}


def test_noise_levels_have_tables_of_their_own(cells):
    tables = build(PROTOCOL, KERNELS, [*cells, cell("p", "k1", "blind", 25.0, sigma=2.55)])
    assert [t.sigma_255 for t in tables] == [0.0, 2.55]
    assert [row.method for row in tables[1].rows] == ["blind"]


def test_published_numbers_stand_under_their_kernels_where_others_are_not_done():
    (table,) = build(PROTOCOL, KERNELS, [cell("p", "k2", "blind", 25.0), cell("p", "k3", "blind", 25.0)])
    assert table.rows[-1].values["psnr"] == {"k2": 31, "k3": 35, "mean round": 31, "mean": 33}
