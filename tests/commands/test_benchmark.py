"""``blindsr benchmark`` on toy data: resumable, the same by any number of processes, clear about bad input."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import yaml
from PIL import Image

from blindsr import checkpoints
from blindsr.alternating import AlternatingConfig, AlternatingSR
from blindsr.cli import main
from blindsr.evaluation.jsonl import read_lines
from blindsr.kernels.gaussian import gaussian
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
    code, said, _ = run(capsys, *common, "--limit", 1, "--method", "bicubic", "oracle", "blind", "wrong_kernel")
    assert code == 0 and "Toy. Sharp photos" in said and "dB below the oracle" in said
    cells = figures(out)
    assert {key[0] for key in cells} == {"a"} and {key[1] for key in cells} == {"gaussian1.0", "k1", "k2"}
    assert {key[3] for key in cells} == {"bicubic", "oracle", "blind", "blind, loop 1", "wrong_kernel"}
    assert {"kernel_psnr", "kernel_correlation", "sigma_error_255"} <= set(cells["a", "k1", 0.0, "blind"])
    assert 0 <= cells["a", "k1", 0.0, "blind"]["kernel_correlation"] <= 1.001
    pictures = {p.name for p in (out / "pictures" / "a_x2_k1_s2.55").iterdir()}
    assert {"lr.png", "truth.png", "bicubic.png", "kernel_true.png", "kernel_blind.png"} <= pictures
    about = json.loads((out / "protocol.json").read_text())
    assert about["methods"] == ["bicubic", "oracle", "blind", "wrong_kernel"] and len(about["kernels"]["k1"]) == 9
    assert {p.name for p in out.iterdir()} >= {"table.md", "table.csv", "table.json"}

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


def test_means_in_the_table_are_those_of_the_cells(data, toy, tmp_path, capsys):
    out = tmp_path / "out"
    run(capsys, toy(), "--data", data, "--out", out, "--method", "bicubic", "--jobs", 1)
    cells = figures(out)
    assert len(cells) == 18
    by_hand = np.mean([cells[name, "k2", 2.55, "bicubic"]["psnr"] for name in "abc"])
    tables = json.loads((out / "table.json").read_text())["tables"]
    assert tables[1]["rows"][0]["values"]["psnr"]["k2"] == pytest.approx(by_hand, abs=1e-9)
    assert f"{by_hand:.2f}" in (out / "table.md").read_text()


def test_processes_make_no_difference(data, toy, tmp_path, capsys, small_model):
    common = (toy(), "--data", data, "--model", small_model, "--limit", 1, "--method", "bicubic", "oracle")
    assert run(capsys, *common, "--out", tmp_path / "one", "--jobs", 1)[0] == 0
    assert run(capsys, *common, "--out", tmp_path / "two", "--jobs", 2)[0] == 0
    assert figures(tmp_path / "one") == figures(tmp_path / "two")


def test_ranks_share_the_cases(data, toy, tmp_path, capsys, monkeypatch):
    """Each writes a file of its own, and reading takes all of them."""
    from blindsr.evaluation.benchmark import Benchmark

    monkeypatch.setattr(Benchmark, "_wait_for_all", lambda self: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    common = (toy(), "--data", data, "--out", tmp_path / "out", "--method", "bicubic", "--jobs", 1)
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        code, said, _ = run(capsys, *common)
        assert code == 0 and ("table" in said) == (rank == "0")
    shares = [read_lines(tmp_path / "out" / f"cells.{rank}.jsonl") for rank in (0, 1)]
    assert [len(share) for share in shares] == [9, 9]
    assert "3 photos" in (tmp_path / "out" / "table.md").read_text()


def test_results_of_another_program(data, toy, tmp_path, capsys):
    theirs, out = tmp_path / "theirs", tmp_path / "out"
    theirs.mkdir()
    protocol = toy(settings=[{"scale": 2, "kernels": ["gaussian:1.0"]}])
    for name in "ab":
        Image.open(data / "photos" / f"{name}.png").save(theirs / f"{name}_x2_gaussian1.0_s0.png")
    common = (protocol, "--data", data, "--out", out, "--method", f"folder:{theirs}", "--jobs", 1, "--limit")
    code, _, _ = run(capsys, *common, 2)
    assert code == 0 and figures(out)["a", "gaussian1.0", 0.0, "theirs"]["psnr"] == float("inf")
    code, _, errors = run(capsys, *common, 3)
    assert code == 2 and "holds no c_x2_gaussian1.0_s0.png" in errors[-1]
    Image.fromarray(grain(3)[:, :-2]).save(theirs / "c.png")
    code, _, errors = run(capsys, *common, 3)
    assert code == 2 and "differ in size (62×56 and 64×56)" in errors[-1]


@pytest.fixture
def div2krk(data: Path) -> Path:
    """Given photos, each with its own kernel, in the layout of DIV2KRK."""
    for folder in ("gt", "lr_x2", "gt_k_x2"):
        (data / folder).mkdir()
    for i in (1, 2, 10):
        hr, k = grain(i), gaussian(11, 1.0, 0.6, 0.1 * i)
        Image.fromarray(hr).save(data / "gt" / f"img_{i}_gt.png")
        Image.fromarray(cv2.filter2D(hr, -1, k)[::2, ::2].copy()).save(data / "lr_x2" / f"im_{i}.png")
        scipy.io.savemat(data / "gt_k_x2" / f"kernel_{i}.mat", {"Kernel": k})
    return data


GIVEN = {
    "sets": [
        {
            "name": "k",
            "hr": "gt",
            "lr": "lr_x{scale}",
            "kernels": "gt_k_x{scale}",
            "ignore": ["img_", "im_", "kernel_", "_gt"],
        }
    ],
    "settings": [{"scale": 2}],
}


def test_given_photos_with_their_kernels(div2krk, toy, tmp_path, capsys, small_model):
    out = tmp_path / "out"
    common = (toy(**GIVEN), "--data", div2krk, "--out", out, "--model", small_model, "--jobs", 1)
    quick = "{name: total_variation, iterations: 15}"
    assert run(capsys, *common, "--method", "bicubic", "oracle", quick, "blind")[0] == 0
    cells = figures(out)
    assert [key[0] for key in cells if key[3] == "bicubic"] == ["1", "2", "10"]
    assert all(
        cells[i, "given", 0.0, "total_variation"]["psnr"] > cells[i, "given", 0.0, "bicubic"]["psnr"] for i in "12"
    )

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


def test_gray_photos_are_told(data, toy, tmp_path, capsys):
    Image.fromarray(grain(1)).convert("L").save(data / "photos" / "a.png")
    out = tmp_path / "out"
    code, _, errors = run(capsys, toy(), "--data", data, "--out", out, "--limit", 1, "--method", "bicubic", "--jobs", 1)
    assert code == 0 and "blindsr: a.png is gray: repeated to three channels" in errors
    assert all("gray" in line["note"] for line in read_lines(out / "cells.jsonl"))


@pytest.mark.parametrize(
    "options, words",
    [
        (["--data", "nowhere"], "nowhere: no such folder; give the one that holds the photos as --data"),
        (["--data", "."], "no such kernel file"),
        (["--set", "other"], "no set is called 'other'"),
        (["--method", "bicubi"], "no method is called 'bicubi'; did you mean 'bicubic'?"),
        (["--method", "folder"], "method folder: needs a path"),
        (["--method", "folder:nowhere"], "nowhere is no folder"),
        (["--method", "published:nothing.pth"], "nothing.pth: no such weights file"),
        (["--method", "bicubic", "bicubic"], "two methods are called 'bicubic'"),
        (["--method", "bicubic", "--metric", "no_such"], "metric 'no_such'"),
    ],
)
def test_bad_orders(data, toy, tmp_path, capsys, options, words):
    common = [toy(), "--out", tmp_path / "out", "--jobs", 1]
    code, said, errors = run(capsys, *common, *(["--data", data] if "--data" not in options else []), *options)
    assert code == 2 and said == "" and len(errors) == 1 and words in errors[0], errors
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
