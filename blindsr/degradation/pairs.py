"""Folders of training pairs: sharp photos in, PNG pairs and a manifest out; resumable, by any number of processes."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import numpy as np

from blindsr import images, registry
from blindsr.atomic import append_line, read_lines, remove_parts
from blindsr.degradation.shuffled import Shuffled, ShuffledConfig
from blindsr.interfaces import BlindSRError
from blindsr.workers import spread

MANIFEST = "manifest.jsonl"
BEGUN = ".begun.jsonl"
CHUNK = 16  # draws of one photo that a process takes at a time


@dataclass(frozen=True)
class PairSettings:
    """What a pair depends on, beside its photo and the number of its draw. ``patch`` is the side of the
    low-resolution patch, 0 for whole photos; ``digest`` tells one configuration from another."""

    scale: int
    patch: int
    seed: int
    digest: str


def digest(config: ShuffledConfig) -> str:
    """Eight hexadecimal digits of a configuration."""
    return f"{zlib.crc32(json.dumps(registry.as_mapping(config), sort_keys=True).encode()):08x}"


def pair_name(source: PurePath, draw: int, draws: int) -> str:
    """The file name of a pair, without suffix: that of the photo, and the draw where there are several."""
    return source.stem if draws == 1 else f"{source.stem}_{draw:04d}"


def content(source: Path) -> str | None:
    """Eight hexadecimal digits of what a file holds; None where it cannot be read, which reading it as a photo says better."""
    try:
        return f"{zlib.crc32(source.read_bytes()):08x}"
    except OSError:
        return None


def rng_of(settings: PairSettings, source: Path, draw: int) -> np.random.Generator:
    """The generator of one pair: it depends on the seed, the photo's name and the draw, and on nothing else."""
    return np.random.default_rng((settings.seed, zlib.crc32(os.fsencode(source.name)), draw))


@dataclass(frozen=True)
class Task:
    """Some draws of one photo."""

    source: Path
    draws: tuple[int, ...]


