"""``blindsr benchmark`` on toy data: resumable, the same by any number of processes, clear about bad input."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import scipy.io
import scipy.ndimage
import torch
import yaml
from PIL import Image

from blindsr import checkpoints, registry
from blindsr.alternating import AlternatingConfig, AlternatingSR
from blindsr.atomic import read_lines
from blindsr.cli import main
from blindsr.evaluation import benchmark, worker
from blindsr.evaluation.methods.base import Result, load_model, weights_fingerprint
from blindsr.evaluation.methods.bicubic import Bicubic
from blindsr.evaluation.protocol import load_protocol
from blindsr.kernels.gaussian import gaussian
from blindsr.restorers.rrdbnet import RRDBNetConfig
from blindsr.restorers.usrnet import USRNetConfig

TOY = {
    "description": "Toy",
    "sets": [{"name": "toy", "hr": "photos"}],
    "settings": [{"scale": 2, "sigma_255": [0, 2.55], "kernels": ["gaussian:1.0", "kernels.mat#1-2"]}],
    "pictures": 1,
}


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines of standard error."""
    try:
        code = main(["benchmark", *(str(a) for a in arguments)])
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr()
    return code, told.out, told.err.splitlines()


def grain(seed: int, height: int = 56, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 1.2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "photos").mkdir(parents=True)
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        Image.fromarray(grain(seed)).save(folder / "photos" / f"{name}.png")
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = gaussian(9, 1.4, 0.8, 0.4), gaussian(9, 0.7)
    scipy.io.savemat(folder / "kernels.mat", {"kernels": cells})
    return folder


@pytest.fixture
def toy(tmp_path: Path):
    """Writes the toy protocol, with changes."""

    def write(**changes) -> Path:
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump(TOY | changes))
        return path

    return write


def figures(out: Path) -> dict[tuple, dict]:
    return {
        (c["image"], c["kernel"], c["sigma_255"], c["method"]): c["metrics"] for c in read_lines(out / "cells.jsonl")
    }


def test_everything_is_written_and_nothing_done_twice(data, toy, tmp_path, capsys, small_model):
    out = tmp_path / "out"
    common = (toy(), "--data", data, "--out", out, "--model", small_model, "--jobs", 1)
    code, said, _ = run(capsys, *common, "--limit", 1, "--method", "bicubic", "oracle", "blind", "refined", "wrong_kernel")
    assert code == 0 and "Toy. Sharp photos" in said and "dB below the oracle" in said
    cells = figures(out)
    assert {key[0] for key in cells} == {"a"} and {key[1] for key in cells} == {"gaussian-1.0", "k1", "k2"}
    assert {key[3] for key in cells} == {"bicubic", "oracle", "blind", "blind, loop 1", "blind, loop 2", "refined", "wrong_kernel"}
    assert {"aligned_psnr", "kernel_psnr", "kernel_correlation", "sigma_error_255"} <= set(cells["a", "k1", 0.0, "blind"])
    assert 0 <= cells["a", "k1", 0.0, "blind"]["kernel_correlation"] <= 1.001
    pictures = {p.name for p in (out / "pictures" / "a_x2_k1_s2.55").iterdir()}
    assert {"lr.png", "truth.png", "bicubic.png", "kernel_true.png", "kernel_blind.png"} <= pictures
    about = json.loads((out / "protocol.json").read_text())
    assert about["methods"] == ["bicubic", "oracle", "blind", "refined", "wrong_kernel"] and len(about["kernels"]["2"]["k1"]) == 9
    assert {p.name for p in out.iterdir()} >= {"table.md", "table.csv", "table.json"}
    order = ["bicubic", "oracle", "blind, loop 1", "blind, loop 2", "blind", "refined", "wrong_kernel"]
    assert [row["method"] for row in json.loads((out / "table.json").read_text())["tables"][0]["rows"]] == order
    assert list(rows(out / "report.html")) == order

    lines = (out / "cells.jsonl").read_text()
    with (out / "cells.jsonl").open("a") as file:
        file.write('{"image": "half a li')
    assert run(capsys, *common, "--limit", 2, "--method", "bicubic")[0] == 0
    more = (out / "cells.jsonl").read_text()
    assert more.startswith(lines) and len(read_lines(out / "cells.jsonl")) == len(cells) + 6
    assert all(line["image"] == "b" for line in read_lines(out / "cells.jsonl")[len(cells) :])
    assert "2 photos" in (out / "table.md").read_text()

    Image.fromarray(grain(9)).save(data / "photos" / "b.png")  # another photo of that name: done anew
    assert run(capsys, *common, "--limit", 2, "--method", "bicubic")[0] == 0
    assert len(read_lines(out / "cells.jsonl")) == len(cells) + 12


def test_cells_are_made_anew_with_all_that_they_depend_on(data, toy, tmp_path, capsys, monkeypatch):
    out, plain = tmp_path / "out", {"settings": [{"scale": 2, "kernels": ["k.npy"]}], "pictures": 0}

    def made(*method: str, **changes) -> int:
        """How many there are after another run."""
        common = (toy(**(plain | changes)), "--data", data, "--out", out, "--limit", 1, "--jobs", 1)
        assert run(capsys, *common, "--method", *method)[0] == 0
        return len(read_lines(out / "cells.jsonl"))

    np.save(data / "k.npy", gaussian(9, 1.4))
    assert made("bicubic") == made("bicubic", description="Other words") == 1
    assert made("bicubic", "--precision", "bf16") == 2 and made("bicubic", blur="uint8") == 3
    assert [made(f"{{name: total_variation, iterations: {n}}}") for n in (1, 2)] == [4, 5]
    np.save(data / "k.npy", gaussian(9, 2.0))
    assert made("bicubic") == 6
    monkeypatch.setattr(Bicubic, "version", 2)
    assert made("bicubic") == 7


