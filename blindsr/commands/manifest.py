"""What a folder of results was made from, so that a run that was stopped goes on.

``manifest.jsonl`` (``manifest.RANK.jsonl`` of each process that torchrun started) gets a line before the results of a
photo are written, and one when they are there. Photos are known by their content, settings by a digest: the same photo
with the same settings is not done twice, whatever became of names and times. Results that were begun and not finished
are ours to replace; all others are the user's.
"""

from __future__ import annotations

import errno
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from blindsr import images
from blindsr.atomic import append_line, read_lines
from blindsr.processes import BEGAN, several_machines

KEYS = {"result", "sha256", "settings", "state"}
SKEW = 1, 5  # seconds between the processes that torchrun starts together: on one machine, by the clocks of several


def content_hash(path: Path) -> str:
    """SHA-256 of a file; OSError passes through, and is raised for a pipe, which would be waited for."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "no ordinary file", str(path))
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of JSON-ready settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


class Manifest:
    """The manifest of the folder ``out`` as it stands, and the lines that this process (``rank`` of ``world``) adds.
    ``settings`` is asked when they are first needed."""

    def __init__(self, out: Path, settings: Callable[[], Mapping[str, Any]], rank: int = 0, world: int = 1):
        self.out, self.rank, self.world = out, rank, world
        self._ask = settings
        self._hashes: dict[Path, str] = {}
        self.known: dict[str, dict[str, Any]] = {}  # first result -> the last that is known of it
        lines = [line for line in self._lines() if line.keys() >= KEYS]
        for line in sorted(lines, key=lambda line: line.get("time", 0)):  # of runs with whatever numbers of processes
            known = self.known.get(line["result"])
            if not (known and known["state"] == "done" and _same(known, line)):
                self.known[line["result"]] = line

    @cached_property
    def settings(self) -> str:
        return settings_digest(self._ask())

    def state(self, source: Path, result: Path) -> str | None:
        """``done`` or ``begun`` for this photo with these settings; None where the manifest does not tell of it."""
        line = self.known.get(result.name)
        if line is None or line["settings"] != self.settings or line["sha256"] != self.hash_of(source):
            return None
        return line["state"]

    def made(self) -> dict[str, str]:
        """The names of the results that it tells of, each with the photo it was made from."""
        return {name: line.get("source", "") for name, line in self.known.items()}

    def hash_of(self, source: Path) -> str:
        if source not in self._hashes:
            self._hashes[source] = content_hash(source)
        return self._hashes[source]

    def read(self, source: Path, max_pixels: int) -> images.Photo:
        """The photo with its history, whose content counts as it is now, not as it was when the run began. Raises BlindSRError
        and OSError as :func:`blindsr.images.read`."""
        with suppress(OSError):  # reading says better what is wrong
            self._hashes[source] = content_hash(source)
        return images.with_history(images.read(source, max_pixels=max_pixels))

    def note(self, state: str, source: Path, result: Path) -> None:
        """Write down that the results of ``source``, the first of which is ``result``, are begun or done."""
        line = {"result": result.name, "source": str(source), "sha256": self.hash_of(source)}
        self._append(line | {"settings": self.settings, "state": state, "time": time.time()})
        if state == "done":
            del self._hashes[source]  # ten thousand photos later it would still be here

    def finish(self, wait: bool) -> None:
        """Write down that this process has finished. ``wait`` until every one has that was started with this one: where
        one leaves with an error, torchrun ends those that still work."""
        self._append({"rank": self.rank, "finished": time.time()})
        while wait and len(self._finished()) < self.world:
            time.sleep(1)

    def _finished(self) -> set[int]:
        since = BEGAN - SKEW[several_machines()]
        return {line["rank"] for line in self._lines() if line.get("finished", 0) >= since}

    def _lines(self) -> list[dict[str, Any]]:
        return [line for path in sorted(self.out.glob("manifest*.jsonl")) for line in read_lines(path)]

    def _append(self, line: Mapping[str, Any]) -> None:
        name = f"manifest.{self.rank}.jsonl" if self.world > 1 else "manifest.jsonl"
        append_line(self.out / name, json.dumps(line, ensure_ascii=False))


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two lines tell of one photo with the same settings."""
    return all(one[key] == other[key] for key in ("sha256", "settings"))
