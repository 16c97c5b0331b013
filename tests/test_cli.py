"""The command line: what it refuses, what a batch does, and the commands for real with a small model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageCms
from scipy.io import loadmat

from blindsr import checkpoints, images
from blindsr.alternating import AlternatingConfig, AlternatingSR
from blindsr.cli import COMMANDS, main
from blindsr.commands import arguments
from blindsr.inference import sizes, sources
from blindsr.interfaces import BlindSRError
from blindsr.restorers.usrnet import USRNetConfig

ROOT = Path(__file__).resolve().parents[1]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines of standard error."""
    try:
        code = main([str(a) for a in arguments])
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr()
    return code, told.out, told.err.splitlines()


@pytest.fixture
def photo(tmp_path: Path, pixels: np.ndarray) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


class FakeModel:
    """Enlarges by repetition; fails, or is interrupted, where its ``answer`` says so."""

    field = kernel = sigma = None
    grid = "centre"

    def __init__(self) -> None:
        self.calls: list[SimpleNamespace] = []
        self.answer: Exception | BaseException | None = None

    def check_blind(self, cure: str) -> None:
        pass

    def check_serves(self, scale: int, kernel: str | None, sigma: float | None, grid: str) -> None:
        pass

    def refines(self, kernel: str | None, refine: bool | None) -> bool:
        return bool(refine)

    def fingerprint(self) -> str:
        return "12345678"

    def restore(self, source: images.Photo, scale: int, into: Callable, **options: object) -> FakeModel:
        self.calls.append(SimpleNamespace(source=source, scale=scale, **options))
        if self.answer is not None:
            raise self.answer
        into(source.pixels.repeat(scale, axis=0).repeat(scale, axis=1))
        return self

    def record(self) -> dict[str, object]:
        return {}

    def summary(self) -> str:
        return "done"

    def advice(self) -> str | None:
        return None


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    model = FakeModel()
    monkeypatch.setattr("blindsr.commands.model.load_model", lambda arguments: model)
    return model


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ([], "COMMAND"),
        (["sharpen"], "invalid choice: 'sharpen'"),
        (["restore"], "INPUT"),
        (["restore", "a.png", "--scale", "5"], "invalid choice: 5"),
        (["restore", "a.png", "--scal", "2"], "unrecognized arguments: --scal 2; did you mean --scale? (see 'blindsr restore --help')"),
        (["restore", "a.png", "--kernl=disk:2"], "unrecognized arguments: --kernl=disk:2; did you mean --kernel?"),
        (["restore", "a.png", "--gpu"], "unrecognized arguments: --gpu (see"),
        (["restore", "a.png", "--sigma", "100.1"], "'100.1' is not a noise level from 0 to 100 (of 255)"),
        (["restore", "a.png", "--sigma", "nan"], "'nan' is not a noise level"),
        (["restore", "a.png", "--sigma=-1"], "'-1' is not a noise level"),
        (["restore", "a.png", "--tile", "0"], "'0' is not a whole number of at least 1"),
        (["restore", "a.png", "--tile", "31"], "tiles of 31 pixels are too small, use at least 32"),
        (["restore", "a.png", "--max-pixels", "many"], "'many' is not a whole number"),
        (["restore", "a.png", "--device", "gpu"], "'gpu' is not one of auto, cpu"),
        (["train", "tiny", "--resume", "--fresh"], "not allowed with argument"),
    ],
)
def test_a_wrong_command_line_is_one_line(line: list[str], words: str, capsys) -> None:
    code, out, err = run(capsys, *line)
    assert (code, out, len(err)) == (2, "", 1)
    assert err[0].startswith("blindsr: ") and words in err[0] and "--help" in err[0]


def test_the_parser_has_the_limits_of_the_facade() -> None:
    assert arguments.MAX_SIGMA_255 / 255 == sources.MAX_SIGMA
    assert arguments.SMALLEST_TILE == sizes.SMALLEST_TILE


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_teaches(command: list[str], capsys) -> None:
    code, out, err = run(capsys, *command, "--help")
    assert (code, err) == (0, [])
    assert "example" in out and "blindsr" in out and all(len(line) <= 120 for line in out.splitlines())


