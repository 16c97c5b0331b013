"""Photos survive the way to a file and back, in every format, depth and mode; bad files are told apart."""

from __future__ import annotations

import io
import os
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from blindsr import images
from blindsr.images import ImageError, Photo, metadata
from blindsr.interfaces import BlindSRError

SUFFIXES = (".png", ".jpg", ".tif", ".webp", ".bmp")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY = SRGB[:16] + b"GRAY" + SRGB[20:]  # carried as it is, so only its name for the colour space matters here


def noise(height: int, width: int, channels: int, dtype: type, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype=dtype)


def camera_exif(orientation: int | None = None) -> bytes:
    """EXIF with entries in the main, the Exif, the Interop and the GPS directory."""
    exif = Image.Exif()
    exif[0x010F], exif[0x8298] = "Maker", "Somebody"
    exif[metadata.EXIF_IFD] = {
        0x829A: 0.02,
        0x9003: "2020:02:03 04:05:06",
        metadata.PIXEL_WIDTH: 11,
        metadata.PIXEL_HEIGHT: 7,
        metadata.INTEROP_IFD: {1: "R98"},
    }
    exif[metadata.GPS_IFD] = {1: "N", 2: (48.0, 12.0, 30.5)}
    if orientation:
        exif[metadata.ORIENTATION] = orientation
    return exif.tobytes()


def same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b or (a.dtype == b.dtype and np.array_equal(a, b))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(samples: np.ndarray, colour_type: int, *extra: bytes) -> bytes:
    """A 16-bit PNG made independently of the package: unfiltered rows, chunks ``extra`` before the pixels."""
    height, width = samples.shape[:2]
    rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    data = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


