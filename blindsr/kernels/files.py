"""Kernels from files and from words on the command line."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from blindsr.config import nearest
from blindsr.interfaces import BlindSRError
from blindsr.kernels.bicubic import SIZE, bicubic_kernel
from blindsr.kernels.defocus import disk
from blindsr.kernels.gaussian import gaussian
from blindsr.kernels.motion import linear_motion, shake_motion

SUFFIXES = (".png", ".npy", ".mat")
LARGEST = 255  # longest side of a kernel; anything larger is a photo given by mistake
WORDS = {
    "gaussian": "gaussian:WIDTH or gaussian:WIDTH_X,WIDTH_Y,DEGREES",
    "disk": "disk:RADIUS",
    "motion": "motion:LENGTH,DEGREES or motion:seed=NUMBER",
    "bicubic": "bicubic",
}


def parse_kernel(text: str, scale: int) -> np.ndarray:
    """The kernel that ``text`` names, (h, w) float64, both odd, centre at h//2, w//2, sum 1.

    * a path ending in .png (gray), .npy or .mat; ``#3`` after it picks the third of several kernels, stacked along the
      first axis of an array (NumPy) or the last (MATLAB), or in several arrays or cells;
    * ``gaussian:1.6`` (width in pixels), ``gaussian:3.0,1.2,30`` (both widths, degrees from the column
      direction towards increasing rows);
    * ``disk:2.5`` (radius in pixels): out of focus;
    * ``motion:15,30`` (length in pixels, degrees), ``motion:seed=3`` (a random camera shake);
    * ``bicubic``: what bicubic reduction by ``scale`` amounts to (negative taps, off centre).

    Kernels of even size get a row or column of zeros at the bottom or right. Raises BlindSRError, in one
    line, for words it does not know, unreadable files, NaN or infinite values and sums of zero.
    """
    text = text.strip()
    path, number = _split(text)
    if path.suffix.lower() in SUFFIXES:
        return tidy(_read(path, number), text)
    word, _, rest = text.partition(":")
    try:
        return _spoken(word.lower(), rest, scale, text)
    except ValueError as error:
        raise BlindSRError(f"kernel {text!r}: {error}; write {WORDS[word.lower()]}") from None


def is_bicubic(text: str) -> bool:
    """Whether ``text`` is the word for the kernel that holds the offset of the centre grid itself."""
    return text.strip().lower() == "bicubic"


def tidy(k: Any, name: str) -> np.ndarray:
    """Check a kernel given by a user, an array or tensor, and bring it to our convention: 2-D, float64, odd sides, sum 1.

    Raises BlindSRError, naming it ``name``, when it is none.
    """
    try:
        k = np.asarray(k.detach().cpu() if hasattr(k, "detach") else k)  # a tensor may lie on a GPU, or ask for gradients
    except (TypeError, ValueError) as error:
        raise BlindSRError(f"{name}: not a kernel ({error}); give a 2-D array of numbers") from None
    if k.dtype.kind not in "fiub" or 0 in k.shape:
        raise BlindSRError(f"{name}: not a kernel (an array of {k.dtype}, {k.shape}); give a 2-D array of numbers")
    while k.ndim > 2 and k.shape[0] == 1:  # drop batch and channel axes of length 1
        k = k[0]
    if k.ndim > 2:
        k = k.reshape([n for n in k.shape if n > 1] or [1, 1])
    if k.ndim != 2:
        raise BlindSRError(f"{name}: a kernel has two dimensions, not shape {k.shape}; give one (h, w) array")
    _check_sides(k.shape, name)
    k = k.astype(np.float64)
    if not np.isfinite(k).all():
        raise BlindSRError(f"{name}: the kernel holds NaN or infinite values; write it anew")
    total = k.sum()
    # Negative taps are fine (bicubic has them), but a kernel that nearly cancels cannot be normalised.
    if total <= 1e-3 * np.abs(k).sum():
        raise BlindSRError(f"{name}: the kernel sums to {total:g}; a blur kernel needs a positive sum")
    k = np.pad(k, [(0, 1 - n % 2) for n in k.shape])
    return k / total


def _check_sides(shape: tuple[int, ...], name: str) -> None:
    if max(shape) > LARGEST:
        sides = "×".join(map(str, shape))
        raise BlindSRError(f"{name}: {sides} is too large for a blur kernel (at most {LARGEST}); is it a photo, or a plot?")


def _split(text: str) -> tuple[Path, int | None]:
    match = re.fullmatch(r"(.+)#(\d+)", text)
    if match and not Path(text).is_file():
        return Path(match[1]), int(match[2])
    return Path(text), None


def _numbers(rest: str, counts: tuple[int, ...]) -> list[float]:
    try:
        values = [float(part) for part in rest.split(",")]
    except ValueError:
        raise ValueError(f"{rest!r} is not a list of numbers") from None
    if len(values) not in counts:
        raise ValueError(f"{len(values)} numbers do not say which kernel")
    if not all(map(math.isfinite, values)):
        raise ValueError("a number is not finite")
    return values


def _side(reach: float, complaint: str) -> int:
    """Of a kernel that ends ``reach`` pixels from its centre; ValueError with the ``complaint`` beyond the largest."""
    if not 2 * reach + 1 <= LARGEST:  # nor what no whole number holds
        raise ValueError(complaint)
    return max(SIZE, 2 * math.ceil(reach) + 1)


def _spoken(word: str, rest: str, scale: int, text: str) -> np.ndarray:
    if is_bicubic(text):
        return bicubic_kernel(scale)
    if word == "gaussian":
        width_x, *others = _numbers(rest, (1, 2, 3))
        width_y, degrees = (others + [0.0])[:2] if others else (width_x, 0.0)
        side = _side(3.4 * max(width_x, width_y), "that is too wide")
        return gaussian(side, width_x, width_y, math.radians(degrees))
    if word == "disk":
        (radius,) = _numbers(rest, (1,))
        return disk(_side(max(radius, 0), "that is too wide"), radius)
    if word == "motion":
        if rest.startswith("seed="):
            if not rest[5:].isdecimal():
                raise ValueError(f"{rest[5:]!r} is not a seed")
            return shake_motion(SIZE, int(rest[5:]))
        length, degrees = (_numbers(rest, (1, 2)) + [0.0])[:2]
        return linear_motion(_side(max(length, 0) / 2 + 1, "that is too long"), length, math.radians(degrees))
    if word in WORDS:
        raise ValueError("not understood")
    if not rest and text and (Path(text).suffix or Path(text).exists()):
        raise BlindSRError(f"kernel {text!r}: a kernel file ends in .png, .npy or .mat; convert it to one of them")
    raise BlindSRError(f"kernel {text!r}: neither a file (.png, .npy, .mat) nor a known word{nearest(word, WORDS)}")


def _read(path: Path, number: int | None) -> np.ndarray:
    """One array out of the file."""
    if not path.is_file():
        raise BlindSRError(f"{path}: no such kernel file; check the path")
    reader = {".png": _read_png, ".npy": _read_npy, ".mat": _read_mat}[path.suffix.lower()]
    try:
        found = reader(path)
    except (BlindSRError, MemoryError):
        raise
    except NotImplementedError:
        raise BlindSRError(f"{path}: a MATLAB 7.3 file; save it again with '-v7'") from None
    except Exception:  # the three libraries raise all sorts of things on broken files
        raise BlindSRError(f"{path}: not a readable {path.suffix} file; write it anew") from None
    if not found:
        raise BlindSRError(f"{path}: holds no kernel; give a 2-D array of numbers")
    if number is None and len(found) > 1:
        last = len(found)
        sides = "×".join(map(str, found[0].shape))
        raise BlindSRError(f"{path}: holds {last} kernels, the first {sides}; choose one, as {path.name}#1 … {path.name}#{last}")
    number = 1 if number is None else number
    if not 1 <= number <= len(found):
        raise BlindSRError(f"{path}: there is no kernel #{number}; it holds {len(found)}, counted from 1")
    return found[number - 1]


def _read_png(path: Path) -> list[np.ndarray]:
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as image:
        _check_sides(image.size[::-1], str(path))  # before a large picture is decoded
        gray = image if image.mode.startswith(("I", "F")) else image.convert("L")
        return [np.asarray(gray)]


def _read_npy(path: Path) -> list[np.ndarray]:
    array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("an archive, not an array")
    return _stack(array, 0)


def _stack(array: np.ndarray, axis: int) -> list[np.ndarray]:
    """The kernels of an array of three or four dimensions, numbered along ``axis``, 0 or -1; other axes of length 1 do not
    count, where it is clear that they are none of a kernel's own sides."""
    if array.ndim == 4 and array.shape[1 if axis == 0 else 2] == 1 < array.shape[axis]:  # (n, 1, h, w), (h, w, 1, n)
        return list(np.moveaxis(array.squeeze(1 if axis == 0 else 2), axis, 0))
    if array.ndim == 3 and array.shape[1] == 1 < array.shape[axis]:  # of a row each (n, 1, w), a column each (h, 1, n)
        return list(np.moveaxis(array, axis, 0))
    plain = array.squeeze()
    return list(np.moveaxis(plain, axis, 0)) if plain.ndim == 3 else [array]


def _read_mat(path: Path) -> list[np.ndarray]:
    from scipy.io import loadmat

    found = []
    for name, value in loadmat(path).items():
        if name.startswith("__") or not isinstance(value, np.ndarray):
            continue
        cells = value.ravel() if value.dtype == object else [value]
        arrays = (cell for cell in cells if isinstance(cell, np.ndarray))
        numbers = (array for array in arrays if array.dtype.kind in "fiub" and array.size > 1)
        found += [kernel for array in numbers for kernel in _stack(array, -1)]  # MATLAB counts along the last axis
    return found


def gray_levels(kernel: np.ndarray) -> np.ndarray:
    """A kernel (h, w) as a gray picture, (h, w) uint8: white is its largest tap, black is nothing or negative."""
    return np.rint(255 * np.clip(kernel / max(float(kernel.max()), 1e-12), 0, 1)).astype(np.uint8)
