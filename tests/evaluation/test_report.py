"""The page of a benchmark: its numbers, its marks, and that it needs nothing from outside."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blindsr.evaluation import report_pictures
from blindsr.evaluation.protocol import Group, ImageSet, Protocol, PublishedRow, Setting
from blindsr.evaluation.report import write_report
from blindsr.evaluation.table import build

KERNELS = ("k1", "k2", "k3")
PROTOCOL = Protocol(
    description="d",
    sets=(ImageSet("toy", hr="toy"),),
    settings=(Setting(2),),
    groups=(Group("narrow", ("k1", "k2")), Group("wide", ("k3",))),
)


class Page(HTMLParser):
    """What the tests ask of a page: rows of (text, tag) by table and metric, all attributes, all text."""

    def __init__(self, path: Path):
        super().__init__()
        self.rows: dict[str, dict[str, list[tuple[str, str]]]] = {}
        self.published: dict[str, dict[str, list[tuple[str, str]]]] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: list[str] = []
        self.shown: list[str] = []
        self._section = self._cell = self._mark = ""
        self._into: dict[str, list[tuple[str, str]]] = {}
        self._row: list[tuple[str, str]] | None = None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(self.shown)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {k: v or "" for k, v in attrs}
        self.tags.append(tag)
        self.attributes += [(tag, k, v) for k, v in values.items()]
        if tag == "section":
            self._section = values["id"]
        elif tag == "tbody":
            kind = self.published if values.get("class") == "published" else self.rows
            self._into = kind.setdefault(f"{self._section} {values['data-metric']}", {})
        elif tag == "tr":
            self._row = []
        elif tag in ("td", "th"):
            self._cell = self._mark = ""
        elif tag in ("b", "u"):
            self._mark = tag

    def handle_data(self, data: str) -> None:
        self._cell += data
        if self.tags[-1:] not in (["style"], ["script"]):
            self.shown.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._row is not None:
            self._row.append((self._cell.replace("\xa0", " "), self._mark))
        elif tag == "tr" and self._row:
            self._into[self._row[0][0]] = self._row[1:]


def cell(image: str, kernel: str, method: str, scale: int = 2, **metrics: float) -> dict[str, Any]:
    place = {"image": image, "set": "toy", "scale": scale, "kernel": kernel, "sigma_255": 0.0}
    return place | {"method": method, "metrics": metrics, "seconds": 0.5}


def some_cells(methods: tuple[str, ...] = ("bicubic", "blind", "oracle")) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        cell(image, kernel, method, psnr=25 + 2 * i + rng.random(), ssim=0.8 + 0.05 * i + 0.01 * rng.random())
        for image, kernel, (i, method) in product(("a", "b"), KERNELS, enumerate(methods))
    ]


def write(out: Path, cells: list[dict[str, Any]], protocol: Protocol = PROTOCOL, **changes: Any) -> Page:
    about = {
        "name": "Three kernels",
        "description": "Blurred.",
        "command": "blindsr benchmark three",
        "date": "2025-01-31",
        "version": "1.0",
        "model": None,
        "limit": None,
        "kernels": {2: {k: np.full((3, 3), 1 / 9).tolist() for k in KERNELS}},
    }
    return Page(write_report(out, about | changes, build(protocol, {2: KERNELS}, cells), cells))


def by_hand(cells: list[dict[str, Any]], method: str, kernels: tuple[str, ...], metric: str = "psnr") -> float:
    return fmean(c["metrics"][metric] for c in cells if c["method"] == method and c["kernel"] in kernels)


def test_the_numbers_are_means(tmp_path: Path) -> None:
    cells = some_cells()
    page = write(tmp_path, cells)
    columns = [("k1",), ("k2",), ("k3",), ("k1", "k2"), ("k3",), KERNELS]
    for method in ("bicubic", "blind", "oracle"):
        psnr = [text for text, _ in page.rows["table-1 psnr"][method]]
        assert psnr[:-1] == [f"{by_hand(cells, method, c):.2f}" for c in columns]
        ssim = [text for text, _ in page.rows["table-1 ssim"][method]]
        assert ssim[:-1] == [f"{by_hand(cells, method, c, 'ssim'):.4f}" for c in columns]
    loss = by_hand(cells, "blind", KERNELS) - by_hand(cells, "oracle", KERNELS)
    assert page.rows["table-1 psnr"]["blind"][-1][0] == f"{loss:.2f}".replace("-", "−")
    assert page.rows["table-1 psnr"]["oracle"][-1][0] == "0.00"
    assert page.rows["table-1 seconds"]["blind"][0][0] == "0.50"
    assert "2 images" in page.text and "×2, σ = 0" in page.text
    assert "blindsr benchmark three" in page.text and "2025-01-31" in page.text
    assert "Not all cells" not in page.text


def test_the_best_is_bold_and_published_rows_never_compete(tmp_path: Path) -> None:
    published = (PublishedRow("Great (2020)", 2, (99, 98)), PublishedRow("elsewhere", 3, (99, 98)))
    page = write(tmp_path, some_cells(), replace(PROTOCOL, published=published))
    marks = {method: {mark for _, mark in row[:-1]} for method, row in page.rows["table-1 psnr"].items()}
    assert marks == {"oracle": {"b"}, "blind": {"u"}, "bicubic": {""}}
    assert page.published == {
        "table-1 psnr": {"Great (2020) †": [(t, "") for t in ("99.00", "98.00", "–", "98.50", "–", "–", "")]}
    }
    assert "Published: quoted" in " ".join(page.text.split())


def test_lower_is_better_and_ties_are_both_best(tmp_path: Path) -> None:
    """No truth, no kernel, no σ: NIQE of real photos."""
    real = Protocol("d", (ImageSet("toy", lr="toy"),), (Setting(4),), metrics=("niqe",))
    cells = [cell("a", "unknown", m, scale=4, niqe=v) for m, v in zip("zyx", (7, 4.999, 5.001))]
    page = write(tmp_path, cells, real, kernels={4: {}})
    rows = page.rows["table-1 niqe"]
    assert rows == {"z": [("7.00", "u")], "y": [("5.00", "b")], "x": [("5.00", "b")]}
    assert list(rows) == ["z", "y", "x"]
    assert "NIQE ↓" in page.text and "unknown kernel" in page.text and "Δ" not in page.text
    assert ("tbody", "data-best", "low") in page.attributes


def test_a_single_method_has_no_bold_and_no_loss(tmp_path: Path) -> None:
    page = write(tmp_path, some_cells(("oracle",)))
    assert {mark for row in page.rows["table-1 psnr"].values() for _, mark in row} == {""}
    assert "Δ" not in page.text


def test_rows_stand_in_the_order_of_the_cells(tmp_path: Path) -> None:
    methods = ("oracle", "blind, loop 1", "blind", "bicubic")
    cells = some_cells(methods)
    for c in cells:
        if c["method"] == "blind, loop 1":
            del c["metrics"]["ssim"]
    page = write(tmp_path, cells)
    assert list(page.rows["table-1 psnr"]) == list(methods)
    assert list(page.rows["table-1 ssim"]) == ["oracle", "blind", "bicubic"]


def test_of_many_kernels_the_means_alone_are_shown(tmp_path: Path) -> None:
    cells = [cell("a", f"q{n}", "blind", psnr=20.0 + n) for n in range(25)]
    protocol = replace(PROTOCOL, groups=(Group("low", ("q0", "q1")),))
    assert write(tmp_path, cells, protocol).rows["table-1 psnr"] == {"blind": [("20.50", ""), ("32.00", "")]}
    assert len(write(tmp_path, cells[:24], protocol).rows["table-1 psnr"]["blind"]) == 24 + 2


def test_columns_of_sets(tmp_path: Path) -> None:
    """Photos of one name in two sets are two, the sets may differ in size, and there is no mean over sets."""
    cells = [cell(i, k, "blind", psnr=30.0 + n) | {"set": s} for n, (s, i, k) in enumerate((
        ("set5", "a", "k1"), ("set5", "a", "k2"), ("set14", "a", "k1"), ("set14", "b", "k1"), ("set14", "b", "k2")
    ))]  # fmt: skip
    sets = (ImageSet("set5", hr="set5"), ImageSet("set14", hr="set14"))
    protocol = replace(PROTOCOL, sets=sets, columns="set", published=(PublishedRow("paper", 2, (32.0,)),))
    page = write(tmp_path, cells, protocol, limit=2)
    assert page.rows["table-1 psnr"] == {"blind": [("30.50", ""), ("33.00", "")]}
    assert page.published["table-1 psnr"] == {"paper †": [("32.00", ""), ("–", "")]}
    assert "3 images (2 of set14, 1 of set5)" in page.text
    assert "only the first images, at most 2; published numbers are of all" in page.text
    assert "Not all cells" not in page.text


def test_uneven_cells_are_told(tmp_path: Path) -> None:
    page = write(tmp_path, some_cells()[:-1])
    assert "Not all cells have the same number of images (1 of 2 for oracle k3)" in page.text


def pictures(out: Path, cells: list[dict[str, Any]], methods: dict[str, str]) -> None:
    """Pictures of every case: the truth is one of them all, the names of files are ``methods``' values."""
    for image, kernel in {(c["image"], c["kernel"]) for c in cells}:
        folder = out / "pictures" / f"{image}_x2_{kernel}_s0"
        folder.mkdir(parents=True, exist_ok=True)
        for n, name in enumerate(("lr", "truth", *methods.values())):
            level = 200 if name == "truth" else 20 * n + int(kernel[1])
            Image.new("RGB", (8, 6), (level, 0, 0)).save(folder / f"{name}.png")
        for name in ("kernel_true", *(f"kernel_{m}" for m in methods.values())):
            Image.fromarray(np.eye(5, dtype=np.uint8) * 255).save(folder / f"{name}.png")