def test_cut_off_between_a_loop_and_the_answer(data, toy, tmp_path, capsys, small_model):
    """A photo is done when its answer is there; the rows of its loops stand there once then."""
    out = tmp_path / "out"
    common = (toy(), "--data", data, "--out", out, "--model", small_model, "--jobs", 1, "--limit", 1, "--method", "blind")
    assert run(capsys, *common)[0] == 0
    whole, table = (out / "cells.jsonl").read_text().splitlines(keepends=True), (out / "table.csv").read_text()
    at = max(i for i, line in enumerate(whole) if json.loads(line)["method"] == "blind, loop 1")
    (out / "cells.jsonl").write_text("".join(whole[: at + 1]))
    assert run(capsys, *common)[0] == 0
    assert len(read_lines(out / "cells.jsonl")) == at + 1 + 3
    again = (out / "table.csv").read_text()
    first, second = ([line for line in text.splitlines() if ",seconds," not in line] for text in (table, again))
    assert first == second


@pytest.mark.parametrize("where", [{"groups": [{"name": "g", "kernels": ["k3"]}]}, {"pictured_kernels": ["k3"]}])
def test_groups_of_kernels_that_are_not_there(where, data, toy, tmp_path, capsys):
    code, _, errors = run(capsys, toy(**where), "--data", data, "--out", tmp_path / "out", "--method", "bicubic")
    assert code == 2 and "no kernel is called 'k3'; known are gaussian-1.0, k1" in errors[-1]


def test_means_in_the_table_are_those_of_the_cells(data, toy, tmp_path, capsys):
    out = tmp_path / "out"
    run(capsys, toy(), "--data", data, "--out", out, "--method", "bicubic", "--jobs", 1)
    cells = figures(out)
    assert len(cells) == 18
    by_hand = np.mean([cells[name, "k2", 2.55, "bicubic"]["psnr"] for name in "abc"])
    tables = json.loads((out / "table.json").read_text())["tables"]
    assert tables[1]["rows"][0]["values"]["psnr"]["k2"] == pytest.approx(by_hand, abs=1e-9)
    assert f"{by_hand:.2f}" in (out / "table.md").read_text()


def rows(page: Path, number: int = 0) -> dict[str, list[str]]:
    """Row -> its PSNRs in a table of a page."""
    table = page.read_text().split("</table>")[number]
    body = "".join(re.findall(r'<tbody data-metric="psnr".*?</tbody>', table, re.DOTALL))
    found = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', body)
    return {name: re.findall(r">([^<>]+)</", cells) for name, cells in found}


@pytest.fixture
def other(small_model, tmp_path: Path) -> Path:
    """The small model with slightly other weights."""
    model = checkpoints.load(small_model).model
    with torch.no_grad():
        for values in model.restorer.parameters():
            values.add_(0.001)
    checkpoints.save(tmp_path / "other.safetensors", model, {})
    return tmp_path / "other.safetensors"


def test_table_and_page_show_the_same_cells(data, toy, tmp_path, capsys, small_model, other):
    """Lines of earlier weights, photos and methods stay in the folder and are shown nowhere."""
    out = tmp_path / "out"
    protocol = toy(settings=[{"scale": 2, "kernels": ["gaussian:1.0", "gaussian:2.0"]}])
    common = (protocol, "--data", data, "--out", out, "--jobs", 1)
    assert run(capsys, *common, "--limit", 2, "--method", "bicubic", "oracle", "--model", small_model)[0] == 0
    first = (out / "pictures" / "a_x2_gaussian-1.0_s0" / "oracle.png").read_bytes()
    second = ("--limit", 1, "--method", "oracle", "--model")
    assert run(capsys, *common, *second, other)[0] == 0
    cells = [c for c in read_lines(out / "cells.jsonl")[-2:] if c["method"] == "oracle"]
    expected = [f"{cells[i]['metrics']['psnr']:.2f}" for i in (0, 1)]
    mean = f"{np.mean([c['metrics']['psnr'] for c in cells]):.2f}"
    assert rows(out / "report.html") == {"oracle": [*expected, mean]}
    (line,) = re.findall(r"^\| oracle \|.*/.*$", (out / "table.md").read_text(), re.MULTILINE)
    assert re.findall(r"([\d.]+)/", line) == [*expected, mean] and "bicubic" not in (out / "table.md").read_text()
    assert "<dd>1</dd>" in (out / "report.html").read_text()  # one image, one method

    # The numbers of the first weights are there still; of the pictures, which were written over, so they are again.
    assert first != (out / "pictures" / "a_x2_gaussian-1.0_s0" / "oracle.png").read_bytes()
    assert run(capsys, *common, *second, small_model)[0] == 0
    assert first == (out / "pictures" / "a_x2_gaussian-1.0_s0" / "oracle.png").read_bytes()
    done = (out / "cells.jsonl").read_text()
    assert run(capsys, *common, *second, small_model)[0] == 0 and (out / "cells.jsonl").read_text() == done
    shutil.rmtree(out / "pictures")  # those that were removed are made again
    assert run(capsys, *common, *second, small_model)[0] == 0
    assert first == (out / "pictures" / "a_x2_gaussian-1.0_s0" / "oracle.png").read_bytes()