# --- Round trips ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (7, 11), (40, 3)])
@pytest.mark.parametrize("with_alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".webp", ".bmp"])
def test_lossless(suffix: str, dtype: type, channels: int, with_alpha: bool, shape: tuple, tmp_path: Path) -> None:
    alpha = noise(*shape, 1, dtype, seed=1)[..., 0] if with_alpha else None
    photo = Photo(noise(*shape, channels, dtype), alpha, SRGB if channels == 3 else GRAY, camera_exif(1))
    path = tmp_path / f"photo{suffix}"
    if (dtype == np.uint16 and suffix in (".webp", ".bmp")) or (with_alpha and suffix == ".bmp"):
        with pytest.raises(ImageError, match="use .png"):
            images.write(path, photo)
        assert not list(tmp_path.iterdir())
        return
    images.write(path, photo)
    back = images.read(path)
    expected = photo.pixels.repeat(3, axis=2) if suffix == ".webp" and channels == 1 else photo.pixels
    opaque = suffix == ".webp" and with_alpha and (alpha == 255).all()  # which WebP does not keep
    assert same(back.pixels, expected) and same(back.alpha, None if opaque else photo.alpha)
    assert back.pixels.flags.c_contiguous and back.pixels.flags.writeable
    if suffix != ".bmp":
        assert back.icc == photo.icc or (suffix == ".webp" and channels == 1)
        assert_same_exif(back.exif, photo)
    assert os.listdir(tmp_path) == [path.name]


def assert_same_exif(found: bytes | None, photo: Photo) -> None:
    height, width = photo.pixels.shape[:2]
    exif = metadata.parse(found, height, width)
    assert exif is not None and exif.get(metadata.ORIENTATION, 1) == 1
    assert (exif[0x010F], exif[0x8298]) == ("Maker", "Somebody")
    details = exif[metadata.EXIF_IFD]
    assert float(details[0x829A]) == pytest.approx(0.02) and details[0x9003] == "2020:02:03 04:05:06"
    assert (details[metadata.PIXEL_WIDTH], details[metadata.PIXEL_HEIGHT]) == (width, height)
    assert details[metadata.INTEROP_IFD] == {1: "R98"}
    assert tuple(map(float, exif[metadata.GPS_IFD][2])) == (48.0, 12.0, 30.5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_jpeg(suffix: str, channels: int, tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(32), np.arange(48))[..., None] * 3 * np.ones(channels)
    photo = Photo(ramp.clip(0, 255).astype(np.uint8), None, SRGB if channels == 3 else GRAY, camera_exif(1))
    images.write(tmp_path / f"photo{suffix}", photo)
    back = images.read(tmp_path / f"photo{suffix}")
    assert back.pixels.shape == photo.pixels.shape and back.icc == photo.icc
    assert np.abs(back.pixels.astype(int) - photo.pixels).max() <= 6
    assert_same_exif(back.exif, photo)
    with Image.open(tmp_path / f"photo{suffix}") as image:
        assert channels == 1 or [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # 4:4:4


def test_what_another_program_sees(tmp_path: Path) -> None:
    """OpenCV and tifffile agree on the 16-bit files that are written here."""
    photo = Photo(noise(9, 8, 3, np.uint16), noise(9, 8, 1, np.uint16, 1)[..., 0], SRGB, camera_exif(1))
    bgra = np.concatenate([photo.pixels[..., ::-1], photo.alpha[..., None]], axis=2)
    for suffix in (".png", ".tif"):
        images.write(tmp_path / f"a{suffix}", photo)
        assert same(cv2.imread(str(tmp_path / f"a{suffix}"), cv2.IMREAD_UNCHANGED), bgra)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].tags[metadata.EXIF_IFD].value["DateTimeOriginal"] == "2020:02:03 04:05:06"
    with Image.open(tmp_path / "a.png") as image:
        assert image.getexif().get_ifd(metadata.EXIF_IFD)[0x9003] == "2020:02:03 04:05:06"


def test_png_rows_in_several_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindsr.images.bands._BYTES_AT_ONCE", 200)
    photo = Photo(noise(50, 20, 3, np.uint16))
    images.write(tmp_path / "a.png", photo)
    assert same(images.read(tmp_path / "a.png").pixels, photo.pixels)


def test_texts_in_tiff(tmp_path: Path) -> None:
    exif = Image.Exif()
    texts = {0x010E: "Blick über den Hafen", 0x0131: "Program 1", 0x0132: "2020:02:03 04:05:06", 0x013B: "Somebody"}
    for tag, text in texts.items():
        exif[tag] = text
    images.write(tmp_path / "a.tif", Photo(noise(4, 5, 3, np.uint8), exif=exif.tobytes()))
    back = metadata.parse(images.read(tmp_path / "a.tif").exif, 4, 5)
    written = {**texts, 0x010E: back[0x010E]}  # TIFF texts are ASCII by the letter; others pass as they can
    assert {tag: back[tag] for tag in texts} == written and "Hafen" in back[0x010E]


def test_a_single_entry_that_cannot_be_written_costs_no_other(tmp_path: Path) -> None:
    """A height below the sea, for one: the standard has no sign there."""
    exif = Image.Exif()
    exif[0x010F], exif[metadata.EXIF_IFD] = "Maker", {0x9003: "2020:02:03 04:05:06"}
    exif[metadata.GPS_IFD] = {1: "N", 6: 577.0}
    data = exif.tobytes()
    for unsigned, signed in (((">HHI", 6, 5, 1), (">HHI", 6, 10, 1)), ((">II", 577, 1), (">ii", -577, 1))):
        order = "<" if data[6:8] == b"II" else ">"
        before, after = (struct.pack(order + form[1:], *numbers) for form, *numbers in (unsigned, signed))
        assert data.count(before) == 1
        data = data.replace(before, after)
    Image.fromarray(noise(4, 5, 3, np.uint8)).save(tmp_path / "a.jpg", exif=data)
    back = metadata.parse(images.read(tmp_path / "a.jpg").exif, 4, 5)
    assert back[0x010F] == "Maker" and back[metadata.EXIF_IFD][0x9003].startswith("2020")
    assert back[metadata.GPS_IFD] == {1: "N"}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_resolution_and_ratings_go_along(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif.update({0x011A: 300.0, 0x011B: 300.0, 0x0128: 2, 0x4746: 5, 0x9C9B: "Title\0".encode("utf-16le")})
    images.write(tmp_path / f"a{suffix}", Photo(noise(4, 5, 3, np.uint8), exif=exif.tobytes()))
    back = metadata.parse(images.read(tmp_path / f"a{suffix}").exif, 4, 5)
    assert [float(back[tag]) for tag in (0x011A, 0x011B, 0x0128, 0x4746)] == [300, 300, 2, 5]
    assert bytes(back[0x9C9B]) == "Title\0".encode("utf-16le")


@pytest.mark.parametrize("behind", [False, True])
def test_long_texts_in_png(tmp_path: Path, behind: bool) -> None:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(range(32, 127)) * 25_000))
    file = io.BytesIO()
    Image.fromarray(noise(6, 7, 3, np.uint8)).save(file, "PNG")
    at = file.getvalue().index(b"IEND" if behind else b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(file.getvalue()[:at] + text + file.getvalue()[at:])
    assert same(images.read(tmp_path / "a.png").pixels, noise(6, 7, 3, np.uint8))


def test_sixteen_bits_become_eight() -> None:
    deep = np.array([0, 128, 129, 257, 65407, 65535], np.uint16)
    assert images.to_8_bits(deep).tolist() == [0, 0, 1, 1, 255, 255] and images.to_8_bits(deep).dtype == np.uint8
    assert images.to_8_bits(np.arange(3, dtype=np.uint8)).tolist() == [0, 1, 2]


def test_unsuitable_profile_and_overlong_exif(tmp_path: Path) -> None:
    images.write(tmp_path / "a.png", Photo(noise(4, 4, 1, np.uint8), icc=SRGB))
    assert images.read(tmp_path / "a.png").icc is None
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[metadata.EXIF_IFD] = {metadata.MAKER_NOTE: b"x" * 70_000, 0x9003: "2020:02:03 04:05:06"}
    for suffix, kept in ((".png", True), (".jpg", False)):
        images.write(tmp_path / f"b{suffix}", Photo(noise(4, 4, 3, np.uint8), exif=exif.tobytes()))
        back = metadata.parse(images.read(tmp_path / f"b{suffix}").exif, 4, 4)
        assert back[0x010F] == "Maker" and (metadata.MAKER_NOTE in back[metadata.EXIF_IFD]) == kept


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_profiles_of_megabytes(dtype: type, tmp_path: Path) -> None:
    """Pillow alone would take a PNG with one for damaged, and write it all the same."""
    limit = PngImagePlugin.MAX_TEXT_CHUNK
    large = SRGB + np.random.default_rng(0).bytes(2_000_000)
    for suffix in (".png", ".tif"):
        images.write(tmp_path / f"a{suffix}", Photo(noise(9, 8, 3, dtype), icc=large))
        assert images.read(tmp_path / f"a{suffix}").icc == large
    assert PngImagePlugin.MAX_TEXT_CHUNK == limit


# --- Orientation ---------------------------------------------------------------------------------------------------

STORED = {  # how an upright picture lies in a file of that orientation (inverse of EXIF 2.32, section 4.6.4)
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
    8: lambda a: np.rot90(a, -1),
}


def lzw(a: np.ndarray) -> bytes:
    return cv2.imencode(".tif", a[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()


def oriented(tiff: bytes, orientation: int) -> bytes:
    """A little-endian TIFF with an orientation tag, in a new directory at the end."""
    (start,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, start)
    entries = [tiff[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)]
    entries.append(struct.pack("<HHII", metadata.ORIENTATION, 3, 1, orientation))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    tiff += bytes(len(tiff) % 2)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return tiff[:4] + struct.pack("<I", len(tiff)) + tiff[8:] + directory


def store(path: Path, kind: str, a: np.ndarray, orientation: int) -> None:
    """Files as other programs write them, with the tag and ``a`` as the stored pixels."""
    a, tag = np.ascontiguousarray(a), [(274, "H", 1, orientation, True)]
    if kind == "png16":
        path.write_bytes(png(a, 2, chunk(b"eXIf", camera_exif(orientation)[6:])))
    elif kind == "png late":  # eXIf behind the pixels
        buffer = io.BytesIO()
        Image.fromarray(a).save(buffer, "PNG")
        end = len(buffer.getvalue()) - 12
        path.write_bytes(buffer.getvalue()[:end] + chunk(b"eXIf", camera_exif(orientation)[6:]) + chunk(b"IEND", b""))
    elif kind.startswith("tiff16"):
        if kind.endswith("lzw"):
            path.write_bytes(oriented(lzw(a), orientation))
        else:
            tifffile.imwrite(path, a, photometric="rgb", metadata=None, extratags=tag)
    else:
        options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
        Image.fromarray(a).save(path, kind, exif=camera_exif(orientation), **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "png late", "png16", "TIFF", "tiff16", "tiff16 lzw", "WEBP"])
def test_orientation(kind: str, orientation: int, tmp_path: Path) -> None:
    rows, cols = np.mgrid[:16, :24]
    upright = np.stack([rows * 15, cols * 10, rows * 5 + cols * 5], axis=-1)
    upright = (upright * 257).astype(np.uint16) if "16" in kind else upright.astype(np.uint8)
    store(tmp_path / "photo", kind, STORED[orientation](upright), orientation)
    photo = images.read(tmp_path / "photo")
    assert photo.pixels.shape == upright.shape and photo.pixels.dtype == upright.dtype
    assert np.abs(photo.pixels.astype(int) - upright).max() <= (8 if kind == "JPEG" else 0)
    images.write(tmp_path / "again.png", photo)
    again = images.read(tmp_path / "again.png")
    assert same(again.pixels, photo.pixels)
    with Image.open(tmp_path / "again.png") as image:
        assert image.getexif().get(metadata.ORIENTATION, 1) == 1
        assert kind.startswith("tiff16") or image.getexif().get_ifd(metadata.EXIF_IFD)[0x9003].startswith("2020")


# --- Kinds of pixels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("colour_type", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_foreign_png16(colour_type: int, samples: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    a = noise(6, 5, samples, np.uint16)
    (tmp_path / "a.png").write_bytes(png(a, colour_type, chunk(b"iCCP", b"p\0\0" + zlib.compress(SRGB))))
    photo = images.read(tmp_path / "a.png")
    colours = samples - (samples + 1) % 2
    assert same(photo.pixels, a[..., :colours]) and photo.icc == SRGB
    assert same(photo.alpha, a[..., -1] if samples > colours else None)
    assert capfd.readouterr().err == ""  # libpng has opinions on profiles


@pytest.mark.parametrize("channels", [1, 3])
def test_png16_with_a_transparent_colour(channels: int, tmp_path: Path) -> None:
    a = noise(6, 5, channels, np.uint16)
    a[2, 3] = 300
    colour = chunk(b"tRNS", struct.pack(">H", 300) * channels)
    (tmp_path / "a.png").write_bytes(png(a, channels - 1, colour))
    photo = images.read(tmp_path / "a.png")
    assert same(photo.pixels, a) and photo.alpha.dtype == np.uint16
    assert photo.alpha[2, 3] == 0 and (photo.alpha == 65535).sum() == 29


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "zlib with predictor"])
@pytest.mark.parametrize("layout", ["gray", "gray alpha", "rgb", "rgba", "rgbx", "planes", "tiles"])
def test_foreign_tiff16(layout: str, compression: str | None, byteorder: str, tmp_path: Path) -> None:
    samples = {"gray": 1, "gray alpha": 2, "rgba": 4, "rgbx": 4}.get(layout, 3)
    a = noise(20, 33, samples, np.uint16)
    stored = a.transpose(2, 0, 1) if layout == "planes" else a[..., 0] if samples == 1 else a
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="rgb" if samples > 2 else "minisblack",
        planarconfig="separate" if layout == "planes" else "contig" if samples > 1 else None,
        extrasamples={2: ["unassalpha"], 4: ["unspecified" if layout == "rgbx" else "unassalpha"]}.get(samples),
        tile=(16, 16) if layout == "tiles" else None,
        rowsperstrip=None if layout == "tiles" else 7,
        compression="zlib" if compression else None,
        predictor=compression == "zlib with predictor",
        byteorder=byteorder,
        metadata=None,
        iccprofile=SRGB,
    )
    photo = images.read(tmp_path / "a.tif")
    colours = 3 if samples > 2 else 1
    assert same(photo.pixels, a[..., :colours]) and photo.icc == SRGB
    assert same(photo.alpha, a[..., colours] if "alpha" in layout or layout == "rgba" else None)


