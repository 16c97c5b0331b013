"""Many photos, one after the other: each is done or named with the reason, and none is lost silently."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from blindsr import images
from blindsr.commands.errors import DEFECT, USER_ERROR, is_users, one_line
from blindsr.interfaces import BlindSRError


@dataclass(frozen=True)
class Job:
    """One photo and every file that its result consists of."""

    source: Path
    results: tuple[Path, ...]


def check_folder(out: Path) -> None:
    """Raise BlindSRError, before any work, unless results can be written to ``out`` or it can be made."""
    nearest = out
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise BlindSRError(f"{nearest}: this is a file, results need a folder: choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise BlindSRError(f"{nearest}: you may not write to this folder: choose another --out")


class Batch:
    """Runs jobs, shows a bar on standard error, prints a line for each result, keeps the failures."""

    def __init__(self, noun: str):
        self.noun = noun
        self.failures: list[str] = []
        self.done = 0
        self.defect = False

    def find(self, inputs: Sequence[str]) -> list[Path]:
        """The photos that the inputs name, each once; an input that names none is a failure like any other."""
        found: dict[str, Path] = {}
        for name in inputs:
            try:
                paths = images.find([name])
            except BlindSRError as error:
                self.fail(name, error)
                continue
            for path in paths:
                found.setdefault(os.path.abspath(path), path)
        return list(found.values())

    def plan(self, sources: Sequence[Path], results: Callable[[str], tuple[Path, ...]], overwrite: bool) -> list[Job]:
        """A job for every source whose results can be written; ``results`` maps a name (stem) to files.

        What cannot end well fails here, before any work: results that exist, that another source of the
        same name has claimed, or that are themselves a source.
        """
        jobs: list[Job] = []
        owners: dict[Path, Path] = {}
        reserved = {os.path.realpath(source) for source in sources}
        for source in sources:
            files = results(source.stem)
            try:
                self._check(files, owners, reserved, overwrite)
            except BlindSRError as error:
                self.fail(source, error)
                continue
            owners.update((file, source) for file in files)
            jobs.append(Job(source, files))
        return jobs

    @staticmethod
    def _check(files: tuple[Path, ...], owners: dict[Path, Path], sources: set[str], overwrite: bool) -> None:
        for file in files:
            if file in owners:
                raise BlindSRError(f"its result {file} is that of {owners[file]} too: run it apart, with another --out")
            if os.path.realpath(file) in sources:
                raise BlindSRError(f"its result {file} would replace an input: choose another --out")
            if file.is_dir():
                raise BlindSRError(f"its result {file} is a folder: choose another --out")
            if file.exists() and not overwrite:
                raise BlindSRError(f"its result {file} exists: add --overwrite or choose another --out")

    def run(self, jobs: Sequence[Job], work: Callable[[Job], str]) -> None:
        """``work`` does one job and answers the line to print."""
        with tqdm(total=len(jobs), unit="photo", disable=None, file=sys.stderr, dynamic_ncols=True) as bar:
            for job in jobs:
                bar.set_description(job.source.name)
                try:
                    line = work(job)
                except Exception as error:  # the other photos still get done
                    self.fail(job.source, error)
                else:
                    self.done += 1
                    tqdm.write(line, file=sys.stdout)
                bar.update()

    def fail(self, source: Path | str, error: Exception) -> None:
        message = one_line(error)
        if isinstance(error, MemoryError) or "out of memory" in message or "can't allocate memory" in message:
            message = "not enough memory: choose a smaller --tile, or close other programs"
        elif not is_users(error):
            self.defect = True
            message = f"a defect of blindsr, please report it: {type(error).__name__}: {message}"
            tqdm.write("".join(traceback.format_exception(error)), file=sys.stderr, end="")
        # Errors that already name their file are not given the name twice.
        line = message if message.startswith(f"{source}: ") else f"{source}: {message}"
        self.failures.append(line)

    def finish(self, out: Path) -> int:
        """Print the summary and answer the exit code."""
        if self.done:
            photos = "1 photo" if self.done == 1 else f"{self.done} photos"
            print(f"{photos} {self.noun}; the results are in {out.resolve()}", flush=True)
        for line in self.failures:
            print(f"blindsr: {line}", file=sys.stderr)
        if self.failures and self.done + len(self.failures) > 1:
            total = self.done + len(self.failures)
            print(f"blindsr: {len(self.failures)} of {total} photos failed, named above", file=sys.stderr)
        if self.defect:
            return DEFECT
        return USER_ERROR if self.failures else 0
