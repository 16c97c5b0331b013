"""Pictures inside a page: as data URIs, each once, and no more bytes of them than a page can bear."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from blindsr.kernels.files import gray_levels

MOST_BYTES = 10_500_000  # of all pictures together; base64 makes a third more of them
GIVEN = {"lr": "lr", "truth": "truth", "true": "true"}  # what is no method's
RUNGS = ((92, 2000), (85, 1280), (80, 800), (70, 480), (60, 320))  # WebP quality, pixels of the longer side


def data_uri(data: bytes) -> str:
    kind = "png" if data.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@cache
def _magma() -> list[int]:
    from matplotlib import colormaps

    return np.round(255 * colormaps["magma"](np.arange(256))[:, :3]).astype(int).ravel().tolist()


def kernel_uri(taps: np.ndarray) -> str:
    """A kernel (h, w) as a small picture, one pixel per tap, from black to its largest tap."""
    picture = Image.fromarray(gray_levels(taps))
    picture.putpalette(_magma())
    data = io.BytesIO()
    picture.save(data, format="PNG", optimize=True)
    return data_uri(data.getvalue())


def collect(
    folder: Path, cases: Mapping[str, Mapping[str, Any]], methods: Mapping[str, str], most_bytes: int = MOST_BYTES
) -> dict[str, Any]:
    """The pictures of ``cases`` for the viewer: those in ``folder/CASE/``, CASE being the keys.

    ``methods`` tells which method a file is of, by its name. ``entries`` hold what ``cases`` say and, by method, the
    numbers of its ``pictures`` and ``kernels`` in the lists of these names, which hold data URIs. A method that has no
    numbers in a case is passed over: its picture is of another run. A ``note`` tells what was done to keep the page
    small. Files that are no pictures are passed over.
    """
    entries, kernels, paths = [], {}, {}
    for place in sorted(folder.iterdir()) if folder.is_dir() else []:
        if place.name not in cases:
            continue
        entry: dict[str, Any] = {**cases[place.name], "pictures": {}, "kernels": {}}
        names = GIVEN | {file: method for file, method in methods.items() if method in entry["numbers"]}
        for path in sorted(place.glob("*.png")):
            name = names.get(path.stem.removeprefix("kernel_"))
            if name is None:
                continue
            if path.stem.startswith("kernel_"):
                uri = _kernel_file(path)
                if uri:
                    entry["kernels"][name] = kernels.setdefault(uri, len(kernels))
            else:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                paths.setdefault(digest, path)
                entry["pictures"][name] = digest
        entries.append(entry)

    encoded, note = _fit(list(paths.values()), most_bytes)
    number = {digest: i for i, (digest, data) in enumerate(zip(paths, encoded)) if data}
    for entry in entries:
        entry["pictures"] = {name: number[d] for name, d in entry["pictures"].items() if d in number}
    pictures = [data_uri(data) if data else "" for data in encoded]
    entries = [entry for entry in entries if entry["pictures"]]
    return {"entries": entries, "pictures": pictures, "kernels": list(kernels), "note": note}


def _kernel_file(path: Path) -> str:
    try:
        with Image.open(path) as picture:
            return kernel_uri(np.asarray(picture.convert("L"), np.float32))
    except OSError:
        return ""


def _fit(paths: Sequence[Path], most_bytes: int) -> tuple[list[bytes], str]:
    """The files' contents: as they are if that is not too much, else on the first rung where they fit, where
    a picture that finds no room on the last rung is empty; and a sentence on it."""
    if sum(path.stat().st_size for path in paths) <= most_bytes:
        return [_encode(path) for path in paths], ""
    for quality, side in RUNGS:
        encoded, total = [], 0
        for path in paths:
            data = _encode(path, quality, side)
            total += len(data)
            if total > most_bytes and (quality, side) != RUNGS[-1]:
                break
            encoded.append(data if total <= most_bytes else b"")
        else:
            break
    note = f"To keep this file small, its pictures are WebP of quality {quality} and at most {side} pixels a side"
    left_out = sum(not data for data in encoded)
    note += f", and {left_out} are left out" if left_out else ""
    return encoded, note + ". The originals lie beside it in pictures/."


def _encode(path: Path, quality: int = 0, side: int = 0) -> bytes:
    """The file itself, or with a ``quality`` its picture as WebP of at most ``side`` pixels; b"" if it is broken."""
    try:
        with Image.open(path) as picture:
            picture.load()
            if not quality:
                return path.read_bytes()
            picture = picture.convert("RGB")
            picture.thumbnail((side, side))
            data = io.BytesIO()
            picture.save(data, format="WEBP", quality=quality)
            return data.getvalue()
    except OSError:
        return b""
