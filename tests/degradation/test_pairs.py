"""Folders of pairs: the same whoever makes them, and whenever they are stopped."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from blindsr import cli
from blindsr.atomic import append_line, read_lines
from blindsr.degradation.pairs import BEGUN
from blindsr.degradation.shuffled import replay
from blindsr.images import from_float, read, to_float


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i, side in enumerate((60, 72)):
        coarse = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.BICUBIC).save(folder / f"{i}.png")
    return folder


def degrade(photos, out, *more: str) -> int:
    return cli.main(["degrade", str(photos), "--scale", "2", "--draws", "3", "--patch", "16", "--out", str(out), *more])


def contents(out) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.glob("*/*.png"))}


def test_the_same_whoever_makes_them(photos, tmp_path, capsys):
    """By one process, by two, or in two goes after a loss: the same files."""
    assert degrade(photos, tmp_path / "one", "--jobs", "1") == 0
    assert "6 pairs made" in capsys.readouterr().out
    assert degrade(photos, tmp_path / "two", "--jobs", "2") == 0
    whole = contents(tmp_path / "one")
    assert len(whole) == 12 and contents(tmp_path / "two") == whole
    manifest = tmp_path / "one" / "manifest.jsonl"
    manifest.write_text(manifest.read_text()[:-20])  # as a crash leaves it: the last pair is not told of
    (tmp_path / "one" / "lr" / "1_0001.png").unlink()
    (tmp_path / "one" / "lr" / ".1_0001.png.0123abcd.part").touch()
    capsys.readouterr()
    assert degrade(photos, tmp_path / "one", "--jobs", "1") == 0
    assert "2 pairs made, 4 were there already" in capsys.readouterr().out
    assert degrade(photos, tmp_path / "one", "--jobs", "1") == 0
    assert "0 pairs made, 6 were there already" in capsys.readouterr().out
    assert contents(tmp_path / "one") == whole and not list(tmp_path.glob("one/*/.*"))


def test_another_photo_of_the_same_name_is_not_passed_over(photos, tmp_path, capsys):
    assert degrade(photos, tmp_path / "pairs", "--jobs", "1") == 0
    before = contents(tmp_path / "pairs")
    photos.rename(tmp_path / "moved")
    assert degrade(tmp_path / "moved", tmp_path / "pairs", "--jobs", "1") == 0  # the photos are the same
    Image.effect_noise((60, 60), 50).save(tmp_path / "moved" / "0.png")
    assert degrade(tmp_path / "moved", tmp_path / "pairs", "--jobs", "1") == 2
    assert "holds pairs of other photos or settings (lr/0_0000.png); choose another --out" in capsys.readouterr().err
    assert contents(tmp_path / "pairs") == before


def test_a_record_may_be_wanted_later(photos, tmp_path, capsys):
    assert degrade(photos, tmp_path / "pairs", "--jobs", "1") == 0
    before = contents(tmp_path / "pairs")
    capsys.readouterr()
    assert degrade(photos, tmp_path / "pairs", "--jobs", "1", "--record") == 0
    assert "6 pairs made" in capsys.readouterr().out and contents(tmp_path / "pairs") == before
    assert degrade(photos, tmp_path / "pairs", "--jobs", "1", "--record") == 0
    assert "0 pairs made, 6 were there already" in capsys.readouterr().out
    assert len([line for line in read_lines(tmp_path / "pairs" / "manifest.jsonl") if "record" in line]) == 6


def test_the_manifest_replays_every_pair(photos, tmp_path):
    out = tmp_path / "pairs"
    assert degrade(photos, out, "--record", "--jobs", "1") == 0
    lines = read_lines(out / "manifest.jsonl")
    assert len(lines) == 6
    for line in lines:
        made = replay(to_float(read(line["source"]).pixels), line["record"])
        assert line["grid"] == "centre" and line["scale"] == 2
        for part, pixels in (("lr", made.lr), ("hr", made.hr)):
            np.testing.assert_array_equal(read(out / line[part]).pixels, from_float(pixels, np.uint8))


def test_other_settings_are_not_mixed_in(photos, tmp_path, capsys):
    out = tmp_path / "pairs"
    assert degrade(photos, out, "--jobs", "1") == 0
    before = contents(out)
    assert degrade(photos, out, "--jobs", "1", "--seed", "1") == 2
    assert "holds pairs of other photos or settings" in capsys.readouterr().err
    assert contents(out) == before


def test_pairs_of_other_numbers_or_scales_are_not_mixed_in_under_other_names(photos, tmp_path, capsys):
    """Where no file would be written over, too."""
    assert degrade(photos, tmp_path / "out") == 0
    for more, message in ((("--draws", "1"), "numbered in another way"), (("--scale", "4"), "other photos or settings")):
        other = tmp_path / more[0]
        other.mkdir()
        shutil.copy(next(photos.glob("*.png")), other / "another.png")
        capsys.readouterr()
        assert degrade(other, tmp_path / "out", *more) == 2
        assert message in capsys.readouterr().err
    assert degrade(photos, tmp_path / "out", "--draws", "4") == 0  # more of the same


def test_a_bad_photo_stops_nobody(photos, tmp_path, capsys):
    (photos / "broken.png").write_bytes(b"none")
    Image.new("RGB", (20, 90)).save(photos / "small.png")
    assert degrade(photos, tmp_path / "pairs", "--jobs", "1") == 2
    said = capsys.readouterr()
    assert "6 pairs made" in said.out and "broken.png" in said.err
    assert "12 short of the 32 that are needed at ×2; use a larger photo or a smaller patch" in said.err


@pytest.mark.parametrize(
    "options, message",
    [
        (["--config", "bsrgn"], "did you mean 'bsrgan'"),
        (["--without", "kamera"], "no operation is called 'kamera'"),
        (["--seed", "-1"], "not negative"),
    ],
)
def test_mistakes_are_one_line(photos, tmp_path, capsys, options, message):
    assert degrade(photos, tmp_path / "pairs", *options) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not (tmp_path / "pairs").exists()


def test_sheets_show_24_draws(photos, tmp_path):
    assert degrade(photos, tmp_path / "look", "--sheet") == 0
    sheet = Image.open(tmp_path / "look" / "0_sheet.png")
    assert sheet.size == (4 + 6 * (32 + 4), 4 + 4 * (32 + 4))
    assert degrade(photos, tmp_path / "look", "--sheet") == 2  # it may be the user's
    assert degrade(photos, tmp_path / "look", "--sheet", "--overwrite") == 0
    assert not (tmp_path / "look" / "lr").exists()


def test_record_is_json(photos, tmp_path):
    assert degrade(photos, tmp_path / "pairs", "--jobs", "1", "--config", "bsrgan_plus", "--record") == 0
    for line in (tmp_path / "pairs" / "manifest.jsonl").read_text().splitlines():
        assert [s for s in json.loads(line)["record"]["steps"]][-1]["op"] == "jpeg"


@pytest.mark.parametrize("part", ["hr", "lr"])
def test_photos_are_never_overwritten(photos, tmp_path, capsys, part):
    """Not where the pairs would be written among them, either."""
    among = tmp_path / "data" / part
    among.parent.mkdir()
    photos.rename(among)
    before = {p: p.read_bytes() for p in among.iterdir()}
    assert degrade(among, tmp_path / "data") == 2
    err = capsys.readouterr().err
    assert "into the folder of this photo; choose another --out" in err and err.count("\n") == 1
    assert {p: p.read_bytes() for p in among.iterdir()} == before
    assert degrade(among, among, "--sheet") == 2 and "would be taken for photos later" in capsys.readouterr().err


@pytest.mark.parametrize("restored", [False, True])
def test_pictures_that_no_manifest_tells_of_stay(photos, tmp_path, capsys, restored):
    """That of a folder of restored photos tells of no pairs."""
    (tmp_path / "data" / "hr").mkdir(parents=True)
    if restored:
        (tmp_path / "data" / "manifest.jsonl").write_text('{"result": "1_x2.png", "state": "done"}\n')
    foreign = tmp_path / "data" / "hr" / "1_0002.png"
    foreign.write_bytes(b"somebody's")
    assert degrade(photos, tmp_path / "data") == 2
    err = capsys.readouterr().err
    assert "1_0002.png: exists, and no manifest.jsonl of pairs tells of it" in err and err.count("\n") == 1
    assert contents(tmp_path / "data") == {"hr/1_0002.png": b"somebody's"}


def test_a_manifest_speaks_for_what_it_names_alone(photos, tmp_path, capsys):
    """After a run that found no photo, and after one of other photos, too."""
    alone = tmp_path / "alone"
    alone.mkdir()
    (photos / "1.png").rename(alone / "1.png")
    (tmp_path / "out" / "hr").mkdir(parents=True)
    (tmp_path / "out" / "hr" / "1_0000.png").write_bytes(b"somebody's")
    assert degrade(photos / "none.png", tmp_path / "out") == 2  # no such file
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    assert degrade(photos, tmp_path / "out", "--jobs", "1") == 0
    capsys.readouterr()
    assert degrade(alone, tmp_path / "out", "--jobs", "1") == 2
    assert "1_0000.png: exists, and no manifest.jsonl of pairs tells of it" in capsys.readouterr().err
    assert (tmp_path / "out" / "hr" / "1_0000.png").read_bytes() == b"somebody's"


def test_what_was_begun_is_made_again(photos, tmp_path, monkeypatch):
    """A kill leaves pairs of which the manifest says no more than that."""
    out = tmp_path / "out"
    monkeypatch.setattr("blindsr.degradation.pairs.append_line", lambda path, line: path.name == BEGUN and append_line(path, line))
    assert degrade(photos, out, "--jobs", "1") == 0
    monkeypatch.undo()
    before = contents(out)
    (out / "lr" / "0_0000.png").write_bytes(b"half")
    assert len(before) == 12 and not (out / "manifest.jsonl").exists()
    assert degrade(photos, out, "--jobs", "1") == 0 and contents(out) == before


def test_no_failure_is_lost_in_an_error(photos, tmp_path, capsys):
    assert degrade(photos, tmp_path / "pairs", "--jobs", "1") == 0
    capsys.readouterr()
    arguments = ["degrade", str(photos), str(photos / "none*.png"), "--scale", "4", "--out", str(tmp_path / "pairs")]
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert "none*.png: no image there" in said and "holds pairs of other photos or settings" in said


def test_what_else_a_manifest_holds_is_no_pair(photos, tmp_path):
    out = tmp_path / "pairs"
    out.mkdir()
    (out / "manifest.jsonl").write_text('{"result": "0_x2.png", "state": "done"}\n')
    assert degrade(photos, out, "--jobs", "1") == 0 and len(contents(out)) == 12


def test_a_name_that_is_not_utf_8(photos, tmp_path):
    os.rename(os.fsencode(photos / "0.png"), os.path.join(os.fsencode(photos), b"caf\xe9.png"))
    assert degrade(photos, tmp_path / "pairs", "--jobs", "1") == 0
    assert degrade(photos, tmp_path / "pairs", "--jobs", "1") == 0 and len(contents(tmp_path / "pairs")) == 12