def data_of(page: Page) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="pictures">(.*?)</script>', page.source, flags=re.DOTALL)
    return json.loads(text)


def test_the_viewer_has_every_picture_once_under_its_methods_name(tmp_path: Path) -> None:
    cells = [c for c in some_cells(("bicubic", "blind, loop 1")) if c["image"] == "a"]
    pictures(tmp_path, cells, {"bicubic": "bicubic", "blind, loop 1": "blind_loop_1"})
    (tmp_path / "pictures" / "a_x2_k1_s0" / "lr.png").write_bytes(b"broken")
    data = data_of(write(tmp_path, cells))
    assert [e["kernel"] for e in data["entries"]] == list(KERNELS)
    assert data["entries"][1]["pictures"].keys() == {"lr", "truth", "bicubic", "blind, loop 1"}
    assert "lr" not in data["entries"][0]["pictures"]
    assert len({e["pictures"]["truth"] for e in data["entries"]}) == 1
    assert data["entries"][2]["numbers"]["bicubic"]["psnr"] == f"{by_hand(cells, 'bicubic', ('k3',)):.2f}"
    assert data["entries"][0]["kernels"].keys() == {"true", "bicubic", "blind, loop 1"} and len(data["kernels"]) == 1


def test_pictures_of_other_runs_are_not_shown(tmp_path: Path) -> None:
    """Neither those of cases nor those of methods that have no cell here."""
    cells = some_cells(("bicubic", "blind"))
    pictures(tmp_path, cells, {"bicubic": "bicubic", "blind": "blind"})
    data = data_of(write(tmp_path, [c for c in cells if c["image"] == "a" and c["method"] == "bicubic"]))
    assert {e["image"] for e in data["entries"]} == {"a"} and len(data["entries"]) == len(KERNELS)
    assert all(e["pictures"].keys() == {"lr", "truth", "bicubic"} for e in data["entries"])
    assert all(e["kernels"].keys() == {"true", "bicubic"} for e in data["entries"])