def test_every_input_fails_by_itself_and_the_summary_names_it(fake, photo, tmp_path, capsys) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    inputs = [tmp_path / "empty.png", photo, tmp_path / "missing.png", tmp_path / "text.jpg"]
    code, out, err = run(capsys, "restore", *inputs, "--out", tmp_path / "out")
    assert code == 2
    assert (tmp_path / "out" / "photo_x4.png").exists() and "1 photo restored" in out
    assert [sum(str(path) in line for line in err) for path in inputs] == [1, 0, 1, 1]
    assert err[-1] == "blindsr: 3 of 4 photos failed, named above"


def test_an_empty_folder_and_a_circle_of_links_stop_nothing(fake, photo, tmp_path, capsys) -> None:
    empty, circle = tmp_path / "empty", tmp_path / "circle.png"
    empty.mkdir()
    circle.symlink_to(circle)
    code, out, err = run(capsys, "restore", f"{empty}/", circle, f"{tmp_path}/x*.png", photo, "--out", tmp_path / "out")
    assert code == 2 and "1 photo restored" in out and len(err) == 4
    assert err[0].startswith(f"blindsr: {empty}/: no image there") and err[1].startswith(f"blindsr: {tmp_path}/x*.png")
    assert err[2].startswith(f"blindsr: {circle}: ")


def test_a_missing_file_is_one_line_and_makes_no_folder(fake, tmp_path, capsys) -> None:
    code, out, err = run(capsys, "restore", tmp_path / "missing.png", "--out", tmp_path / "out")
    assert (code, out, len(err)) == (2, "", 1) and str(tmp_path / "missing.png") in err[0]
    assert not (tmp_path / "out").exists()


def test_existing_results_are_kept_before_any_work(fake, photo, tmp_path, capsys) -> None:
    kept = tmp_path / "photo_x2.json"  # any one of the results counts
    kept.write_text("mine")
    code, _, err = run(capsys, "restore", photo, "--scale", 2, "--out", tmp_path)
    assert (code, len(err), fake.calls, kept.read_text()) == (2, 1, [], "mine")
    assert "photo_x2.json exists: add --overwrite" in err[0]
    assert run(capsys, "restore", photo, "--scale", 2, "--out", tmp_path, "--overwrite")[0] == 0
    assert len(fake.calls) == 1


def test_two_inputs_of_one_name_never_share_a_result(fake, photo, tmp_path, capsys) -> None:
    other = tmp_path / "other" / "photo.jpg"
    other.parent.mkdir()
    Image.new("RGB", (30, 20), "red").save(other)
    code, out, err = run(capsys, "restore", photo, other, "--out", tmp_path / "out", "--overwrite")
    assert code == 2 and len(fake.calls) == 1 and "1 photo restored" in out
    assert err[0].startswith(f"blindsr: {other}: ") and f"is that of {photo} too" in err[0]


def test_an_input_is_never_replaced(fake, photo, tmp_path, capsys) -> None:
    earlier = tmp_path / "photo_x4.png"
    earlier.write_bytes(photo.read_bytes())
    code, _, err = run(capsys, "restore", photo, earlier, "--out", tmp_path, "--overwrite")
    assert code == 2 and "would replace an input" in err[0]
    assert earlier.read_bytes() == photo.read_bytes()
    assert (tmp_path / "photo_x4_x4.png").exists()


def test_results_that_a_shell_names_with_their_photos_are_left_out(fake, photo, tmp_path, capsys) -> None:
    """`blindsr restore *.png --out .`, again and again, also at another scale."""
    for scale, more in ((4, ["--compare"]), (4, ["--compare"]), (2, [])):
        inputs = sorted(tmp_path.glob("*.png"))
        code, _, err = run(capsys, "restore", *inputs, "--out", tmp_path, "--scale", scale, *more)
        left = ["blindsr: 2 of the inputs are results of the others, and left out"]
        assert code == 0 and [line for line in err if "left out" in line] == (left if len(inputs) > 1 else [])
    names = ["photo.png", "photo_x2.png", "photo_x4.png", "photo_x4_compare.png"]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == names and len(fake.calls) == 2
    assert run(capsys, "restore", tmp_path / "photo_x2.png", "--out", tmp_path)[0] == 0  # by itself it is a photo
    assert (tmp_path / "photo_x2_x4.png").exists()


def test_a_photo_with_a_name_like_that_of_a_result_is_restored(fake, photo, tmp_path, capsys) -> None:
    own = tmp_path / "photo_x4_cut.png"
    own.write_bytes(photo.read_bytes())
    assert run(capsys, "restore", photo, "--out", tmp_path)[0] == 0
    assert run(capsys, "restore", photo, own, "--out", tmp_path)[0] == 0
    assert (tmp_path / "photo_x4_cut_x4.png").exists() and len(fake.calls) == 2


