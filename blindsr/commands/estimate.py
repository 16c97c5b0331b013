"""Find the blur kernel and the noise level of photos, without restoring them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blindsr.commands.arguments import add_photo_options

if TYPE_CHECKING:
    from blindsr import images
    from blindsr.commands.batch import Job
    from blindsr.inference.facade import BlindSR

DESCRIPTION = """\
Find the blur kernel and the noise level of photos. Each gives, in DIR:

  NAME_kernel.npy       the kernel, for 'blindsr restore --kernel' and for Python
  NAME_kernel.mat       the same for MATLAB, as the variable 'kernel'
  NAME_kernel.png       a plot to look at
  NAME_estimate.json    the noise level (0-255), and everything else

The kernel is on the pixels of the enlargement: estimate at the scale at which you mean to restore. The same command
goes on where it was stopped: DIR/manifest.jsonl knows, by content and settings, what is done."""

EXAMPLES = """\
example:
  blindsr estimate photo.jpg --scale 2 --out found
  blindsr restore photo.jpg --scale 2 --model tiny --kernel found/photo_kernel.npy"""

SUFFIXES = ("_kernel.npy", "_kernel.mat", "_kernel.png", "_estimate.json")


def configure(parser: argparse.ArgumentParser) -> None:
    add_photo_options(parser, "tiny")


def run(arguments: argparse.Namespace) -> int:
    from blindsr.atomic import json_bytes, remove_parts, write_whole
    from blindsr.commands.batch import Batch, check_folder
    from blindsr.commands.manifest import Manifest
    from blindsr.commands.model import load_model
    from blindsr.commands.outputs import mat_bytes, npy_bytes, result_line
    from blindsr.commands.pictures import kernel_plot

    out: Path = arguments.out
    batch = Batch("looked at")

    def results(name: str) -> tuple[Path, ...]:
        return tuple(out / f"{name}{suffix}" for suffix in SUFFIXES)

    @cache
    def model() -> BlindSR:
        loaded = load_model(arguments)
        loaded.check_finds_kernel("choose a blind --model, such as tiny")
        return loaded

    def settings() -> dict[str, Any]:
        made = {"model": model().fingerprint(), "refine": model().refines(None, arguments.refine)}
        return {name: getattr(arguments, name) for name in ("scale", "grid", "precision")} | made

    def read(job: Job) -> images.Photo:
        return manifest.read(job.source, arguments.max_pixels)

    def work(job: Job, photo: images.Photo) -> Callable[[], str]:
        manifest.note("begun", job.source, job.results[0])
        found = model().estimate(photo, scale=arguments.scale, grid=arguments.grid, refine=arguments.refine)
        title = f"blur kernel at ×{arguments.scale}, noise σ {255 * found.sigma:.1f}"
        record = {"input": str(job.source)} | found.record()
        kernel = found.kernel
        contents = (npy_bytes(kernel), mat_bytes(kernel), kernel_plot(kernel, title), json_bytes(record))

        def rest() -> str:
            for path, content in zip(job.results, contents):
                write_whole(path, content)
            manifest.note("done", job.source, job.results[0])
            return result_line(job.results[0], found)

        return rest

    check_folder(out)
    manifest = Manifest(out, settings)
    sources = batch.leave_results_out(batch.find(arguments.inputs, out), out, manifest.made(), (".png",))
    with batch.failures_told():
        if manifest.known:
            model()  # an unusable one is one error, not one for every photo
        jobs = batch.plan(sources, results, arguments.overwrite, manifest.state)
        if jobs:
            model()
            remove_parts(file for job in jobs for file in job.results)
            batch.run(jobs, read, work)
    return batch.finish(out)
