"""Files that appear complete or not at all, and lines that are added whole, and read as far as they are."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from blindsr.interfaces import BlindSRError

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows, where a file that is open cannot be removed
    flock = None


def _stem(path: Path) -> str:
    """The name of a file, as far as a longer one has room for it: it may have 255 bytes."""
    return os.fsencode(path.name)[:230].decode(errors="ignore")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it takes the name ``path`` when the block ends well, and is
    removed when it does not. A missing folder is made. OSError passes through: the caller knows the cure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{_stem(path)}.{secrets.token_hex(4)}.part")
    try:
        yield part
        with part.open("rb+") as file:  # else a power cut can leave a whole name with no bytes behind it
            claim(file)
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """``content`` as the file ``path``. Raises BlindSRError when the folder or the disk refuses."""
    try:
        with whole_file(path) as part:
            part.write_bytes(content)
    except OSError as error:
        cure = "free some space, or choose another folder"
        raise BlindSRError(f"{path}: cannot be written ({error.strerror or error}); {cure}") from None


def claim(file: IO[bytes]) -> bool:
    """Keep :func:`remove_parts` of other processes off a file while it is open; false where another has claimed it."""
    if flock is not None:
        try:
            flock(file.fileno(), LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
    return True


def remove_parts(paths: Iterable[Path]) -> None:
    """Remove what processes that were killed have left of writing ``paths``, and nothing that is claimed."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(_stem(path))
    for folder, wanted in names.items():
        for part in folder.glob(".*.part"):
            if part.name[1:].rsplit(".", 2)[0] in wanted:
                with suppress(OSError), part.open("rb") as file:
                    if claim(file):
                        part.unlink()


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file (made when missing, with its folder), on a line of its own even where a crash cut the
    last one off. OSError passes through."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode(errors="backslashreplace") + b"\n")  # of a name that is not UTF-8


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All complete lines of a file of JSON lines; one cut off by a crash, be it within a letter, is passed over, no file is
    no lines."""
    lines = []
    for line in path.read_bytes().split(b"\n") if path.exists() else []:  # names may hold other ends of lines
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            lines.append(record)
    return lines


def json_bytes(record: Mapping[str, Any]) -> bytes:
    """A record as an indented JSON file; NaN is a ValueError. What of a name is not UTF-8 becomes JSON's own escapes."""
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace")
