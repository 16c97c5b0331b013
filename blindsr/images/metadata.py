"""What surrounds the pixels in an image file: EXIF, its orientation, and the ICC colour profile.

EXIF is rebuilt, not copied: only tags that describe the photograph are carried over (camera, lens, exposure,
place, author, rights), since tags about storage and the embedded thumbnail belong to the old file alone.
Sources: EXIF 2.32 (CIPA DC-008), TIFF 6.0, ICC.1:2010 section 7.2.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageCms

ORIENTATION, EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x0112, 0x8769, 0x8825, 0xA005
MAKER_NOTE, PIXEL_WIDTH, PIXEL_HEIGHT = 0x927C, 0xA002, 0xA003
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
RATINGS = 0x4746, 0x4749  # of five stars, and in percent

# Tags of the main directory that stay true when the pixels change: description, make, model, resolution, software,
# date, artist, host computer, rating, copyright and the Windows title, comment, author, keywords, subject.
_DESCRIPTIVE = (
    *(0x010E, 0x010F, 0x0110, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 0x0131, 0x0132, 0x013B, 0x013C),
    *(*RATINGS, 0x8298, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),
)
_JPEG_LIMIT = 65_533  # a JPEG segment's length is 16 bits and counts itself


def exif_of(image: Image.Image) -> Image.Exif:
    """The EXIF of a Pillow image; empty when it is damaged, which is no reason to refuse a photo."""
    try:
        return image.getexif()
    except Exception:  # Pillow's reader raises nearly anything on malformed EXIF
        return Image.Exif()


def orientation_of(exif: Image.Exif) -> int:
    """The EXIF orientation, 1 to 8; anything else found there counts as 1, upright."""
    try:
        value = exif.get(ORIENTATION, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an (H, W, …) array, stored with an EXIF orientation of 1 to 8, upright."""
    if orientation in (5, 6, 7, 8):  # stored with rows and columns exchanged
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def describe(exif: Image.Exif) -> bytes | None:
    """The descriptive part of ``exif`` with its orientation reset to 1, as bytes beginning ``Exif\\0\\0``.

    None when nothing is there or when it is too damaged to be read. A single entry that cannot be written, such as a
    height below the sea where the standard has no sign, is left out."""
    for keeps in (_any, _writable):  # entry by entry only where they cannot be written together: it takes many times as long
        try:
            kept = _described(exif, keeps)
            return kept.tobytes() if len(kept) else None
        except Exception:
            continue
    return None


def _described(exif: Image.Exif, keeps: Callable[..., bool]) -> Image.Exif:
    """The descriptive entries that are to be kept."""
    kept = Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in exif and keeps(tag, exif[tag]):
            kept[tag] = exif[tag]
    if ORIENTATION in exif:
        kept[ORIENTATION] = 1
    for directory in (EXIF_IFD, GPS_IFD):
        content = dict(exif.get_ifd(directory))
        if INTEROP_IFD in content:
            content[INTEROP_IFD] = dict(exif.get_ifd(INTEROP_IFD))
        if content := {tag: value for tag, value in content.items() if keeps(tag, value, directory)}:
            kept[directory] = content
    return kept


def _any(tag: int, value: Any, directory: int | None = None) -> bool:
    return True


def _writable(tag: int, value: Any, directory: int | None = None) -> bool:
    """Whether Pillow writes this entry of the main or another ``directory``, and reads it again."""
    alone, again = Image.Exif(), Image.Exif()
    alone.update({tag: value} if directory is None else {directory: {tag: value}})
    try:
        again.load(alone.tobytes())
        return bool(again if directory is None else again.get_ifd(directory))
    except Exception:
        return False


def parse(exif: bytes | None, height: int, width: int) -> Image.Exif | None:
    """EXIF bytes as an object whose directories are plain dictionaries, made to state the size now written."""
    if not exif:
        return None
    try:
        found, parsed = Image.Exif(), Image.Exif()
        found.load(exif)
        for tag in found:
            parsed[tag] = dict(found.get_ifd(tag)) if tag in (EXIF_IFD, GPS_IFD) else found[tag]
        details = parsed.get(EXIF_IFD, {})
        if INTEROP_IFD in details:
            details[INTEROP_IFD] = dict(found.get_ifd(INTEROP_IFD))
        for tag, size in ((PIXEL_WIDTH, width), (PIXEL_HEIGHT, height)):
            if tag in details:
                details[tag] = size
        parsed.tobytes()
        return parsed
    except Exception:
        return None


def jpeg_exif(exif: Image.Exif) -> bytes | None:
    """EXIF bytes that one JPEG segment can hold: without the maker note, or None, when they would be too long."""
    data = exif.tobytes()
    if len(data) > _JPEG_LIMIT and EXIF_IFD in exif:
        exif[EXIF_IFD].pop(MAKER_NOTE, None)
        data = exif.tobytes()
    return data if len(data) <= _JPEG_LIMIT else None


def profile_fits(icc: bytes, channels: int) -> bool:
    """Whether an ICC profile describes gray (1 channel) or RGB (3 channels): bytes 16–19 name its colour space."""
    return icc[16:20] == (b"GRAY" if channels == 1 else b"RGB ")


def cmyk_to_srgb(image: Image.Image) -> Image.Image:
    """A CMYK image as sRGB: through its own profile (relative colorimetric, black point compensation) when it has
    a usable one, else by plain subtraction of the inks."""
    if icc := image.info.get("icc_profile"):
        try:
            return ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(icc)),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB")