def test_pictures_of_other_weights_are_not_shown_whatever_file_they_are_told_in(
    data, toy, tmp_path, capsys, small_model, other
):
    """Files of several processes do not lie in the order of their making."""
    out = tmp_path / "out"
    protocol = toy(settings=[{"scale": 2, "kernels": ["gaussian:1.0"]}])
    common = (protocol, "--data", data, "--out", out, "--jobs", 1, "--limit", 1, "--method", "oracle", "--model")
    assert run(capsys, *common, small_model)[0] == 0
    (out / "cells.jsonl").rename(tmp_path / "kept")
    first = (out / "pictures" / "a_x2_gaussian-1.0_s0" / "oracle.png").read_bytes()
    assert run(capsys, *common, other)[0] == 0
    (out / "cells.jsonl").rename(out / "cells.0.jsonl")
    (tmp_path / "kept").rename(out / "cells.jsonl")
    assert run(capsys, *common, small_model)[0] == 0
    assert first == (out / "pictures" / "a_x2_gaussian-1.0_s0" / "oracle.png").read_bytes()


def test_kernels_of_one_name_at_several_scales(data, toy, tmp_path, capsys):
    """Each table of the page has its own."""
    settings = [{"scale": s, "kernels": ["bicubic"]} for s in (2, 4)]
    protocol = toy(settings=settings, decimation="corner")
    assert run(capsys, protocol, "--data", data, "--out", tmp_path, "--limit", 1, "--method", "bicubic")[0] == 0
    heads = (tmp_path / "report.html").read_text().split("<thead>")[1:]
    pictures = [re.search(r'<img src="([^"]+)"', head)[1] for head in heads]
    assert len(pictures) == 2 and pictures[0] != pictures[1]


class Stranger:
    """A metric as pyiqa makes it: how far from the truth at worst."""

    metric_mode, lower_better = "FR", True
    seen: list[torch.Size] = []

    def __call__(self, x: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.shape)
        return (x - truth).abs().max()


def test_metrics_of_pyiqa(data, toy, tmp_path, capsys, monkeypatch, small_model):
    """Inside the border, and the best is the least where pyiqa says so."""
    monkeypatch.setitem(sys.modules, "pyiqa", SimpleNamespace(create_metric=lambda name: Stranger()))
    protocol = toy(settings=[{"scale": 2, "kernels": ["gaussian:1.0"]}], metrics=["stranger"], border=6)
    common = (protocol, "--data", data, "--out", tmp_path, "--limit", 1, "--model", small_model, "--jobs", 1)
    code, said, _ = run(capsys, *common, "--method", "bicubic", "oracle")
    assert code == 0 and "Of pyiqa: stranger, over RGB inside the border." in said
    assert set(Stranger.seen) == {(1, 3, 44, 52)}
    values = {key[3]: metrics["stranger"] for key, metrics in figures(tmp_path).items()}
    best = min(values, key=values.get)
    assert re.search(rf"^\| {best} \| \*\*", (tmp_path / "table.md").read_text(), re.MULTILINE)
    assert "STRANGER ↓" in (tmp_path / "report.html").read_text()


def test_everything_anew_after_a_change_of_code(data, toy, tmp_path, capsys, monkeypatch):
    protocol = toy(settings=[{"scale": 2, "kernels": ["gaussian:1.0"]}])
    common = (protocol, "--data", data, "--out", tmp_path / "out", "--limit", 1, "--method", "bicubic", "--jobs", 1)
    assert run(capsys, *common)[0] == 0
    before = figures(tmp_path / "out")["a", "gaussian-1.0", 0.0, "bicubic"]["psnr"]
    monkeypatch.setattr(Bicubic, "restore", lambda self, case, model: [Result(0 * case.x)])
    code, _, errors = run(capsys, *common)
    assert code == 0 and "1 of 1 cells are finished already (--fresh does them anew)" in errors[0]
    assert figures(tmp_path / "out")["a", "gaussian-1.0", 0.0, "bicubic"]["psnr"] == before
    (tmp_path / "out" / "cells.jsonl").rename(tmp_path / "out" / "cells.7.jsonl")  # of any process
    code, said, _ = run(capsys, *common, "--fresh")
    assert len(read_lines(tmp_path / "out" / "cells.7.jsonl")) == 0
    after = figures(tmp_path / "out")["a", "gaussian-1.0", 0.0, "bicubic"]["psnr"]
    assert code == 0 and after < before - 5 and f"{after:.2f}" in said
    monkeypatch.setattr(Bicubic, "restore", lambda self, case, model: [Result(case.x * float("nan"))])
    code, _, errors = run(capsys, *common, "--fresh")
    assert code == 2 and "a_x2_gaussian-1.0_s0: the result holds NaN or infinite values" in errors[-1]
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, errors = run(capsys, *common, "--fresh")
    assert code == 2 and "--fresh is for one process" in errors[-1]