def test_options_reach_the_model_in_its_units(fake, photo, tmp_path, capsys) -> None:
    options = ("--sigma", "2.55", "--kernel", "gaussian:1.6", "--scale", 3, "--grid", "corner", "--boundary", "taper")
    more = ("--tile", 64, "--no-refine")
    assert run(capsys, "restore", photo, "--out", tmp_path / "out", *options, *more)[0] == 0
    (call,) = fake.calls
    assert (call.sigma, call.kernel, call.scale) == (pytest.approx(0.01), "gaussian:1.6", 3)
    assert (call.grid, call.boundary, call.tile, call.refine) == ("corner", "taper", 64, False)


def test_advice_is_printed_below_the_result(fake, photo, tmp_path, capsys) -> None:
    fake.advice = lambda: "the kernel is hardly found"
    out = run(capsys, "restore", photo, "--out", tmp_path / "out")[1]
    assert "photo_x4.png: done\n  the kernel is hardly found\n" in out


def test_a_bad_kernel_is_said_once(fake, photo, tmp_path, capsys) -> None:
    other = tmp_path / "second.png"
    other.write_bytes(photo.read_bytes())
    code, _, err = run(capsys, "restore", photo, other, "--kernel", "gausian:1", "--out", tmp_path / "out")
    assert (code, len(err), fake.calls) == (2, 1, []) and "gausian:1" in err[0]


def test_max_pixels(fake, photo, tmp_path, capsys) -> None:
    code, _, err = run(capsys, "restore", photo, "--max-pixels", 700, "--out", tmp_path / "out")
    assert (code, len(err), fake.calls) == (2, 1, []) and "--max-pixels" in err[0]


def test_ctrl_c_is_one_line(fake, photo, tmp_path, capsys) -> None:
    fake.answer = KeyboardInterrupt()
    code, _, err = run(capsys, "restore", photo, "--out", tmp_path / "out")
    assert code == 130 and [line for line in err if "blindsr" in line] == err[-1:] and "stopped" in err[-1]


def test_photos_that_failed_are_named_after_ctrl_c_too(fake, photo, tmp_path, capsys) -> None:
    (tmp_path / "empty.png").touch()
    fake.answer = KeyboardInterrupt()
    code, _, err = run(capsys, "restore", tmp_path / "empty.png", photo, "--out", tmp_path / "out")
    assert code == 130 and [line for line in err if line.startswith(f"blindsr: {tmp_path / 'empty.png'}: ")]


def test_a_boundary_that_tiles_do_not_have_is_told(fake, photo, tmp_path, capsys) -> None:
    fake.kernel, fake.boundary, fake.tiles = np.ones((1, 1)), "reflect", 6
    told = "in 6 tiles, which are always reflected: --boundary circular made no difference"
    for asked in ("circular", "reflect"):
        out = run(capsys, "restore", photo, "--boundary", asked, "--out", tmp_path / asked)[1]
        assert (told in out) == (asked == "circular")


def test_an_error_of_the_user_is_one_line(fake, photo, tmp_path, capsys) -> None:
    fake.answer = BlindSRError("the kernel is larger than the picture;\n use a smaller one")
    code, _, err = run(capsys, "restore", photo, "--out", tmp_path / "out")
    assert (code, err) == (2, [f"blindsr: {photo}: the kernel is larger than the picture; use a smaller one"])


def test_a_defect_shows_its_traceback_and_the_batch_goes_on(fake, photo, tmp_path, capsys) -> None:
    fake.answer = ZeroDivisionError("here")
    other = tmp_path / "second.png"
    other.write_bytes(photo.read_bytes())
    code, _, err = run(capsys, "restore", photo, other, "--out", tmp_path / "out")
    assert code == 1 and len(fake.calls) == 2
    assert any("Traceback" in line for line in err) and any("please report it" in line for line in err)


def test_an_unwritable_folder_is_one_line(fake, photo, tmp_path, capsys) -> None:
    (tmp_path / "out").write_text("a file, no folder")
    code, _, err = run(capsys, "restore", photo, "--out", tmp_path / "out")
    assert code == 2 and len(err) == 1 and str(tmp_path / "out") in err[0]


def test_the_module_runs_as_a_program(tmp_path) -> None:
    command = [sys.executable, "-m", "blindsr", "--version"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"blindsr \d+\.\d+\.\d+\n", answer)


