"""Which photos files, folders and patterns name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from blindsr.images.containers import FORMATS
from blindsr.images.photo import ImageError


def find(inputs: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The photos that files, folders and patterns name, in that order, each once.

    A folder stands for the images directly in it, a pattern (``*``, ``?``, ``[…]``, ``**``) for the images that it
    matches, both by suffix, sorted, without hidden files; ``~`` is the home folder. A file that is named is taken
    as it is, even when missing: :func:`read` says so. Raises ImageError for a folder or pattern without images."""
    found: dict[str, Path] = {}
    for name in map(os.path.expanduser, map(os.fspath, inputs)):
        if os.path.isdir(name):
            try:
                matches = _images(os.path.join(name, entry) for entry in os.listdir(name))
            except OSError as error:
                raise ImageError(f"{name}: cannot be listed ({error.strerror}); change its permissions") from None
        elif glob.has_magic(name) and not os.path.lexists(name):
            matches = _images(glob.iglob(name, recursive=True))
        else:
            matches = [Path(name)]
        if not matches:
            raise ImageError(f"{name}: no image there; looked for {', '.join(FORMATS)}")
        for path in matches:
            found.setdefault(os.path.abspath(path), path)
    return list(found.values())


def _images(names: Iterator[str]) -> list[Path]:
    paths = sorted(map(Path, names))
    return [p for p in paths if p.suffix.lower() in FORMATS and not p.name.startswith(".") and p.is_file()]
