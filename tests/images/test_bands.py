"""Pictures written band by band: the same as written whole, and nothing half-written."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from blindsr import images
from blindsr.images import bands


def picture(height: int, width: int, count: int, dtype: type) -> np.ndarray:
    """Shading with some grain, (H, W, S)."""
    rows, cols = np.mgrid[:height, :width]
    shade = 0.5 + 0.4 * np.sin(rows / 9)[..., None] * np.cos(cols / 7 + 1)[..., None] * np.ones(count)
    shade += np.random.default_rng(0).normal(0, 0.01, shade.shape)
    return images.from_float(shade.astype(np.float32), dtype)


def cut(samples: np.ndarray, *heights: int) -> Iterator[np.ndarray]:
    top = 0
    for height in heights:
        yield samples[top : top + height]
        top += height
    yield samples[top:]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bands_come_back_as_one_picture(tmp_path: Path, suffix: str, count: int, dtype: type) -> None:
    samples, path = picture(300, 270, count, dtype), tmp_path / f"p{suffix}"
    images.write_bands(path, cut(samples, 7, 256, 1), samples.shape, samples.dtype)
    found = images.read(path)
    colours = 3 if count > 2 else 1
    assert np.array_equal(found.pixels, samples[..., :colours])
    assert (found.alpha is None) == (count == colours)
    if found.alpha is not None:
        assert np.array_equal(found.alpha, samples[..., -1])


def test_an_eight_bit_png_is_about_as_small_as_pillows(tmp_path: Path) -> None:
    samples = images.read(Path(__file__).parents[2] / "docs" / "samples" / "kitten.png").pixels
    images.write_bands(tmp_path / "p.png", cut(samples, 50), samples.shape, samples.dtype)
    whole = io.BytesIO()
    Image.fromarray(samples).save(whole, "PNG")
    assert (tmp_path / "p.png").stat().st_size < 1.05 * len(whole.getvalue())


def test_every_filter_of_png_is_used_and_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are best told by the pixel to the left, above and by Paeth's guess; also where a piece begins."""
    rng = np.random.default_rng(1)
    across = np.repeat(rng.integers(0, 256, (1, 40, 1)), 6, axis=0)
    down = np.repeat(rng.integers(0, 256, (6, 1, 1)), 40, axis=1)
    samples = np.concatenate([across, down, (across + down) // 2]).astype(np.uint8)
    monkeypatch.setattr(bands, "_BYTES_AT_ONCE", 200)
    stream = io.BytesIO()
    bands.write_png(stream, [samples], samples.shape, samples.dtype, None, None)
    assert np.array_equal(np.array(Image.open(stream)), samples[..., 0])
    filters = {bands._filtered(samples[i + 1, :, 0][None], samples[i, :, 0][None], 1)[0] for i in range(17)}
    assert filters == {1, 2, 4}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_large_tiffs_are_bigtiffs_in_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype) -> None:
    samples = picture(300, 520, 3, dtype)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    for limit, big in ((bands._BIG, False), (1000, True)):
        monkeypatch.setattr(bands, "_BIG", limit)
        path = tmp_path / f"{big}.tif"
        images.write_bands(path, cut(samples, 100), samples.shape, samples.dtype, exif=exif.tobytes())
        with tifffile.TiffFile(path) as file:
            assert file.is_bigtiff == big and file.pages[0].is_tiled
        photo, found = images.read(path), Image.Exif()
        found.load(photo.exif)
        assert np.array_equal(photo.pixels, samples) and found[0x010F] == "Maker"


@pytest.mark.parametrize("extra", [[], [(274, "H", 1, 6, True)]])
def test_sixteen_bit_bigtiffs_of_others(tmp_path: Path, extra) -> None:
    """They are turned upright, too."""
    samples = picture(30, 40, 3, np.uint16)
    tifffile.imwrite(tmp_path / "p.tif", samples, photometric="rgb", bigtiff=True, metadata=None, extratags=extra)
    assert np.array_equal(images.read(tmp_path / "p.tif").pixels, np.rot90(samples, -1) if extra else samples)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_metadata_goes_along(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x8769] = {0x9003: "2020:01:02 03:04:05"}
    samples, path = picture(30, 40, 3, np.uint8), tmp_path / f"p{suffix}"
    images.write_bands(path, cut(samples, 9), samples.shape, samples.dtype, exif=exif.tobytes())
    found = Image.Exif()
    found.load(images.read(path).exif)
    assert found[0x010F] == "Maker" and found.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("error", [ValueError("broken"), OSError("a photo that cannot be read")])
def test_a_failing_source_leaves_nothing(tmp_path: Path, suffix: str, error: Exception) -> None:
    samples = picture(64, 64, 3, np.uint8)

    def failing() -> Iterator[np.ndarray]:
        yield samples[:32]
        raise error

    with pytest.raises(type(error), match=str(error)):
        images.write_bands(tmp_path / f"p{suffix}", failing(), samples.shape, samples.dtype)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bands, "write_png", full)
    samples = picture(8, 8, 3, np.uint8)
    with pytest.raises(images.ImageError, match=r"cannot be written \(No space left on device\); free some space"):
        images.write_bands(tmp_path / "p.png", cut(samples, 4), samples.shape, samples.dtype)
    assert not list(tmp_path.iterdir())


def test_reasons_not_to_write_are_told_first(tmp_path: Path) -> None:
    def never() -> Iterator[np.ndarray]:
        raise AssertionError("was asked for a band")
        yield

    with pytest.raises(images.ImageError, match="holds no alpha"):
        images.write_bands(tmp_path / "p.jpg", never(), (8, 8, 4), np.dtype(np.uint8))
