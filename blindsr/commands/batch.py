"""Many photos, one after the other: each is done or named with the reason, and none is lost silently.

While a photo is worked on, the next one is read and the one before is written, each by a thread of its own."""

from __future__ import annotations

import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from blindsr import images
from blindsr.commands.errors import DEFECT, USER_ERROR, is_users, one_line
from blindsr.interfaces import BlindSRError


@dataclass(frozen=True)
class Job:
    """One photo and every file that its result consists of; ``replace`` allows to replace them."""

    source: Path
    results: tuple[Path, ...]
    replace: bool = False


def check_folder(out: Path) -> None:
    """Raise BlindSRError, before any work, unless results can be written to ``out`` or it can be made."""
    nearest = out
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise BlindSRError(f"{nearest}: this is a file, results need a folder: choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise BlindSRError(f"{nearest}: you may not write to this folder: choose another --out")


def _within(path: Path, folder: Path) -> bool:
    """Whether the file lies in the folder itself."""
    return os.path.realpath(path.parent) == os.path.realpath(folder)


class Batch:
    """Runs jobs, shows a bar on standard error, prints a line for each result, keeps the failures."""

    def __init__(self, noun: str):
        self.noun = noun
        self.failures: list[str] = []
        self.done = 0
        self.ready = 0  # results that an earlier run has made
        self.defect = False

    def find(self, inputs: Sequence[str], out: Path | None = None) -> list[Path]:
        """The photos that the inputs name, each once; an input that names none is a failure like any other. Raises
        BlindSRError where a folder or a pattern finds photos in ``out``: pictures written there would be photos to it the
        next time."""
        found: dict[str, Path] = {}
        for name in inputs:
            try:
                paths = images.find([name])
            except BlindSRError as error:
                self.fail(name, error)
                continue
            for path in paths:
                if out is not None and path != Path(os.path.expanduser(name)) and _within(path, out):
                    raise BlindSRError(f"{name}: results in {out} would be taken for photos later: choose another --out")
                found.setdefault(os.path.abspath(path), path)
        return list(found.values())

    def leave_results_out(
        self, sources: Sequence[Path], out: Path, made: Mapping[str, str], beside: Sequence[str], quiet: bool = False
    ) -> list[Path]:
        """``sources`` without results of others among them, which a shell names with them where photos and results lie in
        one folder. ``made`` tells of every result in ``out`` from what it was made; a picture may lie ``beside`` a result, whose
        name ends so after the result's stem. ``quiet`` does not say how many."""
        names = {source.name for source in sources}
        made_here = [Path(result) for result, source in made.items() if Path(source).name in names]
        results = {result.stem + end for result in made_here for end in (result.suffix, *beside)}
        left = [source for source in sources if not (_within(source, out) and source.name in results)]
        if len(left) < len(sources) and not quiet:
            print(f"blindsr: {len(sources) - len(left)} of the inputs are results of the others, and left out", file=sys.stderr)
        return left

    def plan(
        self,
        sources: Sequence[Path],
        results: Callable[[str], tuple[Path, ...]],
        overwrite: bool,
        state: Callable[[Path, Path], str | None] = lambda source, result: None,
        share: slice = slice(None),
    ) -> list[Job]:
        """A job for every source whose results can be written; ``results`` maps a name (stem) to files. Of sources that
        several processes share out, ``share`` are those of this one.

        What cannot end well fails here, before any work: results that exist, that another source of the
        same name has claimed, or that are themselves a source. Of results that exist ``state`` says, given the source
        and the first of them, whether they are ``done``, and need no job, or ``begun``, and may be replaced.
        """
        jobs: list[Job] = []
        owners: dict[Path, Path] = {}
        reserved = {os.path.realpath(source) for source in sources}
        mine = set(sources[share])
        for source in sources:
            files = results(source.stem)
            if source not in mine:
                for file in files:
                    owners.setdefault(file, source)
                continue
            try:
                there = [file.exists() for file in files]
                known = state(source, files[0]) if any(there) else None
                ready = known == "done" and all(there)
                self._check(files, owners, reserved, overwrite or known is not None)
            except (BlindSRError, OSError) as error:
                self.fail(source, error)
                continue
            owners.update((file, source) for file in files)
            if ready:
                self.ready += 1
            else:
                jobs.append(Job(source, files, overwrite or known is not None))
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

    def run(
        self,
        jobs: Sequence[Job],
        read: Callable[[Job], Any],
        work: Callable[[Job, Any], Callable[[], str]],
        quiet: bool = False,
    ) -> None:
        """``read`` gives what ``work`` needs of a job; ``work`` answers what is left to do, whose answer is the line to
        print. ``quiet`` shows no bar."""
        with (
            tqdm(total=len(jobs), unit="photo", disable=quiet or None, file=sys.stderr, dynamic_ncols=True) as bar,
            ThreadPoolExecutor(1) as reader,
            ThreadPoolExecutor(1) as writer,
        ):
            ahead: Future | None = reader.submit(read, jobs[0]) if jobs else None
            left: deque[tuple[Job, Future]] = deque()
            try:
                for job, following in zip(jobs, [*jobs[1:], None]):
                    bar.set_description(job.source.name)
                    try:
                        given, ahead = ahead.result(), None
                    except Exception as error:  # the other photos still get done
                        given = error
                    ahead = reader.submit(read, following) if following else None
                    try:
                        if isinstance(given, Exception):
                            raise given
                        rest = work(job, given)
                    except Exception as error:
                        self.fail(job.source, error)
                        bar.update()
                        continue
                    finally:
                        given = None  # a large photo is not kept longer than it must be
                    left.append((job, writer.submit(rest)))  # before waiting for any other: Ctrl-C must not lose it
                    if len(left) > 1:
                        self._settle(left, bar)
            finally:
                while left:  # also after Ctrl-C: what is nearly there is finished
                    self._settle(left, bar)

    def _settle(self, left: deque[tuple[Job, Future]], bar: tqdm) -> None:
        """Wait for the first of those that are being written."""
        job, rest = left[0]
        wait([rest])
        left.popleft()
        try:
            line = rest.result()
        except Exception as error:
            self.fail(job.source, error)
        else:
            self.done += 1
            tqdm.write(line, file=sys.stdout)
        bar.update()

    def fail(self, source: Path | str, error: Exception) -> None:
        message = one_line(error)
        if not is_users(error):
            self.defect = True
            message = f"a defect of blindsr, please report it: {type(error).__name__}: {message}"
            tqdm.write("".join(traceback.format_exception(error)), file=sys.stderr, end="")
        # Errors that already name their file are not given the name twice.
        line = message if message.startswith(f"{source}: ") else f"{source}: {message}"
        self.failures.append(line)

    def tell_failures(self) -> None:
        for line in self.failures:
            print(f"blindsr: {line}", file=sys.stderr)

    @contextmanager
    def failures_told(self) -> Iterator[None]:
        """Where an error ends the work within, the photos that failed before it are named all the same."""
        try:
            yield
        except BaseException:  # Ctrl-C too
            self.tell_failures()
            raise

    def finish(self, out: Path) -> int:
        """Print the summary and answer the exit code."""
        if self.done:
            photos = "1 photo" if self.done == 1 else f"{self.done} photos"
            print(f"{photos} {self.noun}; the results are in {out.resolve()}", flush=True)
        if self.ready:
            photos = "1 photo was" if self.ready == 1 else f"{self.ready} photos were"
            print(f"{photos} {self.noun} already, with these settings, into {out.resolve()}", flush=True)
        self.tell_failures()
        total = self.done + self.ready + len(self.failures)
        if self.failures and total > 1:
            print(f"blindsr: {len(self.failures)} of {total} photos failed, named above", file=sys.stderr)
        if self.defect:
            return DEFECT
        return USER_ERROR if self.failures else 0