def test_published_numbers_stand_under_their_sets(data, toy, tmp_path, capsys):
    for name in ("one", "two"):
        (data / name).mkdir()
        Image.fromarray(grain(4)).save(data / name / "p.png")
    sets = [{"name": name, "hr": name} for name in ("one", "elsewhere", "two")]
    published = [{"name": "theirs", "scale": 2, "psnr": [31, 32, 33]}]
    protocol = toy(sets=sets, settings=[{"scale": 2}], columns="set", published=published)
    common = (protocol, "--data", data, "--out", tmp_path / "out", "--method", "bicubic", "--jobs", 1)
    assert run(capsys, *common, "--set", "one", "two")[0] == 0
    page, text = tmp_path / "out" / "report.html", tmp_path / "out" / "table.md"
    assert [row[:2] for name, row in rows(page).items() if name.startswith("theirs")] == [["31.00", "33.00"]]
    assert "| theirs (published) | 31.00/– | 33.00/– |" in text.read_text()
    # With the first set left out, the published value of the other one still stands under it, and no more.
    assert run(capsys, *common, "--set", "two")[0] == 0
    assert [row[:1] for name, row in rows(page).items() if name.startswith("theirs")] == [["33.00"]]
    assert "31.00" not in page.read_text()


def test_published_numbers_of_kernels_that_differ_by_scale(data, toy, tmp_path, capsys):
    settings = [{"scale": s, "kernels": [f"gaussian:{w}" for w in (s / 2, s / 2 + 0.1)]} for s in (2, 4)]
    published = [{"name": "theirs", "scale": 4, "psnr": [31, 32]}]
    protocol = toy(settings=settings, published=published)
    assert run(capsys, protocol, "--data", data, "--out", tmp_path, "--limit", 1, "--method", "bicubic")[0] == 0
    assert [row for name, row in rows(tmp_path / "report.html", 1).items() if name.startswith("theirs")] == [
        ["31.00", "32.00", "31.50"]
    ]
    assert "| theirs (published) | 31.00/– | 32.00/– | 31.50/– |" in (tmp_path / "table.md").read_text()


def test_some_scales_now_and_others_later(data, toy, tmp_path, capsys):
    settings = [{"scale": s, "kernels": ["gaussian:1"]} for s in (2, 3)]
    published = [{"name": "theirs", "scale": s, "psnr": [30 + s]} for s in (2, 3)]
    common = (toy(settings=settings, published=published), "--data", data, "--out", tmp_path, "--method", "bicubic")
    text, page = tmp_path / "table.md", tmp_path / "report.html"
    assert run(capsys, *common, "--scale", 3)[0] == 0
    assert re.findall("## ×.", text.read_text()) == ["## ×3"] and "33.00" in text.read_text()
    assert "32.00" not in text.read_text() + page.read_text()
    first = (tmp_path / "cells.jsonl").read_text()
    assert run(capsys, *common)[0] == 0
    assert (tmp_path / "cells.jsonl").read_text().startswith(first)
    assert re.findall("## ×.", text.read_text()) == ["## ×2", "## ×3"]
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 2 * len(first.splitlines())


def test_some_noise_levels_now_and_others_later(data, toy, tmp_path, capsys):
    settings = [{"scale": 2, "sigma_255": [0], "kernels": ["gaussian:1"]}]
    settings += [{"scale": 3, "sigma_255": [0, 2.55, 7.65], "kernels": ["gaussian:1"]}]
    common = (toy(settings=settings), "--data", data, "--out", tmp_path, "--method", "bicubic")
    assert run(capsys, *common, "--sigma", 2.55, 7.65)[0] == 0
    text = tmp_path / "table.md"
    assert re.findall("## (.*):", text.read_text()) == ["×3, σ 2.55", "×3, σ 7.65"]
    first = figures(tmp_path)
    assert {sigma for _, _, sigma, _ in first} == {2.55, 7.65}
    assert run(capsys, *common, "--scale", 3)[0] == 0
    assert re.findall("## (.*):", text.read_text()) == ["×3, σ 0", "×3, σ 2.55", "×3, σ 7.65"]
    assert figures(tmp_path).items() > first.items()


def test_tables_of_what_is_finished(data, toy, tmp_path, capsys):
    """A photo that lacks a cell is left out of the means of its noise level, and nothing is restored."""
    common = (toy(), "--data", data, "--out", tmp_path / "out", "--method", "bicubic", "--jobs", 1)
    code, _, errors = run(capsys, *common, "--tables")
    assert code == 2 and "no photo is finished yet" in errors[-1]
    assert run(capsys, *common)[0] == 0
    path = tmp_path / "out" / "cells.jsonl"
    cells = figures(tmp_path / "out")
    lines = [line for line in path.read_text().splitlines(True) if '"b"' not in line or '"k1"' not in line or "2.55" not in line]
    path.write_text("".join(lines))
    code, said, _ = run(capsys, *common, "--tables")
    assert code == 0 and "2 cells of others are left out" in said and path.read_text() == "".join(lines)
    without, with_noise = json.loads((tmp_path / "out" / "table.json").read_text())["tables"]
    assert (without["photos"], with_noise["photos"]) == ({"toy": 3}, {"toy": 2})
    by_hand = np.mean([cells[name, "k2", 2.55, "bicubic"]["psnr"] for name in "ac"])
    assert with_noise["rows"][0]["values"]["psnr"]["k2"] == pytest.approx(by_hand, abs=1e-9)