def test_basis_for_real(tmp_path, capsys) -> None:
    config = tmp_path / "few.yaml"
    config.write_text("kernels: {name: gaussian, size: 9}\ncount: 200\ncomponents: 3\n")
    code, out, err = run(capsys, "basis", config, "--out", tmp_path)
    assert (code, err) == (0, []) and str(tmp_path / "few.npz") in out
    with np.load(tmp_path / "few.npz", allow_pickle=False) as basis:
        assert basis["components"].shape == (3, 81)
    (tmp_path / "few.npz").write_text("mine")
    code, out, err = run(capsys, "basis", config, "--out", tmp_path)
    assert (code, out, len(err)) == (2, "", 1) and "few.npz: exists already" in err[0] and "--overwrite" in err[0]
    assert (tmp_path / "few.npz").read_text() == "mine"
    assert run(capsys, "basis", config, "--out", tmp_path / "few.npz", "--overwrite")[0] == 0


@pytest.mark.parametrize("command", ["basis", "train"])
def test_a_folder_that_cannot_be_is_told_before_any_work(command: str, tmp_path, capsys) -> None:
    (tmp_path / "file").touch()
    code, out, err = run(capsys, command, "tiny", "--out", tmp_path / "file" / "out")
    assert (code, out, len(err)) == (2, "", 1) and "this is a file, results need a folder" in err[0]


@pytest.mark.parametrize("command", ["basis", "train"])
def test_a_wrong_configuration_is_one_line(command: str, tmp_path, capsys) -> None:
    config = tmp_path / "typo.yaml"
    config.write_text("compnents: 3\n")
    code, _, err = run(capsys, command, config)
    assert (code, len(err)) == (2, 1) and "compnents" in err[0]
    code, _, err = run(capsys, command, "no_such_configuration")
    assert (code, len(err)) == (2, 1) and "no_such_configuration" in err[0]


# -- for real, with a small untrained model ----------------------------------------------------------


def test_restore_for_real(small_model, photo, pixels, tmp_path, capsys) -> None:
    deep = tmp_path / "deep.png"
    images.write(deep, images.Photo(pixels.astype(np.uint16) * 257))
    out = tmp_path / "a new" / "folder"
    code, told, err = run(
        capsys, "restore", photo, deep, "--scale", 2, "--model", small_model, "--out", out, "--compare"
    )
    assert (code, err) == (0, [])
    assert str(out) in told and "2 photos restored" in told
    names = {f"{name}_x2{end}" for name in ("photo", "deep") for end in (".png", ".json", "_compare.png")}
    assert {p.name for p in out.iterdir()} == names | {"manifest.jsonl"}
    assert images.read(out / "photo_x2.png").pixels.shape == (48, 60, 3)
    assert images.read(out / "deep_x2.png").pixels.dtype == np.uint16
    record = json.loads((out / "photo_x2.json").read_text())
    assert record["scale"] == 2 and record["grid"] == "centre" and 0 <= record["sigma_255"] <= 255
    assert Image.open(out / "photo_x2_compare.png").width > 2 * 60


def test_restore_with_a_given_kernel_says_so(small_model, photo, tmp_path, capsys) -> None:
    options = ("--kernel", "gaussian:1.0", "--sigma", "5", "--model", small_model, "--scale", "2", "--out", tmp_path)
    assert run(capsys, "restore", photo, *options)[0] == 0
    record = json.loads((tmp_path / "photo_x2.json").read_text())
    assert (record["input"], record["output"]) == (str(photo), str(tmp_path / "photo_x2.png"))
    assert (record["kernel_source"], record["settings"]["kernel"]) == ("given", "gaussian:1.0")
    assert record["sigma_255"] == pytest.approx(5, abs=1e-3) and record["sigma_source"] == "given"


def test_an_estimate_that_was_stopped_goes_on(small_model, photo, tmp_path, capsys) -> None:
    words = ("estimate", photo, "--scale", 2, "--model", small_model, "--out", tmp_path / "out")
    assert run(capsys, *words)[0] == 0
    assert "1 photo was looked at already, with these settings" in run(capsys, *words)[1]
    record = tmp_path / "out" / "photo_estimate.json"
    record.unlink()  # as a kill between two files leaves it
    assert run(capsys, *words)[0] == 0 and record.exists()
    code, _, err = run(capsys, *words[:3], 3, *words[4:])
    assert code == 2 and "exists: add --overwrite" in err[0]