def test_tiff16_premultiplied_and_white_is_zero(tmp_path: Path) -> None:
    colours, alpha = noise(6, 5, 3, np.uint16), noise(6, 5, 1, np.uint16, 1) // 2 + 30_000
    stored = np.concatenate([np.rint(colours * (alpha / 65535)).astype(np.uint16), alpha], axis=2)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"], metadata=None)
    photo = images.read(tmp_path / "a.tif")
    assert np.abs(photo.pixels.astype(int) - colours).max() <= 2 and same(photo.alpha, alpha[..., 0])
    tifffile.imwrite(tmp_path / "b.tif", alpha[..., 0], photometric="miniswhite", metadata=None)
    assert same(images.read(tmp_path / "b.tif").pixels, 65535 - alpha)


def test_palette_and_one_bit(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putdata([0, 1])
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.png", transparency=1)
    for name in ("a.png", "b.png"):
        assert images.read(tmp_path / name).pixels.tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert images.read(tmp_path / "a.png").alpha is None
    assert images.read(tmp_path / "b.png").alpha.tolist() == [[255, 0]]
    bits = Image.fromarray(np.array([[True, False, True]]))
    for suffix in (".png", ".tif", ".bmp"):
        bits.save(tmp_path / f"bits{suffix}")
        assert images.read(tmp_path / f"bits{suffix}").pixels[..., 0].tolist() == [[255, 0, 255]]
    Image.fromarray(np.array([[7, 8]], np.uint8)).save(tmp_path / "gray.png", transparency=7)
    assert images.read(tmp_path / "gray.png").alpha.tolist() == [[0, 255]]
    Image.new("RGB", (2, 1), (1, 2, 3)).save(tmp_path / "rgb.png", transparency=(1, 2, 3))
    assert images.read(tmp_path / "rgb.png").alpha.tolist() == [[0, 0]]


@pytest.mark.parametrize("bits, packed, key, seen", [(2, 0b00011011, 1, [0, 85, 170, 255]), (4, 0x3F, 15, [51, 255])])
def test_a_transparent_level_of_few_bits(bits: int, packed: int, key: int, seen: list[int], tmp_path: Path) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8 // bits, 1, bits, 0, 0, 0, 0))
    key_chunk, data = chunk(b"tRNS", struct.pack(">H", key)), chunk(b"IDAT", zlib.compress(bytes([0, packed])))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + key_chunk + data + chunk(b"IEND", b""))
    photo = images.read(tmp_path / "a.png")
    assert photo.pixels.flatten().tolist() == seen
    assert photo.alpha.flatten().tolist() == [0 if level == seen[-1 if bits == 4 else 1] else 255 for level in seen]