def test_no_pictures_no_viewer(tmp_path: Path) -> None:
    page = write(tmp_path, some_cells())
    assert "select" not in page.tags and ("a", "href", "#viewer") not in page.attributes
    assert "No results yet." in write(tmp_path, []).text


def test_pictures_are_made_to_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, cases = np.random.default_rng(0), {}
    for n in range(3):
        folder = tmp_path / f"photo_{n}_x4_k1_s2.55"
        folder.mkdir()
        Image.fromarray(rng.integers(0, 256, (200, 300, 3), np.uint8)).save(folder / "lr.png")
        cases[folder.name] = {"image": f"photo_{n}", "numbers": {}}
    assert report_pictures.collect(tmp_path, cases, {})["note"] == ""
    monkeypatch.setattr(report_pictures, "RUNGS", ((80, 100), (50, 50)))
    small = report_pictures.collect(tmp_path, cases, {}, 60_000)
    assert "quality 80 and at most 100 pixels" in small["note"] and len(small["entries"]) == 3
    assert sum(map(len, small["pictures"])) < 60_000 * 4 / 3 + 100 and small["entries"][2]["image"] == "photo_2"
    smaller = report_pictures.collect(tmp_path, cases, {}, len(small["pictures"][0]) // 8)
    assert "are left out" in smaller["note"] and len(smaller["entries"]) < 3


def test_what_files_say_is_escaped_and_nothing_comes_from_outside(tmp_path: Path) -> None:
    evil = "\"><script>alert(1)</script>&'</script>"
    cells = some_cells(("bicubic", evil))
    pictures(tmp_path, cells, {"bicubic": "bicubic"})
    changes = {key: evil for key in ("name", "description", "command", "date", "version", "model", "limit")}
    cells += [cell(f"{evil}{i}", f"{evil} k", evil, psnr=1.0) | {"set": f"{evil} s{i}"} for i in "ab"]
    published, groups = (PublishedRow(evil, 2, (1.0,)),), (Group(evil, ("k1",)),)
    protocol = replace(PROTOCOL, published=published, groups=groups, metrics=("psnr", evil))
    page = write(tmp_path, cells, protocol, **changes)
    assert page.tags.count("script") == 2 and "<script>alert" not in page.source
    assert evil in page.text and page.rows["table-1 psnr"][evil] and page.published["table-1 psnr"][f"{evil} †"]
    assert all(f"{evil}{word}" in page.text for word in (" k", " sa")) and page.rows[f"table-1 {evil}"]
    outside = [(t, k, v) for t, k, v in page.attributes if k in ("src", "href", "srcset", "action", "data", "poster")]
    assert outside and all(v.startswith(("data:image/", "#")) for _, _, v in outside)
    assert "link" not in page.tags and "iframe" not in page.tags
    assert re.findall(r"url\(|@import|https?://", page.source) == []
    assert data_of(page)["entries"]