def test_processes_make_no_difference(data, toy, tmp_path, capsys, small_model):
    common = (toy(), "--data", data, "--model", small_model, "--limit", 1, "--method", "bicubic", "oracle")
    assert run(capsys, *common, "--out", tmp_path / "one", "--jobs", 1)[0] == 0
    assert run(capsys, *common, "--out", tmp_path / "two", "--jobs", 2)[0] == 0
    assert figures(tmp_path / "one") == figures(tmp_path / "two")


def test_ranks_share_the_cases(data, toy, tmp_path, capsys, monkeypatch):
    """Each writes a file of its own, reading takes all of them, and the first waits for the others."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    common = ("benchmark", str(toy()), "--data", str(data), "--out", str(tmp_path / "out"), "--method", "bicubic", "--jobs", "1")
    ran = []

    def share(rank: str) -> None:
        monkeypatch.setenv("RANK", rank)
        ran.append((rank, main(list(common))))

    monkeypatch.setattr(benchmark, "time", SimpleNamespace(sleep=lambda _: share("1")))
    share("0")
    assert ran == [("1", 0), ("0", 0)]
    assert "3 photos" in capsys.readouterr().out
    shares = [read_lines(tmp_path / "out" / f"cells.{rank}.jsonl") for rank in (0, 1)]
    assert [len(share) for share in shares] == [9, 9]
    assert "3 photos" in (tmp_path / "out" / "table.md").read_text()


def test_results_of_another_program(data, toy, tmp_path, capsys):
    theirs, out = tmp_path / "theirs", tmp_path / "out"
    theirs.mkdir()
    protocol = toy(settings=[{"scale": 2, "kernels": ["gaussian:1.0"]}])
    for name in "ab":
        Image.open(data / "photos" / f"{name}.png").save(theirs / f"{name}_x2_gaussian-1.0_s0.png")
    common = (protocol, "--data", data, "--out", out, "--method", f"folder:{theirs}", "--jobs", 1, "--limit")
    code, _, _ = run(capsys, *common, 2)
    assert code == 0 and figures(out)["a", "gaussian-1.0", 0.0, "theirs"]["psnr"] == float("inf")
    code, _, errors = run(capsys, *common, 3)
    assert code == 2 and "holds no c_x2_gaussian-1.0_s0.png" in errors[-1]
    Image.fromarray(grain(3)[:, :-2]).save(theirs / "c.png")
    code, _, errors = run(capsys, *common, 3)
    assert code == 2 and "the result has 62×56 instead of 64×56 pixels; give one of ×2" in errors[-1]


def test_results_of_one_scale_do_not_pass_for_those_of_another(data, toy, tmp_path, capsys):
    theirs = tmp_path / "theirs"
    shutil.copytree(data / "photos", theirs)
    settings = [{"scale": s, "kernels": ["gaussian:1.0"]} for s in (2, 4)]
    common = (toy(settings=settings), "--data", data, "--out", tmp_path / "out", "--method", f"folder:{theirs}", "--jobs", 1)
    code, _, errors = run(capsys, *common)
    assert code == 2 and "a.png does not say of which scale it is; call it a_x2.png, or choose one --scale" in errors[-1]
    assert run(capsys, *common, "--scale", 4)[0] == 0
    Image.fromarray(grain(1)).save(theirs / "a.tif")
    code, _, errors = run(capsys, *common, "--scale", 4)
    assert code == 2 and "a.png has the same name; keep one of them" in errors[-1]


def test_perfect_results_are_valid_json(data, toy, tmp_path, capsys):
    """JSON knows no infinite PSNR."""
    theirs, out = tmp_path / "theirs", tmp_path / "out"
    shutil.copytree(data / "photos", theirs)
    protocol = toy(settings=[{"scale": 2, "kernels": ["gaussian:1.0"]}])
    assert run(capsys, protocol, "--data", data, "--out", out, "--method", f"folder:{theirs}", "--jobs", 1)[0] == 0

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    (row,) = json.loads((out / "table.json").read_text(), parse_constant=refuse)["tables"][0]["rows"]
    assert row["values"]["psnr"]["gaussian-1.0"] is None and row["values"]["ssim"]["gaussian-1.0"] == 1


def test_a_folder_of_results_under_another_name(data, toy, tmp_path, capsys):
    """It keeps its cells, and its old name has no row."""
    theirs, out = tmp_path / "theirs", tmp_path / "out"
    shutil.copytree(data / "photos", theirs)
    common = (toy(settings=[{"scale": 2, "kernels": ["gaussian:1.0"]}]), "--data", data, "--out", out, "--jobs", 1)
    assert run(capsys, *common, "--method", f"folder:{theirs}")[0] == 0
    theirs.rename(tmp_path / "renamed")
    assert run(capsys, *common, "--method", f"folder:{tmp_path / 'renamed'}")[0] == 0
    assert [row["method"] for row in json.loads((out / "table.json").read_text())["tables"][0]["rows"]] == ["renamed"]


@pytest.mark.parametrize("name", ["lr", "truth", "true"])
def test_names_of_our_own_pictures(data, toy, tmp_path, capsys, name):
    shutil.copytree(data / "photos", tmp_path / name)
    code, _, errors = run(capsys, toy(), "--data", data, "--out", tmp_path / "out", "--method", f"folder:{tmp_path / name}")
    assert code == 2 and len(errors) == 1 and f"pictures of ours are called '{name}'" in errors[0]


@pytest.mark.parametrize("twice", [False, True])
def test_a_single_process_finishes_what_is_under_way_when_it_is_told_to_end(data, toy, tmp_path, capsys, monkeypatch, twice):
    """As several do; told a second time it breaks off."""
    made = worker.make_case

    def told(*arguments):
        for _ in range(1 + twice):
            signal.raise_signal(signal.SIGTERM)
        return made(*arguments)

    monkeypatch.setattr(worker, "make_case", told)
    code, _, _ = run(capsys, toy(), "--data", data, "--out", tmp_path / "out", "--method", "bicubic", "--jobs", 1)
    assert code == 130
    assert len(read_lines(tmp_path / "out" / "cells.jsonl")) == (0 if twice else 1)


@pytest.mark.parametrize("option", ["rho: 0", "weight: 0", "iterations: 0"])
def test_options_of_a_method_that_cannot_be(data, toy, tmp_path, capsys, option):
    method = f"{{name: total_variation, {option}}}"
    code, _, errors = run(capsys, toy(), "--data", data, "--out", tmp_path / "out", "--method", method)
    assert code == 2 and len(errors) == 1 and f"{option.split(':')[0]} must be at least" in errors[0]


def test_kernels_by_an_absolute_pattern(data, toy, tmp_path, capsys):
    np.save(tmp_path / "k_one.npy", gaussian(9, 1.1))
    protocol = toy(settings=[{"scale": 2, "kernels": [f"{tmp_path}/k_*.npy"]}])
    common = (protocol, "--data", data, "--out", tmp_path / "out", "--limit", 1, "--jobs", 1, "--method", "bicubic")
    assert run(capsys, *common)[0] == 0
    assert {line["kernel"] for line in read_lines(tmp_path / "out" / "cells.jsonl")} == {"k_one"}


def test_a_model_of_one_scale_is_refused_before_any_work(data, toy, tmp_path, capsys):
    weights = tmp_path / "theirs.safetensors"
    restorer = RRDBNetConfig(scale=2, channels=4, blocks=1, growth=2)
    checkpoints.save(weights, AlternatingSR(AlternatingConfig(restorer)), {})
    protocol = toy(settings=[{"scale": s, "kernels": ["gaussian:1.0"]} for s in (2, 4)])
    common = (protocol, "--data", data, "--out", tmp_path / "out", "--limit", 1, "--jobs", 1)
    for method in (f"published:{weights}", "blind"):
        code, _, errors = run(capsys, *common, "--model", weights, "--method", method)
        assert code == 2 and len(errors) == 1 and "serves ×2 only, not ×4; choose --scale 2" in errors[0]
        assert not (tmp_path / "out").exists()
    assert run(capsys, *common, "--method", f"published:{weights}", "--scale", 2)[0] == 0


def test_names_that_are_not_utf_8(data, toy, tmp_path, capsys):
    photos = data / "photos"
    os.rename(photos / "a.png", os.path.join(os.fsencode(photos), b"caf\xe9.png"))
    out, common = tmp_path / "out", (toy(), "--jobs", 1, "--method", "bicubic")
    data = data.rename(Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"dat\xe9"))))
    assert run(capsys, *common, "--data", data, "--out", out)[0] == 0
    assert {"table.md", "table.csv", "table.json", "report.html", "protocol.json"} <= {p.name for p in out.iterdir()}


@pytest.fixture
def div2krk(data: Path) -> Path:
    """Given photos, each with its own kernel, in the layout of DIV2KRK: the blur correlates with a kernel that is moved
    half a pixel for the centre grid, the file holds it unmoved."""
    folder = data / "test" / "div2krk"
    for name in ("gt", "lr_x2", "gt_k_x2"):
        (folder / name).mkdir(parents=True)
    for i in (1, 2, 10):
        hr, k = grain(i), gaussian(11, 1.4, 0.7, 0.1 * i)
        moved = scipy.ndimage.shift(np.pad(k, 2), 0.5)
        Image.fromarray(hr).save(folder / "gt" / f"img_{i}_gt.png")
        Image.fromarray(cv2.filter2D(hr, -1, moved)[::2, ::2].copy()).save(folder / "lr_x2" / f"im_{i}.png")
        scipy.io.savemat(folder / "gt_k_x2" / f"kernel_{i}.mat", {"Kernel": k})
    return folder


def test_given_photos_with_their_kernels(div2krk, data, toy, tmp_path, capsys, small_model):
    out = tmp_path / "out"
    shipped = registry.as_mapping(load_protocol("dan_setting2")[1]) | {"settings": [{"scale": 2}], "pictures": 1}
    common = (toy(**shipped), "--data", data, "--out", out, "--model", small_model, "--jobs", 1)
    quick = "{name: total_variation, iterations: 15}"
    assert run(capsys, *common, "--method", "bicubic", "oracle", quick, "blind")[0] == 0
    cells = figures(out)
    assert [key[0] for key in cells if key[3] == "bicubic"] == ["1", "2", "10"]
    for i in "12":
        bicubic, told = (cells[i, "given", 0.0, method] for method in ("bicubic", "total_variation"))
        assert told["psnr"] > bicubic["psnr"] + 1 and told["redegraded_psnr"] > 40

    (div2krk / "gt_k_x2" / "kernel_2.mat").unlink()
    code, _, errors = run(capsys, *common)
    assert code == 2 and "im_2.png: its kernel is missing" in errors[-1] and len(errors) == 1
    (div2krk / "gt" / "img_10_gt.png").unlink()
    (div2krk / "lr_x2" / "im_2.png").unlink()
    code, _, errors = run(capsys, *common)
    assert code == 2 and "im_10.png: its truth is missing" in errors[-1]
    (div2krk / "lr_x2" / "im_10.png").unlink()
    Image.fromarray(grain(1)[:-2]).save(div2krk / "gt" / "img_1_gt.png")
    code, _, errors = run(capsys, *common)
    assert code == 2 and "do not differ by the factor 2" in errors[-1]


def test_without_truth(data, toy, tmp_path, capsys):
    for photo in (data / "photos").iterdir():
        Image.fromarray(grain(5, 60, 72)).save(photo)
    protocol = toy(sets=[{"name": "real", "lr": "photos"}], settings=[{"scale": 2}], metrics=["niqe"], border=0)
    common = (protocol, "--data", data, "--out", tmp_path / "out", "--limit", 1, "--jobs", 1)
    code, said, _ = run(capsys, *common, "--method", "bicubic")
    assert code == 0 and "There is no truth" in said and "| NIQE |" in said
    code, _, errors = run(capsys, *common, "--method", "total_variation")
    assert code == 2 and "knows no true kernel" in errors[-1]
    code, _, errors = run(capsys, *common, "--method", "bicubic", "--metric", "psnr")
    assert code == 2 and len(errors) == 1 and "--metric psnr: " in errors[0]


def one_photo(capsys, data: Path, toy, out: Path, *options: object) -> tuple[int, str, list[str]]:
    """A quick run on the first photo alone."""
    protocol = toy(settings=[{"scale": 2, "kernels": ["gaussian:1.0"]}])
    options = options or ("--jobs", 1)
    return run(capsys, protocol, "--data", data, "--out", out, "--limit", 1, "--method", "bicubic", *options)


def test_gray_and_alpha_are_told(data, toy, tmp_path, capsys):
    alpha = np.full((56, 64), 9, np.uint8)
    for name, channels, words in (
        ("gray", cv2.cvtColor(grain(1), cv2.COLOR_RGB2GRAY), "a.png is gray: repeated to three channels"),
        ("alpha", np.dstack([grain(1), alpha]), "a.png has an alpha channel: left out"),
    ):
        Image.fromarray(channels).save(data / "photos" / "a.png")
        code, _, errors = one_photo(capsys, data, toy, tmp_path / name)
        assert code == 0 and f"blindsr: {words}" in errors
        assert all(line["note"] == words for line in read_lines(tmp_path / name / "cells.jsonl"))
    Image.fromarray(grain(1)).save(data / "photos" / "a.png")
    assert one_photo(capsys, data, toy, tmp_path / "plain")[0] == 0
    assert figures(tmp_path / "alpha") == figures(tmp_path / "plain")


def test_sixteen_bits_and_odd_sides_are_fine(data, toy, tmp_path, capsys):
    pixels = grain(1, 57, 67)
    Image.fromarray(pixels[:56, :64]).save(data / "photos" / "a.png")
    assert one_photo(capsys, data, toy, tmp_path / "cropped")[0] == 0
    cv2.imwrite(str(data / "photos" / "a.png"), pixels[..., ::-1].astype(np.uint16) * 257)
    assert one_photo(capsys, data, toy, tmp_path / "deep")[0] == 0
    assert figures(tmp_path / "deep") == figures(tmp_path / "cropped")


@pytest.mark.parametrize(
    "content, words, jobs",
    [(b"", "the file is empty", 1), (b"\x89PNG\r\n\x1a\n and no more", "damaged", 2), (b"hello", "not a PNG", 1)],
)
def test_unreadable_photos_are_named(data, toy, tmp_path, capsys, content, words, jobs):
    (data / "photos" / "a.png").write_bytes(content)
    code, said, errors = one_photo(capsys, data, toy, tmp_path / "out", "--jobs", jobs)
    assert code == 2 and said == "" and len(errors) == 1
    assert errors[0].startswith(f"blindsr: {data / 'photos' / 'a.png'}: ") and words in errors[0]


def test_small_photos_are_named(data, toy, tmp_path, capsys):
    Image.fromarray(grain(1)[:20, :20]).save(data / "photos" / "a.png")
    code, _, errors = one_photo(capsys, data, toy, tmp_path / "out")
    assert code == 2 and len(errors) == 1 and "a.png: a photo of 20×20 is too small" in errors[0]
    Image.fromarray(grain(1)[:32, :32]).save(data / "photos" / "a.png")
    protocol = toy(settings=[{"scale": 2, "kernels": ["gaussian:1.0"]}], border=11)
    code, _, errors = run(capsys, protocol, "--data", data, "--out", tmp_path / "out", "--method", "bicubic", "--jobs", 1)
    assert code == 2 and "blindsr: a_x2_gaussian-1.0_s0: SSIM needs at least 11 pixels a side" in errors[-1]


@pytest.mark.parametrize(
    "options, words",
    [
        (["--data", "nowhere"], "nowhere: no such folder; give the one that holds the photos as --data"),
        (["--data", "."], "no such kernel file"),
        (["--set", "other"], "no set is called 'other'"),
        (["--scale", "2", "4"], "no scale 4; it has 2"),
        (["--sigma", "0", "5"], "no noise of σ 5; it has 0, 2.55 (of 255)"),
        (["--sigma", "-1"], "'-1' is not a noise level"),
        (["--set", "gone"], "photos/gone: no such folder; give the folder that holds photos/gone as --data"),
        (["--method", "bicubi"], "no method is called 'bicubi'; did you mean 'bicubic'?"),
        (["--method", "folder"], "method folder: needs a path"),
        (["--method", "folder:nowhere"], "nowhere is no folder"),
        (["--method", "published:nothing.pth"], "nothing.pth: no such weights file"),
        (["--method", "bicubic", "bicubic"], "two methods are called 'bicubic'; name each method once"),
        (["--method", "bicubic", "--metric", "no_such"], "metric 'no_such'"),
    ],
)
def test_bad_orders(data, toy, tmp_path, capsys, options, words):
    sets = [{"name": "toy", "hr": "photos"}, {"name": "gone", "hr": "photos/gone"}]
    options = options if "--set" in options else [*options, "--set", "toy"]
    common = [toy(sets=sets), "--out", tmp_path / "out", "--jobs", 1]
    code, said, errors = run(capsys, *common, *(["--data", data] if "--data" not in options else []), *options)
    assert code == 2 and said == "" and len(errors) == 1 and words in errors[0], errors
    assert not (tmp_path / "out").exists()


def test_a_single_kernel_has_no_others(data, toy, tmp_path, capsys, small_model):
    settings = [{"scale": 2, "kernels": ["gaussian:1", "gaussian:2"]}, {"scale": 4, "kernels": ["gaussian:1"]}]
    common = (toy(settings=settings), "--data", data, "--out", tmp_path / "out", "--model", small_model)
    code, _, errors = run(capsys, *common, "--method", "wrong_kernel")
    assert code == 2 and len(errors) == 1 and "no other one among the kernels of toy at ×4" in errors[0]
    assert not (tmp_path / "out").exists()


def test_a_non_blind_model_is_not_asked_for_kernels(data, toy, tmp_path, capsys):
    model = tmp_path / "plain.safetensors"
    restorer = USRNetConfig(n_iterations=1, channels=(8, 8), hidden=8)
    checkpoints.save(model, AlternatingSR(AlternatingConfig(restorer=restorer, loops=1)), {})
    options = ["--method", "blind", "--model", model, "--out", tmp_path / "out", "--jobs", 1]
    code, _, errors = run(capsys, toy(), "--data", data, *options)
    assert code == 2 and len(errors) == 1 and "this model is non-blind" in errors[0]


def test_another_benchmark_in_the_folder(data, toy, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "protocol.json").write_text('{"name": "other"}')
    code, _, errors = run(capsys, toy(), "--data", data, "--out", out, "--method", "bicubic")
    assert code == 2 and "holds benchmark other" in errors[-1]


def test_a_protocol_describes_itself(capsys):
    code, said, _ = run(capsys, "usrnet_table1", "--describe")
    assert code == 0 and "truncated" in said and "s²" in said
    assert run(capsys, "usrnet_tabel2", "--describe")[2][0].endswith("did you mean 'usrnet_table2'?")


def test_a_published_file_may_lie_elsewhere(data, toy, tmp_path, capsys, small_model):
    """Its cells are those of its weights; another file of that name has cells of its own."""
    out = tmp_path / "out"
    common = (toy(), "--data", data, "--out", out, "--limit", 1, "--jobs", 1, "--method")
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        shutil.copy(small_model, tmp_path / folder / "theirs.safetensors")
        assert run(capsys, *common, f"published:{tmp_path / folder / 'theirs.safetensors'}")[0] == 0
        assert len(read_lines(out / "cells.jsonl")) == 6
    other = checkpoints.load(small_model).model
    other.restorer.hyper.mlp[-1].bias.data.add_(0.1)
    checkpoints.save(tmp_path / "there" / "theirs.safetensors", other, {})
    load_model.cache_clear()  # as in another process
    weights_fingerprint.cache_clear()
    assert run(capsys, *common, f"published:{tmp_path / 'there' / 'theirs.safetensors'}")[0] == 0
    assert len(read_lines(out / "cells.jsonl")) == 12


def test_what_is_told_of_rounding(data, toy, tmp_path, capsys, small_model):
    """Our model is told σ 0.29 of photos of 8 bits, a published one what was published."""
    model = checkpoints.load(small_model).model
    torch.nn.init.constant_(model.restorer.hyper.mlp[0].weight, 100.0)  # 0.29 of 255 is much to it
    checkpoints.save(tmp_path / "m.safetensors", model, {})
    cells = {}
    for blur in ("uint8", "float"):
        common = (toy(blur=blur), "--data", data, "--out", tmp_path / blur, "--model", tmp_path / "m.safetensors")
        assert run(capsys, *common, "--limit", 1, "--method", "oracle", f"published:{tmp_path / 'm.safetensors'}")[0] == 0
        cells[blur] = figures(tmp_path / blur)
    assert cells["float"]["a", "k1", 0.0, "oracle"] == cells["float"]["a", "k1", 0.0, "m"]
    assert cells["uint8"]["a", "k1", 0.0, "oracle"] != cells["uint8"]["a", "k1", 0.0, "m"]
