"""``blindsr pack``: what it stores, what it passes over, and that it may be killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blindsr import images
from blindsr.cli import main
from blindsr.interfaces import BlindSRError
from blindsr.locking import only_writer
from blindsr.training import packed
from blindsr.training.photos import open_photos


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines of standard error."""
    try:
        code = main([str(a) for a in arguments])
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr()
    return code, told.out, told.err.splitlines()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven photos: five of 8 bits, of different sizes, a 16-bit one and a gray one."""
    rng, folder = np.random.default_rng(0), tmp_path / "photos"
    folder.mkdir()
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (60 + 40 * i, 200, 3), np.uint8)).save(folder / f"{i}.png")
    images.write(folder / "deep.png", images.Photo(rng.integers(0, 65536, (150, 140, 3), np.uint16)))
    images.write(folder / "gray.tif", images.Photo(rng.integers(0, 256, (131, 77, 1), np.uint8)))
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "SHARD_BYTES", 150_000)


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}  # of one that was killed


def test_a_store_holds_every_bit(photos, tmp_path, capsys, small_shards):
    out = tmp_path / "photos.pack"
    code, said, errors = run(capsys, "pack", photos, "--out", out)
    assert code == 0 and "7 photos added" in said and str(out) in said
    assert errors == [] and len(files(out)) > 2
    store, folder = open_photos([str(out)]), open_photos([str(photos)])
    assert [store.name(i) for i in range(7)] == [folder.name(i) for i in range(7)]
    for i in range(7):
        assert store.size(i) == folder.size(i)
        assert store.pixels(i).dtype == folder.pixels(i).dtype
        np.testing.assert_array_equal(store.pixels(i), folder.pixels(i))


def test_what_is_there_is_passed_over(photos, tmp_path, capsys, monkeypatch):
    out = tmp_path / "photos.pack"
    assert run(capsys, "pack", photos, "--out", out)[0] == 0
    before = files(out)
    with monkeypatch.context() as patched:
        patched.setattr(images, "read", None)  # nothing is decoded
        code, said, _ = run(capsys, "pack", photos, photos / "1.png", "--out", out)
        assert code == 0 and "0 photos added, 7 were there already" in said
        moved = shutil.copytree(photos, tmp_path / "moved")
        for path in moved.iterdir():
            os.utime(path, (1, 1))
        code, said, _ = run(capsys, "pack", moved, "--out", out)
        assert code == 0 and "0 photos added, 7 were there already" in said
    assert files(out) == before

    Image.new("RGB", (30, 20), "red").save(photos / "1.png")  # changed, under a name that is known
    code, said, _ = run(capsys, "pack", photos, "--out", out)
    assert code == 0 and "1 photo added, 6 were there already" in said
    assert files(out).items() > before.items() and len(open_photos([str(out)])) == 8


KILLED = """
import os, signal, sys
from blindsr import cli, images
from blindsr.training import packed

packed.SHARD_BYTES = 150_000
read, left = images.read, [5]

def read_or_die(*arguments):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(*arguments)

images.read = read_or_die
cli.main(sys.argv[1:])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_pack_goes_on_and_ends_as_one_made_in_one_go(photos, tmp_path, capsys, small_shards):
    out, whole = tmp_path / "out", tmp_path / "whole"
    command = [sys.executable, "-c", KILLED, "pack", photos, "--out", out]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    kept = files(out)
    (out / ".00001.h5.01234567.part").write_bytes(b"killed while it was written")
    n = len(open_photos([str(out)]))  # what is there can be used already
    assert 0 < n < 7
    code, said, _ = run(capsys, "pack", photos, "--out", out)
    assert code == 0 and f"{7 - n} photos added, {n} were there already" in said
    assert run(capsys, "pack", photos, "--out", whole)[0] == 0
    assert files(out) == files(whole) and files(out).items() > kept.items()