class PairWriter:
    """Writes pairs to ``out``/lr and ``out``/hr, and a line for each, in the order in which they get done, to
    ``out``/manifest.jsonl; with ``record`` the line holds what was drawn. Before them ``out``/.begun.jsonl names those to come:
    whatever else lies in the place of a pair is the user's."""

    def __init__(
        self, config: ShuffledConfig, settings: PairSettings, draws: int, out: Path, record: bool, max_pixels: int
    ):
        self.config, self.settings, self.draws, self.out, self.record = config, settings, draws, out, record
        self.max_pixels = max_pixels

    def line(self, source: Path, draw: int) -> dict[str, Any]:
        """What the manifest says of a pair, but for the content of its photo and the record."""
        name = pair_name(source, draw, self.draws) + ".png"
        return {"lr": f"lr/{name}", "hr": f"hr/{name}", "source": str(source), "draw": draw, "grid": "centre"} | asdict(
            self.settings
        )

    def missing(self, sources: Sequence[Path]) -> list[Task]:
        """The work that the manifest of the folder leaves. A pair counts as done when both of its files are
        there, and its record, where that is wanted. Raises BlindSRError where the manifest tells of other settings: its
        pairs would be mixed with these; where nothing tells of a file in the place of a pair; and where a photo lies
        among the pairs: one of them might take its place."""
        # The manifest of a folder of restored photos has other lines.
        known = {line["lr"]: line for line in read_lines(self.out / MANIFEST) if "lr" in line}
        ours = known.keys() | {name for line in read_lines(self.out / BEGUN) for name in line.get("begun", ())}
        mixed = f"{self.out}: holds pairs of other photos or settings ({{}}); choose another --out"
        settings = asdict(self.settings)
        for name, line in known.items():
            if any(line.get(key) != value for key, value in settings.items()):
                raise BlindSRError(mixed.format(name))
            photos = (kind(line.get("source", "")) for kind in (Path, PureWindowsPath))
            if "draw" in line and name not in [f"lr/{pair_name(p, line['draw'], self.draws)}.png" for p in photos]:
                raise BlindSRError(f"{self.out}: holds pairs numbered in another way ({name}); choose another --out, or "
                                   "--draws 1 where there was one draw of each photo, and more where there were")  # fmt: skip
        among = {os.path.realpath(self.out / part) for part in ("lr", "hr")}
        tasks = []
        for source in sources:
            if os.path.dirname(os.path.realpath(source)) in among:
                raise BlindSRError(f"{source}: pairs would be written into the folder of this photo; choose another --out")
            holds, left = cache(content), []
            for draw in range(self.draws):
                wanted = self.line(source, draw)
                found = known.get(wanted["lr"])
                if found and not same(found, wanted, holds(source)):
                    raise BlindSRError(mixed.format(wanted["lr"]))
                there = [file for part in ("lr", "hr") if (file := self.out / wanted[part]).exists()]
                if there and wanted["lr"] not in ours:
                    raise BlindSRError(f"{there[0]}: exists, and no {MANIFEST} of pairs tells of it; choose another --out")
                if len(there) < 2 or not found or (self.record and "record" not in found):
                    left.append(draw)
            tasks += [Task(source, tuple(left[i : i + CHUNK])) for i in range(0, len(left), CHUNK)]
        return tasks

    def work(self, task: Task) -> list[dict[str, Any]]:
        """Make the pairs of a task; the lines for the manifest."""
        photo = content(task.source)
        hr = images.to_float(images.read(task.source, max_pixels=self.max_pixels).pixels)
        shuffled, lines = Shuffled(self.config), []
        for draw in task.draws:
            made = shuffled(hr, self.settings.scale, rng_of(self.settings, task.source, draw), self.settings.patch)
            line = self.line(task.source, draw) | {"photo": photo}
            for part, pixels in (("hr", made.hr), ("lr", made.lr)):
                images.write(self.out / line[part], images.Photo(images.from_float(pixels, np.uint8)), overwrite=True)
            lines.append(line | ({"record": made.record} if self.record else {}))
        return lines

    def run(self, tasks: Sequence[Task], processes: int) -> Iterator[tuple[Task, int, Exception | None]]:
        """Do the tasks, here or by so many processes, and write the manifest; yields each task as it ends, with the
        number of its pairs and, where it failed, the reason."""
        if not tasks:
            return
        wanted = [self.line(task.source, draw) for task in tasks for draw in task.draws]
        remove_parts(self.out / line[part] for line in wanted for part in ("lr", "hr"))
        append_line(self.out / BEGUN, json.dumps({"begun": [line["lr"] for line in wanted]}, ensure_ascii=False))
        for task, lines, error in self._results(tasks, processes):
            for line in lines:
                append_line(self.out / MANIFEST, json.dumps(line, ensure_ascii=False))
            yield task, len(lines), error

    def _results(self, tasks: Sequence[Task], processes: int) -> Iterator[tuple[Task, list, Exception | None]]:
        if processes == 1 or len(tasks) == 1:
            for task in tasks:
                try:
                    yield task, self.work(task), None
                except Exception as error:
                    yield task, [], error
            return
        for task, done in spread(self.work, tasks, processes, go_on=True):
            error = done.exception()
            yield task, [] if error else done.result(), error


def same(found: Mapping[str, Any], wanted: Mapping[str, Any], holds: str | None) -> bool:
    """Whether two lines of a manifest tell of one pair, whose photo now ``holds`` this (None: it cannot be read). The folder
    of the photo may have moved, and lines of earlier versions do not tell what it held."""
    names = [Path(line.get("source", "")).name for line in (found, wanted)]
    alike = names[0] == names[1] and all(found.get(k) == v for k, v in wanted.items() if k != "source")
    return alike and (holds is None or found.get("photo", holds) == holds)
