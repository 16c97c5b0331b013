"""Many photos: a run that was stopped goes on, one bad file stops nothing, several processes share the work."""

from __future__ import annotations

import concurrent.futures
import json
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from blindsr import images
from blindsr.atomic import read_lines
from blindsr.cli import main
from blindsr.commands import manifest
from blindsr.commands.batch import Batch, Job
from blindsr.commands.manifest import Manifest, content_hash
from blindsr.commands.pictures import Middle, middle
from blindsr.commands.restore import RestoreTask
from blindsr.commands.sink import BandSink
from blindsr.kernels.bicubic import bicubic_kernel


@pytest.fixture
def photos(tmp_path: Path, pixels: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(5):
        Image.fromarray(np.roll(pixels, 3 * i, axis=1)).save(folder / f"p{i}.png")
    return folder


@pytest.fixture
def restore(small_model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Runs the command on the folder; answers exit code, standard output and lines of standard error."""

    def run(*options: object, also: tuple[Path, ...] = ()) -> tuple[int, str, list[str]]:
        words = ["restore", photos, *also, "--scale", 2, "--model", small_model, "--out", tmp_path / "out", *options]
        code = main([str(word) for word in words])
        told = capsys.readouterr()
        return code, told.out, told.err.splitlines()

    return run


def done(out: Path) -> list[str]:
    lines = [line for path in out.glob("manifest*.jsonl") for line in read_lines(path)]
    return sorted(line["result"] for line in lines if line.get("state") == "done")


def test_a_second_run_does_what_is_left(restore, photos, tmp_path) -> None:
    out = tmp_path / "out"
    assert restore()[0] == 0
    times = {p.name: p.stat().st_mtime_ns for p in out.glob("*.png")}
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(photos / "late.png")
    code, said, _ = restore()
    assert code == 0 and "1 photo restored" in said and "5 photos were restored already" in said
    assert all((out / name).stat().st_mtime_ns == when for name, when in times.items())
    assert done(out) == sorted([*(f"p{i}_x2.png" for i in range(5)), "late_x2.png"])


def test_other_content_or_settings_are_not_taken_for_done(restore, photos, pixels) -> None:
    restore()
    Image.fromarray(pixels[::-1]).save(photos / "p1.png")
    code, said, errors = restore()
    assert code == 2 and "4 photos were restored already" in said
    assert len(errors) == 2 and "p1_x2.png exists: add --overwrite" in errors[0]
    code, said, errors = restore("--sigma", 3)
    assert code == 2 and len(errors) == 6 and "already" not in said
    assert restore("--sigma", 3, "--overwrite")[0] == 0
    code, said, _ = restore("--sigma", 3)
    assert code == 0 and "5 photos were restored already" in said


def test_every_setting_that_moves_a_pixel_counts(restore) -> None:
    restore()
    others = [("--grid", "corner"), ("--boundary", "taper"), ("--tile", 32), ("--precision", "bf16"), ("--no-refine",)]
    for other in (*others, ("--compare",), ("--per-tile",), ("--kernel", "gaussian:1.0")):
        code, said, errors = restore(*other)
        assert code == 2 and "already" not in said and "p0_x2.png exists: add --overwrite" in errors[0], other
    assert "5 photos were restored already" in restore("--device", "cpu")[1]


def test_a_run_killed_between_two_files_goes_on(restore, tmp_path) -> None:
    """The picture is there and the record is not: what only a kill can leave."""
    out = tmp_path / "out"
    restore()
    lines = (out / "manifest.jsonl").read_text().splitlines()
    (out / "manifest.jsonl").write_text("\n".join(li for li in lines if "p3" not in li or "begun" in li) + '\n{"res')
    (out / "p3_x2.json").unlink()
    code, said, _ = restore()
    assert code == 0 and "1 photo restored" in said and "4 photos were restored already" in said
    assert (out / "p3_x2.json").exists() and len(done(out)) == 5


def test_a_result_that_was_removed_is_made_again(restore, tmp_path) -> None:
    restore()
    (tmp_path / "out" / "p2_x2.png").unlink()
    code, said, _ = restore()
    assert code == 0 and "1 photo restored" in said and (tmp_path / "out" / "p2_x2.png").exists()


def test_one_bad_photo_stops_nothing(restore, photos, tmp_path) -> None:
    (photos / "p2.png").write_bytes((photos / "p2.png").read_bytes()[:100])
    code, said, errors = restore()
    assert code == 2 and "4 photos restored" in said and str(photos / "p2.png") in errors[0]
    assert not list((tmp_path / "out").glob("p2*")) and not list((tmp_path / "out").glob(".*"))


def test_processes_share_the_photos(restore, photos, tmp_path, monkeypatch) -> None:
    """Every photo is done by one process, whatever the others have done already."""
    for rank in (1, 0, 2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        assert restore()[0] == 0
    out = tmp_path / "out"
    assert done(out) == [f"p{i}_x2.png" for i in range(5)]
    assert len(list(out.glob("manifest.*.jsonl"))) == 3
    monkeypatch.setenv("RANK", "1")
    code, said, _ = restore()
    assert code == 0 and "2 photos were restored already" in said


def test_a_process_with_an_error_waits_for_the_others(tmp_path) -> None:
    """Else torchrun would end those that still work."""
    mine, other = (Manifest(tmp_path, dict, rank, 2) for rank in (0, 1))
    waiting = threading.Thread(target=mine.finish, args=(True,), daemon=True)
    waiting.start()
    time.sleep(0.3)
    assert waiting.is_alive()
    other.finish(wait=False)
    waiting.join(5)
    assert not waiting.is_alive()


def test_nobody_waits_for_those_that_ended_well(restore, photos, monkeypatch) -> None:
    (photos / "p1.png").write_bytes(b"no photo")
    monkeypatch.setattr(manifest, "time", SimpleNamespace(time=time.time, sleep=lambda _: pytest.fail("waits")))
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, expected in (("0", 0), ("1", 2)):
        monkeypatch.setenv("RANK", rank)
        assert restore()[0] == expected


def test_processes_know_the_names_of_all_photos(restore, photos, pixels, tmp_path, monkeypatch) -> None:
    """Two photos with one result, and a result that is another's photo, are found whoever has them."""
    Image.fromarray(pixels[::-1]).save(photos / "p0.jpg")
    other = tmp_path / "out" / "p4_x2.png"  # the first process has p0.jpg, p1, p3 and this one, the second the others
    other.parent.mkdir()
    Image.fromarray(pixels).save(other)
    before, told = other.read_bytes(), []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(Manifest, "finish", lambda self, wait: None)
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        told += restore("--overwrite", also=(other, photos / "no*.png"))[2]
    assert sum("is that of" in line and "p0.jpg too" in line for line in told) == 1
    assert sum("would replace an input" in line for line in told) == 1
    assert sum("no image there" in line for line in told) == 1
    assert other.read_bytes() == before


def test_the_last_of_several_runs_counts(restore, monkeypatch) -> None:
    """Whatever the numbers of their processes, after which their manifests are called."""
    restore()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(Manifest, "finish", lambda self, wait: None)
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert restore("--sigma", 3, "--overwrite")[0] == 0
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.delenv("RANK")
    assert "5 photos were restored already" in restore("--sigma", 3)[1]
    assert "already" not in restore()[1]


def test_a_photo_is_known_as_it_was_read(restore, pixels, tmp_path, monkeypatch) -> None:
    """Not as it was when the run began."""
    restore()
    (tmp_path / "out" / "p3_x2.json").unlink()
    read = RestoreTask.read

    def change_first(task, job):
        Image.fromarray(pixels[::-1]).save(job.source)
        return read(task, job)

    monkeypatch.setattr(RestoreTask, "read", change_first)
    assert restore()[0] == 0
    assert "5 photos were restored already" in restore()[1]


def test_an_unusable_model_is_one_error_in_a_second_run_too(restore) -> None:
    restore()
    code, _, errors = restore("--model", "missing")
    assert code == 2 and len(errors) == 1


def test_the_word_bicubic_is_another_setting_than_its_taps(restore, tmp_path) -> None:
    np.save(tmp_path / "k.npy", bicubic_kernel(2))
    restore("--kernel", "bicubic")
    assert "already" not in restore("--kernel", tmp_path / "k.npy")[1]
    assert "already" in restore("--kernel", "bicubic")[1]


def test_unusual_names(restore, photos, pixels, tmp_path) -> None:
    """One that is not UTF-8, one of as many bytes as there may be, and a pipe that nobody writes to."""
    file = (photos / "p0.png").read_bytes()
    for name in (os.fsdecode(b"caf\xe9.png"), 80 * "\u5199" + ".png"):
        (photos / name).write_bytes(file)
    os.mkfifo(tmp_path / "pipe.png")
    code, said, errors = restore(also=(tmp_path / "pipe.png",))
    assert code == 2 and "7 photos restored" in said and "no ordinary file" in errors[0]
    code, said, errors = restore()
    assert code == 0 and "7 photos were restored already" in said


def test_what_a_killed_run_left_is_removed(restore, tmp_path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in (".p0_x2.png.0123abcd.part", ".p0_x2.json.0123abcd.part", ".another.png.0123abcd.part"):
        (out / name).touch()
    assert restore()[0] == 0
    assert [p.name for p in out.glob(".*")] == [".another.png.0123abcd.part"]


def test_ctrl_c_while_waiting_for_one_photo_keeps_the_next(tmp_path, monkeypatch) -> None:
    waited, written = [], []

    def interrupted(futures) -> None:
        waited.append(futures)
        if len(waited) == 1:
            raise KeyboardInterrupt
        concurrent.futures.wait(futures)

    monkeypatch.setattr("blindsr.commands.batch.wait", interrupted)
    jobs = [Job(tmp_path / name, ()) for name in "abc"]
    batch = Batch("restored")
    with pytest.raises(KeyboardInterrupt):
        batch.run(jobs, lambda job: None, lambda job, _: lambda: written.append(job) or job.source.name)
    assert written == jobs[:2] and batch.done == 2


def test_the_bands_of_one_photo_in_another_format(restore, tmp_path) -> None:
    assert restore("--format", "tif", "--tile", 32)[0] == 0
    assert images.read(tmp_path / "out" / "p0_x2.tif").pixels.shape == (48, 60, 3)
    assert json.loads((tmp_path / "out" / "p0_x2.json").read_text())["output"].endswith("p0_x2.tif")


def test_a_large_photo_shows_its_middle(restore, photos, tmp_path, monkeypatch) -> None:
    whole = tmp_path / "whole"
    assert restore("--compare", "--tile", 32)[0] == 0
    (tmp_path / "out").rename(whole)
    monkeypatch.setattr("blindsr.commands.pictures.LARGEST", 40)
    assert restore("--compare", "--tile", 32)[0] == 0
    wide, narrow = (Image.open(folder / "p0_x2_compare.png") for folder in (whole, tmp_path / "out"))
    assert narrow.size != wide.size


@pytest.mark.parametrize("bands", [(48,), (10, 11, 27), (1,) * 48])
def test_the_middle_is_cut_out_of_whatever_bands_come(pixels, monkeypatch, bands) -> None:
    monkeypatch.setattr("blindsr.commands.pictures.LARGEST", 20)
    large = pixels.repeat(2, axis=0).repeat(2, axis=1)
    shown, top = Middle(pixels, 2), 0
    for height in bands:
        shown.put(large[top : top + height])
        top += height
    assert not shown.whole and shown.before.shape == (10, 10, 3)
    assert np.array_equal(shown.after, middle(large, 20))
    assert np.array_equal(shown.after, shown.before.repeat(2, axis=0).repeat(2, axis=1))  # one lies on the other


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b").write_bytes(b"x" * 3_000_000)
    assert content_hash(tmp_path / "a") == content_hash(tmp_path / "b") != content_hash(Path(__file__))


class TestSink:
    @pytest.fixture
    def like(self, pixels: np.ndarray) -> images.Photo:
        return images.Photo(pixels)

    def test_a_disk_that_fills_up_is_told_to_whoever_restores(self, like, tmp_path, monkeypatch) -> None:
        def full(stream, bands, *_: object) -> None:
            next(iter(bands))
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("blindsr.images.bands.write_png", full)
        sink = BandSink(tmp_path / "p.png", (400, 30, 3), like, False)
        with pytest.raises(images.ImageError, match="free some space"):
            for _ in range(100):
                sink.put(like.pixels[:4])
        assert not list(tmp_path.iterdir())

    def test_what_is_given_up_leaves_nothing(self, like, tmp_path) -> None:
        sink = BandSink(tmp_path / "p.png", (24, 30, 3), like, False)
        sink.put(like.pixels[:10])
        sink.give_up()
        assert not list(tmp_path.iterdir())
        with pytest.raises(images.ImageError, match="exists already"):
            (tmp_path / "q.png").touch()
            BandSink(tmp_path / "q.png", (24, 30, 3), like, False)


def test_kernels_of_the_parts_are_drawn(restore, tmp_path) -> None:
    assert restore("--per-tile", "--compare")[0] == 0
    assert Image.open(tmp_path / "out" / "p0_x2_kernels.png").width > 30
    assert "kernel_widths" in json.loads((tmp_path / "out" / "p0_x2.json").read_text())
    code, _, errors = restore("--per-tile", "--kernel", "gaussian:1.0")
    assert code == 2 and len(errors) == 1 and "the same everywhere" in errors[0]


def test_refined_kernels(restore, tmp_path) -> None:
    assert restore("--refine")[0] == 0
    assert json.loads((tmp_path / "out" / "p0_x2.json").read_text())["settings"]["refined"]
    code, _, errors = restore("--refine", "--kernel", "gaussian:1.0")
    assert code == 2 and len(errors) == 1 and "not refined" in errors[0]


def test_results_do_not_become_photos(small_model, photos, tmp_path, capsys) -> None:
    """A folder that is its own --out would be restored again and again; one photo of it may be."""
    words = ["restore", "--scale", "2", "--model", str(small_model), "--out", str(photos)]
    for inputs in (str(photos), f"{photos}/p*.png"):
        assert main([*words, inputs]) == 2
        assert "would be taken for photos later: choose another --out" in capsys.readouterr().err
    assert len(list(photos.iterdir())) == 5
    assert main([*words, str(photos / "p1.png")]) == 0 and (photos / "p1_x2.png").exists()


def test_one_photo_however_it_is_named(small_model, photos, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(photos)
    words = ["restore", "--scale", "2", "--model", str(small_model), "--kernel", "gaussian:1", "--out", "."]
    assert main([*words, "./p1.png"]) == 0
    assert main([*words, "../photos//p2.png", "--out", "../photos"]) == 0
    assert {"p1_x2.png", "p2_x2.png"} <= {p.name for p in photos.iterdir()}


def test_overwriting_goes_on_where_it_was_stopped(restore, tmp_path) -> None:
    restore()
    assert "5 photos restored" in restore("--sigma", 3, "--overwrite")[1]
    (tmp_path / "out" / "p3_x2.json").unlink()
    code, said, _ = restore("--sigma", 3, "--overwrite")
    assert code == 0 and "1 photo restored" in said and "4 photos were restored already" in said


def test_lines_of_others_in_the_manifest(restore, tmp_path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest_of_mine.jsonl").write_text('5\n{"result": "p1_x2.png"}\n{"result": "p1_x2.png"}\n["a"]\n')
    assert restore()[0] == 0 and restore()[0] == 0


def test_who_finished_while_another_began_is_not_waited_for(tmp_path, monkeypatch) -> None:
    """PyTorch may take long to load in one process, and another have nothing to do."""
    (tmp_path / "manifest.1.jsonl").write_text(f'{{"rank": 1, "finished": {time.time() - 30}}}\n')
    monkeypatch.setattr(manifest, "BEGAN", time.time() - 31)
    Manifest(tmp_path, dict, 0, 2).finish(wait=True)


def test_a_manifest_cut_within_a_letter(restore, photos, tmp_path) -> None:
    """And names that hold what other programs take for the end of a line."""
    (photos / "p0.png").rename(photos / "café\u2028.png")
    assert restore()[0] == 0
    with (tmp_path / "out" / "manifest.jsonl").open("ab") as file:
        file.write(b'{"result": "caf\xc3')
    code, said, _ = restore()
    assert code == 0 and "5 photos were restored already" in said