def test_ctrl_c_leaves_whole_shards_and_one_line(photos, tmp_path, capsys, monkeypatch, small_shards):
    read = images.read

    def stop_at_the_fifth(path, *arguments):
        if path.name == "4.png":
            raise KeyboardInterrupt
        return read(path, *arguments)

    monkeypatch.setattr(images, "read", stop_at_the_fifth)
    code, _, errors = run(capsys, "pack", photos, "--out", tmp_path / "out")
    assert code == 130 and errors == ["blindsr: stopped; results that were finished are kept"]
    assert all(name.endswith(".h5") for name in files(tmp_path / "out"))
    assert len(open_photos([str(tmp_path / "out")])) > 0


def test_bad_files_are_named_and_counted(photos, tmp_path, capsys):
    (photos / "0.png").write_bytes(b"not a photo")
    out = tmp_path / "out"
    code, said, errors = run(capsys, "pack", photos, tmp_path / "none.png", "--out", out)
    assert code == 2 and "6 photos added" in said
    assert any("0.png: not a PNG" in line for line in errors) and any("none.png: no such file" in e for e in errors)
    assert "2 of 8 photos failed" in errors[-1] and len(open_photos([str(out)])) == 6


def test_where_nothing_can_be_packed_nothing_is_made(tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"")
    code, _, errors = run(capsys, "pack", tmp_path / "bad.png", "--out", tmp_path / "out")
    assert code == 2 and "empty" in errors[0] and not (tmp_path / "out").exists()


def test_mistakes_are_one_line(photos, tmp_path, capsys, monkeypatch):
    code, _, errors = run(capsys, "pack", photos, "--out", photos)
    assert code == 2 and len(errors) == 1 and "holds other things (0.png); choose another --out" in errors[0]
    code, _, errors = run(capsys, "pack", photos, "--out", photos / "0.png")
    assert code == 2 and len(errors) == 1 and "choose another --out" in errors[0]

    out = tmp_path / "out"
    run(capsys, "pack", photos, "--out", out)
    (shard,) = out.iterdir()
    shard.write_bytes(shard.read_bytes()[:5000])
    code, _, errors = run(capsys, "pack", photos, "--out", out)
    assert code == 2 and len(errors) == 1 and f"{shard}: cut off" in errors[0] and "delete it" in errors[0]

    monkeypatch.setitem(sys.modules, "h5py", None)
    code, _, errors = run(capsys, "pack", photos, "--out", tmp_path / "other")
    assert code == 2 and len(errors) == 1 and "pip install 'blindsr[pack]'" in errors[0]


FULL = """
import resource, signal, sys
from blindsr import cli

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # writing more fails, as on a full disk
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX's")
def test_a_full_disk_is_one_line(photos, tmp_path):
    command = [sys.executable, "-c", FULL, "pack", photos, "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and "cannot be written" in line and "free some space" in line
    assert list((tmp_path / "out").iterdir()) == []


def test_help_needs_neither_torch_nor_h5py(capsys):
    code, said, _ = run(capsys, "pack", "--help")
    assert code == 0 and "--out DIR" in said and "photos.pack" in said
    code = (
        "import sys; from blindsr import cli; from contextlib import suppress\n"
        "with suppress(SystemExit): cli.main(['pack', '--help'])\n"
        "sys.exit('torch' in sys.modules or 'h5py' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_one_at_a_time(photos, tmp_path, capsys):
    out = tmp_path / "photos.pack"
    with only_writer(out, "wait"):
        code, said, errors = run(capsys, "pack", photos, "--out", out)
    assert code == 2 and len(errors) == 1 and "another process is writing to it; wait for it" in errors[0]
    first, second = packed.Packer(out), packed.Packer(out)  # both see an empty store
    sources, fail = sorted(photos.iterdir()), pytest.fail
    assert first.add(sources, fail, 10**9) == 7
    with pytest.raises(BlindSRError, match="another process has added to it"):
        second.add(sources, fail, 10**9)
    assert len(open_photos([str(out)])) == 7