def test_estimate_for_real_and_back(small_model, photo, tmp_path, capsys) -> None:
    code, told, err = run(capsys, "estimate", photo, "--scale", 2, "--model", small_model, "--out", tmp_path)
    assert (code, err) == (0, [])
    kernel = np.load(tmp_path / "photo_kernel.npy", allow_pickle=False)
    assert kernel.ndim == 2 and kernel.min() >= 0 and kernel.sum() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(loadmat(tmp_path / "photo_kernel.mat")["kernel"], kernel)
    assert json.loads((tmp_path / "photo_estimate.json").read_text())["sigma_255"] >= 0
    assert Image.open(tmp_path / "photo_kernel.png").size[0] > 200
    options = ("--kernel", tmp_path / "photo_kernel.npy", "--model", small_model, "--scale", 2, "--out", tmp_path)
    assert run(capsys, "restore", photo, *options)[0] == 0


def test_an_estimate_is_as_asked(small_model, photo, tmp_path, capsys) -> None:
    options = ("--scale", 2, "--grid", "corner", "--no-refine", "--model", small_model, "--out", tmp_path)
    assert run(capsys, "estimate", photo, *options)[0] == 0
    record = json.loads((tmp_path / "photo_estimate.json").read_text())
    assert (record["grid"], record["settings"]["kernel_shift"]) == ("corner", 0) and "refined" not in record["settings"]


@pytest.mark.parametrize("form", ["png", "tif"])
def test_alpha_profile_and_exif_come_along(form: str, small_model, pixels, tmp_path, capsys) -> None:
    exif, icc = Image.Exif(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif[0x010F] = "Maker"
    images.write(tmp_path / "photo.png", images.Photo(pixels, pixels[..., 0].copy(), icc, exif.tobytes()))
    options = ("--scale", 2, "--model", small_model, "--compare", "--format", form, "--out", tmp_path / "out")
    assert run(capsys, "restore", tmp_path / "photo.png", *options)[0] == 0
    made = images.read(tmp_path / "out" / f"photo_x2.{form}")
    assert made.icc == icc and b"Maker" in made.exif and made.alpha.shape == (48, 60)


def test_the_sample_photos(tmp_path, capsys) -> None:
    """What scripts/run.sh does."""
    samples = images.find([ROOT / "docs" / "samples"])
    code, told, err = run(capsys, "restore", ROOT / "docs" / "samples", "--compare", "--out", tmp_path)
    assert (code, err) == (0, []) and f"{len(samples)} photos restored" in told
    for sample in samples:
        small = images.read(sample).pixels
        large = images.read(tmp_path / f"{sample.stem}_x4.png").pixels
        assert large.shape == (4 * small.shape[0], 4 * small.shape[1], 3)
        record = json.loads((tmp_path / f"{sample.stem}_x4.json").read_text())
        assert (record["input"], record["model"]) == (str(sample), "tiny-real")
        assert (tmp_path / f"{sample.stem}_x4_compare.png").exists()


@pytest.mark.parametrize(("command", "cure"), [("restore", "give a --kernel"), ("estimate", "choose a blind --model")])
def test_a_non_blind_model_says_once_what_it_needs(command: str, cure: str, photo, tmp_path, capsys) -> None:
    path = tmp_path / "restorer.safetensors"
    restorer = USRNetConfig(n_iterations=1, channels=(8, 8, 8, 8), hidden=8)
    checkpoints.save(path, AlternatingSR(AlternatingConfig(restorer=restorer, loops=1)), {})
    code, _, err = run(capsys, command, photo, tmp_path / "missing.png", "--model", path, "--out", tmp_path / "out")
    assert (code, err[0].startswith("blindsr: model restorer is non-blind: "), len(err)) == (2, True, 1)
    assert cure in err[0]


def test_an_unknown_model_is_one_line(photo, tmp_path, capsys) -> None:
    code, _, err = run(capsys, "restore", photo, "--model", "tinny", "--out", tmp_path / "out")
    assert (code, len(err)) == (2, 1) and "tinny" in err[0]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")])
def test_a_lack_of_memory_is_one_line(fake, photo, tmp_path, capsys, monkeypatch, error) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("blindsr.commands.train.run", lacking)
    assert main(["train", "usrnet_tiny"]) == 2
    err = capsys.readouterr().err
    assert "not enough memory: choose smaller pieces" in err and err.count("\n") == 1