def cmyk_profile() -> bytes:
    """A minimal ICC output profile (lut8, ICC.1:2010 section 10.9) whose inks are not what they seem: the colour is
    a neutral gray with L* = 100 where there is no magenta and 50 where it is full; the other inks do nothing."""
    corners = [(255 if magenta == 0 else 128, 128, 128) for _ in range(2) for magenta in (0, 1) for _ in range(4)]
    ramp = bytes(range(256))
    unit = struct.pack(">9I", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + ramp * 4 + bytes(sum(corners, ())) + ramp * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    text = b"test\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    tags, table, body = [(b"desc", name), (b"wtpt", white), (b"A2B0", lut), (b"A2B1", lut)], b"", b""
    start = 128 + 4 + 12 * len(tags)
    for key, value in tags:
        table += key + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk(suffix: str, tmp_path: Path) -> None:
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, 16:, 1] = 255
    image = Image.fromarray(inks, "CMYK")
    options = {"quality": 95} if suffix == ".jpg" else {}
    image.save(tmp_path / f"plain{suffix}", **options)
    plain = images.read(tmp_path / f"plain{suffix}").pixels.astype(int)
    assert np.abs(plain[:, :16] - 255).max() <= 3 and np.abs(plain[:, 16:] - [255, 0, 255]).max() <= 3
    image.save(tmp_path / f"a{suffix}", icc_profile=cmyk_profile(), **options)
    photo = images.read(tmp_path / f"a{suffix}")
    gray = 255 * (1.055 * 0.184 ** (1 / 2.4) - 0.055)  # L* = 50 is a luminance of 0.184
    assert photo.icc is None and photo.pixels.dtype == np.uint8
    assert np.abs(photo.pixels[:, 16:].astype(int) - gray).max() <= 4
    assert np.abs(photo.pixels[:, :16].astype(int) - 255).max() <= 3
    image.save(tmp_path / f"broken{suffix}", icc_profile=b"no profile at all", **options)
    assert np.array_equal(images.read(tmp_path / f"broken{suffix}").pixels, plain)


def test_first_frame_and_page(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    for suffix in (".png", ".webp", ".tif"):
        options = {"lossless": True} if suffix == ".webp" else {}
        frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], **options)
        assert (images.read(tmp_path / f"a{suffix}").pixels == [255, 0, 0]).all()
    with tifffile.TiffWriter(tmp_path / "deep.tif") as file:
        for value in (1000, 2000):
            file.write(np.full((4, 3, 3), value, np.uint16), photometric="rgb", metadata=None)
    assert (images.read(tmp_path / "deep.tif").pixels == 1000).all()


def test_content_decides(tmp_path: Path) -> None:
    photo = Photo(noise(5, 6, 3, np.uint8))
    images.write(tmp_path / "a.png", photo)
    for name in ("a.jpg", "a.dat", "a"):
        (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes())
        assert same(images.read(tmp_path / name).pixels, photo.pixels)


def test_damaged_exif_is_no_obstacle(tmp_path: Path) -> None:
    for exif in (b"Exif\0\0nonsense", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40):
        Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "a.jpg", exif=exif, quality=95)
        assert images.read(tmp_path / "a.jpg").pixels.shape == (8, 8, 3)


def test_without_imagecodecs(tmp_path: Path) -> None:
    """The package installs without imagecodecs: LZW, deflate and our own files must do."""
    a = noise(20, 33, 3, np.uint16)
    (tmp_path / "lzw.tif").write_bytes(lzw(a))
    tifffile.imwrite(tmp_path / "deflate.tif", a, photometric="rgb", compression="zlib", predictor=True)
    np.save(tmp_path / "a.npy", a)
    code = """if True:
        import sys
        sys.modules["imagecodecs"] = None
        import numpy as np
        from blindsr import images
        a = np.load("a.npy")
        images.write("own.tif", images.Photo(a))
        for name in ("lzw.tif", "deflate.tif", "own.tif"):
            assert np.array_equal(images.read(name).pixels, a), name
    """
    root = Path(images.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": str(root)})


# --- Bad input -----------------------------------------------------------------------------------------------------


def refusal(path: Path, **options: int) -> str:
    with pytest.raises(ImageError) as caught:
        images.read(path, **options)
    message = str(caught.value)
    assert isinstance(caught.value, BlindSRError) and "\n" not in message and message.startswith(f"{path}: ")
    return message


def test_no_such_file_folder_empty_text(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.png")
    assert "folder" in refusal(tmp_path)
    (tmp_path / "empty.png").touch()
    assert "0 bytes" in refusal(tmp_path / "empty.png")
    assert "no such file" in refusal(tmp_path / "empty.png" / "a.png")
    (tmp_path / "text.png").write_text("This is no image at all, however long it may be.")
    assert "not a PNG" in refusal(tmp_path / "text.png")
    (tmp_path / "short.bmp").write_text("BM")
    assert "damaged" in refusal(tmp_path / "short.bmp")
    assert "cannot be read" in refusal(tmp_path / ("long" * 100))
    os.mkfifo(tmp_path / "pipe")
    assert "ordinary file" in refusal(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "a.png").chmod(0)
    assert "permissions" in refusal(tmp_path / "a.png")


def test_unreadable_even_for_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", denied)
    assert "permissions" in refusal(tmp_path / "a.png")


def whole_files(folder: Path) -> list[Path]:
    photo, deep = Photo(noise(64, 48, 3, np.uint8)), Photo(noise(64, 48, 3, np.uint16))
    for suffix in SUFFIXES:
        images.write(folder / f"photo{suffix}", photo)
    for suffix in (".png", ".tif"):
        images.write(folder / f"deep{suffix}", deep)
    Image.fromarray(photo.pixels).save(folder / "progressive.jpg", progressive=True, quality=95)
    Image.fromarray(photo.pixels).save(folder / "raw.tif")
    tifffile.imwrite(folder / "deepraw.tif", deep.pixels, photometric="rgb", metadata=None)
    (folder / "deeplzw.tif").write_bytes(lzw(deep.pixels))
    return sorted(folder.iterdir())


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated(share: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = whole_files(tmp_path)
    assert len(files) == 11
    for path in files:
        data = path.read_bytes()
        images.read(path)
        path.write_bytes(data[: int(share * len(data))])
        message = refusal(path)
        assert "fresh copy" in message, message
    assert capfd.readouterr().err == ""  # the decoders add nothing to the one line


def test_flipped_bytes_never_escape(tmp_path: Path) -> None:
    """Whatever is wrong with a file, it is a photo or an ImageError."""
    rng = np.random.default_rng(0)
    for path in whole_files(tmp_path):
        data = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(12):
            broken = data.copy()
            places = rng.integers(0, min(len(data), 300), 6)
            broken[places] = rng.integers(0, 256, 6)
            path.write_bytes(broken.tobytes())
            try:
                images.read(path, max_pixels=10_000_000)
            except ImageError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("samples", ["float32", "int16", "uint32", "float16"])
def test_unusual_tiff_samples(samples: str, tmp_path: Path) -> None:
    for shape in ((5, 4), (5, 4, 3)):
        tifffile.imwrite(tmp_path / "a.tif", np.ones(shape, samples))
        assert "8- or 16-bit" in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_raw_files_are_no_photos(dtype: type, tmp_path: Path) -> None:
    """What can be read of them is a small preview, or what the sensor counted."""
    a = noise(9, 8, 3, dtype)
    for name, more in (
        ("preview", {"subfiletype": 1}),
        ("dng", {"extratags": [(50706, 1, 4, b"\1\4\0\0", True)]}),
    ):
        tifffile.imwrite(tmp_path / f"{name}.tif", a, photometric="rgb", metadata=None, **more)
        assert "raw file, or begins with a preview" in refusal(tmp_path / f"{name}.tif")
    tifffile.imwrite(tmp_path / "mosaic.tif", a[..., 0], photometric="cfa", metadata=None)
    assert "raw file" in refusal(tmp_path / "mosaic.tif")


def bombs() -> dict[str, bytes]:
    """Tiny files whose headers claim 60,000×60,000 pixels (WebP: what it can)."""
    side = 60_000
    jpeg = io.BytesIO()
    Image.new("L", (8, 8)).save(jpeg, "JPEG")
    frame = jpeg.getvalue().index(b"\xff\xc0")
    big = jpeg.getvalue()[: frame + 5] + struct.pack(">HH", side, side) + jpeg.getvalue()[frame + 9 :]
    entries = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, side), (279, 10)]
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    tiff += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries) + bytes(4)
    webp = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (side - 1).to_bytes(3, "little") * 2
    deep = png(np.zeros((1, 1, 3), np.uint16), 2).replace(
        chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)),
        chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)),
    )
    return {
        "png": deep,
        "jpg": big,
        "tif": tiff,
        "webp": b"RIFF" + struct.pack("<I", 4 + len(webp)) + b"WEBP" + webp,
        "bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 90, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(36),
    }


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp", "bmp"])
def test_bombs(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(bombs()[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = refusal(path)
    assert "60000x60000 is 3,600 megapixels, the limit 500;" in message and "--max-pixels" in message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["photo.png", "photo.jpg", "photo.tif", "photo.webp", "photo.bmp", "deep.tif"])
def test_limits_of_pixels(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_files(tmp_path)
    assert "megapixels" in refusal(tmp_path / name, max_pixels=64 * 48 - 1)
    assert images.read(tmp_path / name, max_pixels=64 * 48).pixels.shape == (64, 48, 3)
    for pillows_own in (100, 64 * 48 - 1):  # where Pillow would raise, and where it would warn
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows_own)
        assert images.read(tmp_path / name).pixels.shape == (64, 48, 3)
        assert pillows_own == Image.MAX_IMAGE_PIXELS


# --- Writing -------------------------------------------------------------------------------------------------------


def test_refusals_to_write(tmp_path: Path) -> None:
    photo = Photo(noise(4, 5, 3, np.uint8), noise(4, 5, 1, np.uint8)[..., 0])
    path = tmp_path / "new" / "folder" / "a.png"
    images.write(path, photo)
    before = path.read_bytes()
    with pytest.raises(ImageError, match="--overwrite"):
        images.write(path, Photo(photo.pixels))
    assert path.read_bytes() == before
    images.write(path, Photo(photo.pixels), overwrite=True)
    assert images.read(path).alpha is None
    for name, words in (("a.jpg", "alpha"), ("a.bmp", "alpha"), ("a.gif", "suffix"), ("a", "suffix")):
        with pytest.raises(ImageError, match=words):
            images.write(tmp_path / name, photo)
    with pytest.raises(ImageError, match="16383 pixels"):
        images.write(tmp_path / "wide.webp", Photo(np.zeros((1, 16_384, 3), np.uint8)))
    with pytest.raises(ImageError, match="folder"):
        images.write(tmp_path / "new" / "folder" / ".." / ".png" / ".." / ".." / "new", photo)
    with pytest.raises(ImageError, match="cannot be written"):
        images.write(path / "a.png", photo)  # a file stands where a folder should
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.png", "folder", "new"]


def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    photo = Photo(noise(64, 64, 3, np.uint8))
    (tmp_path / "old.png").write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        for name in ("new.png", "old.png"):
            with pytest.raises(ImageError, match="cannot be written .* free some space"):
                images.write(tmp_path / name, photo, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == ["old.png"] and (tmp_path / "old.png").read_bytes() == b"old"


def test_interrupted_rename_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        images.write(tmp_path / "a.png", Photo(noise(4, 4, 3, np.uint8)))
    assert os.listdir(tmp_path) == []


def test_new_files_have_ordinary_permissions(tmp_path: Path) -> None:
    images.write(tmp_path / "a.png", Photo(noise(4, 4, 3, np.uint8)))
    (tmp_path / "b").touch()
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_photo_must_fit_together() -> None:
    with pytest.raises(ImageError, match="float32"):
        Photo(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ImageError, match="alpha"):
        Photo(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint16))
    with pytest.raises(ImageError):
        Photo(np.zeros((4, 4), np.uint8))


# --- Finding and converting ----------------------------------------------------------------------------------------


def test_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.png", "a.JPG", "c.txt", ".hidden.png", "d[1].png", "sub/e.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    here = [tmp_path / "a.JPG", tmp_path / "b.png", tmp_path / "d[1].png"]
    assert images.find([str(tmp_path)]) == here
    assert images.find([str(tmp_path / "*")]) == here
    assert images.find([str(tmp_path / "**")]) == [*here, tmp_path / "sub" / "e.webp"]
    assert images.find([str(tmp_path / "d[1].png")]) == [tmp_path / "d[1].png"]  # a file before a pattern
    twice = [str(tmp_path / "b.png"), str(tmp_path), str(tmp_path / "[ab].*")]
    assert images.find(twice) == [here[1], here[0], here[2]]
    missing = tmp_path / "missing.png"
    assert images.find([str(missing), str(tmp_path / "c.txt")]) == [missing, tmp_path / "c.txt"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert images.find(["~/*.png"]) == here[1:] and images.find(["~/b.png"]) == [here[1]]
    monkeypatch.chdir(tmp_path)
    assert images.find(["b.png", str(tmp_path / "b.png")]) == [Path("b.png")]
    for nothing in (tmp_path / "folder.png", tmp_path / "*.gif", tmp_path / "*.txt"):
        with pytest.raises(ImageError, match=r"looked for \.png, \.jpg"):
            images.find([str(nothing)])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_floats(dtype: type) -> None:
    largest = np.iinfo(dtype).max
    every = np.arange(largest + 1).astype(dtype)
    floats = images.to_float(every)
    assert floats.dtype == np.float32 and floats[0] == 0 and floats[-1] == 1
    assert same(images.from_float(floats, dtype), every)
    outside = np.array([-3.0, -1e-3, 0.4 / largest, 0.6 / largest, 1.001, np.inf], np.float32)
    assert images.from_float(outside, dtype).tolist() == [0, 0, 0, 1, largest, largest]
    assert images.to_float(np.array([1], dtype))[0] == np.float32(1) / largest  # a dark photo keeps its depth
    with pytest.raises(ImageError, match="NaN"):
        images.from_float(np.array([np.nan]), dtype)
    with pytest.raises(ImageError, match="int64"):
        images.to_float(np.array([1]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rounding_noise(dtype: type) -> None:
    exact = np.random.default_rng(0).random(100_000)
    error = images.to_float(images.from_float(exact, dtype)) - exact
    assert error.std() == pytest.approx(images.rounding_noise(dtype), rel=0.02)


def test_how_much_a_jpeg_leaves_out(tmp_path: Path) -> None:
    """Of brightness, by the file's own steps; the photo is of many scales, as photos are."""
    noise = np.random.default_rng(0).normal(size=(256, 256))
    spectrum = np.fft.rfft2(noise) / (0.01 + np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256))) ** 2
    picture = np.fft.irfft2(spectrum)
    pixels = (128 + 40 * (picture - picture.mean()) / picture.std()).clip(0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    previous = 0.0
    for quality in (95, 80, 60):
        Image.fromarray(pixels).save(tmp_path / "y.jpg", quality=quality)
        photo = images.read(tmp_path / "y.jpg")
        error = (photo.pixels.mean(2) - pixels.mean(2)).std()
        assert 0.6 * error < 255 * photo.rounding < 1.7 * error
        assert photo.rounding > previous
        previous = photo.rounding


def test_the_steps_of_a_jpeg(tmp_path: Path) -> None:
    table = [3 if row < 4 and col < 4 else 99 for row in range(8) for col in range(8)]
    for name, mode in (("rgb", "RGB"), ("gray", "L")):
        Image.new(mode, (32, 24)).save(tmp_path / f"{name}.jpg", qtables=[table] if mode == "L" else [table, [50] * 64])
        photo = images.read(tmp_path / f"{name}.jpg")
        assert photo.coding_noise == pytest.approx(0.75 * 3**0.5) and photo.rounding == photo.coding_noise / 255
    images.write(tmp_path / "y.png", photo)
    assert images.read(tmp_path / "y.png").coding_noise is None
