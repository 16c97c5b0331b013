"""Restore photos: sharper and larger, with the kernel and the noise level that were found."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blindsr.commands.arguments import MAX_SIGMA_255, SMALLEST_TILE, add_photo_options, sigma_255, tile
from blindsr.processes import rank_and_world

if TYPE_CHECKING:
    import numpy as np

    from blindsr import images
    from blindsr.commands.batch import Job
    from blindsr.commands.manifest import Manifest
    from blindsr.inference.facade import BlindSR

DESCRIPTION = """\
Restore photos. Each becomes DIR/NAME_x4.png (at --scale 4), and DIR/NAME_x4.json says what was found: the blur
kernel and the noise level, with all settings.

Without --kernel the blur is found blindly. With it, the restoration is non-blind. A model that uses no kernel (BSRNet,
BSRGAN, ESRGAN) takes neither --kernel nor --sigma, and says nothing of either.

The same command goes on where it was stopped: DIR/manifest.jsonl knows, by content and settings, what is done. Large
photos are restored in tiles and written as they come, so that memory does not grow with them. Of a file of several
pages the first is restored. torchrun spreads many photos over processes and machines that share DIR."""

EXAMPLES = """\
kernels:
  gaussian:1.6          isotropic, of width 1.6 pixels of the result
  gaussian:3.0,1.2,30   anisotropic: two widths and an angle in degrees
  disk:2.5              out of focus: an even disk of that radius
  motion:15,30          straight motion: length and angle
  motion:seed=3         a drawn camera shake
  bicubic               what an ordinary bicubic reduction does
  file.png|.npy|.mat    any kernel; .npy is what 'blindsr estimate' writes
  file.mat#3            the third of several: cells, or stacked along the last axis (in .npy along the first)

examples:
  blindsr restore photo.jpg
  blindsr restore 'in/*.png' scans/ --scale 2 --out sharp --compare
  blindsr restore photo.png --model tiny --no-refine             about twice as fast, often worse
  blindsr restore photo.png --model tiny --kernel photo_kernel.npy --sigma 2.55
  blindsr restore small.png --model tiny --grid corner --boundary circular    made by the classical formula
  torchrun --nproc-per-node=4 -m blindsr restore scans/ --out sharp --threads 4"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kernel", metavar="K", help="the blur kernel: a file or words, see below (default: found)")
    parser.add_argument(
        "--sigma",
        type=sigma_255,
        metavar="S",
        help=f"the noise level on the 0-255 scale, at most {MAX_SIGMA_255} (default: estimated)",
    )
    parser.add_argument("--compare", action="store_true", help="also write NAME_x4_compare.png: before, after, kernel")
    add_photo_options(parser, "tiny-real", ", or a published .pth (USRNet, BSRNet, BSRGAN)")
    parser.add_argument(
        "--format",
        choices=("png", "tif"),
        default="png",
        help="of the results: png (default), or tif, tiled (BigTIFF beyond 4 GB); a folder holds those of one format",
    )
    parser.add_argument(
        "--boundary",
        choices=("reflect", "taper", "circular"),
        default="reflect",
        help="beyond the borders: reflect (default), taper, or circular for data blurred with wrap-around; of photos that are "
        "restored whole",
    )
    parser.add_argument(
        "--per-tile",
        action="store_true",
        help="let the blur vary over the photo; also write NAME_x4_kernels.png, the kernels of its parts",
    )
    parser.add_argument(
        "--tile",
        type=tile,
        metavar="N",
        help=f"restore in tiles of N×N input pixels, at least {SMALLEST_TILE} (default: as memory allows)",
    )


def run(arguments: argparse.Namespace) -> int:
    from blindsr.atomic import remove_parts
    from blindsr.commands.batch import Batch, check_folder
    from blindsr.commands.manifest import Manifest
    from blindsr.commands.model import load_model
    from blindsr.interfaces import BlindSRError
    from blindsr.kernels.files import is_bicubic, parse_kernel

    scale, out = arguments.scale, arguments.out
    if arguments.per_tile and arguments.kernel is not None:
        raise BlindSRError("a given --kernel is the same everywhere; leave out either it or --per-tile")
    if arguments.refine and arguments.kernel is not None:
        raise BlindSRError("a given --kernel is not refined; leave out either it or --refine")
    batch = Batch("restored")
    rank, world = rank_and_world()
    beside = {"_compare.png": arguments.compare, "_kernels.png": arguments.per_tile}

    def results(name: str) -> tuple[Path, ...]:
        ends = (f".{arguments.format}", ".json", *(end for end, wanted in beside.items() if wanted))
        return tuple(out / f"{name}_x{scale}{end}" for end in ends)

    @cache
    def model() -> BlindSR:
        if arguments.kernel is not None:
            parse_kernel(arguments.kernel, scale)  # an unusable kernel is one error, not one for every photo
        loaded = load_model(arguments)
        loaded.check_serves(scale, arguments.kernel, arguments.sigma, arguments.grid)
        if arguments.kernel is None:
            loaded.check_blind("give a --kernel (gaussian:1.6, bicubic, or a file)")
        for option in ("per_tile", "refine"):
            if getattr(arguments, option):
                loaded.check_finds_kernel(f"leave --{option.replace('_', '-')} out")
        return loaded

    def settings() -> dict[str, Any]:
        kernel = None
        if arguments.kernel is not None:  # the same taps from a file would lie elsewhere than the word
            kernel = [is_bicubic(arguments.kernel), parse_kernel(arguments.kernel, scale).tolist()]
        named = ("scale", "sigma", "grid", "boundary", "tile", "precision", "compare", "per_tile")
        made = {"kernel": kernel, "model": model().fingerprint()}
        made["refine"] = model().refines(arguments.kernel, arguments.refine)
        return {name: getattr(arguments, name) for name in named} | made

    check_folder(out)
    manifest = Manifest(out, settings, rank, world)
    sources = batch.leave_results_out(batch.find(arguments.inputs, out), out, manifest.made(), tuple(beside), rank > 0)
    if rank:
        batch.failures.clear()  # inputs that name no photo: the first process tells of them
    with batch.failures_told():
        if manifest.known:
            model()  # an unusable one is one error, not one for every photo
        jobs = batch.plan(sources, results, arguments.overwrite, manifest.state, slice(rank, None, world))
        if jobs:
            remove_parts(file for job in jobs for file in job.results)
            task = RestoreTask(arguments, model(), manifest)
            batch.run(jobs, task.read, task.work, quiet=rank > 0)
    code = batch.finish(out)
    if world > 1:
        manifest.finish(wait=code != 0)
    return code


class RestoreTask:
    """What is done to every photo: read, restored, written."""

    def __init__(self, arguments: argparse.Namespace, model: BlindSR, manifest: Manifest):
        self.arguments, self.model, self.manifest = arguments, model, manifest

    def read(self, job: Job) -> images.Photo:
        return self.manifest.read(job.source, self.arguments.max_pixels)

    def work(self, job: Job, photo: images.Photo) -> Callable[[], str]:
        """Restore; the result is being written meanwhile. Answers what is left to do."""
        from blindsr.atomic import json_bytes, write_whole
        from blindsr.commands.model import TileBar
        from blindsr.commands.outputs import result_line
        from blindsr.commands.pictures import Middle, before_and_after, kernel_sheet, png
        from blindsr.commands.sink import BandSink

        options, scale = self.arguments, self.arguments.scale
        height, width, colours = photo.pixels.shape
        middle = Middle(photo.pixels, scale) if options.compare else None
        shape = (height * scale, width * scale, colours + (photo.alpha is not None))
        sink = BandSink(job.results[0], shape, photo, overwrite=job.replace)
        try:
            self.manifest.note("begun", job.source, job.results[0])

            def into(band: np.ndarray) -> None:
                sink.put(band)
                if middle is not None:
                    middle.put(band)

            with TileBar() as progress:
                restored = self.model.restore(
                    photo,
                    scale=scale,
                    kernel=options.kernel,
                    sigma=None if options.sigma is None else options.sigma / 255,
                    grid=options.grid,
                    boundary=options.boundary,
                    tile=options.tile,
                    progress=progress,
                    into=into,
                    per_tile=options.per_tile,
                    refine=options.refine,
                )
        except BaseException:
            sink.give_up()
            raise

        def rest() -> str:
            sink.close()
            record = {"input": str(job.source), "output": str(job.results[0])}
            write_whole(job.results[1], json_bytes(record | restored.record()))
            if middle is not None:
                picture = before_and_after(middle, restored.kernel, restored.grid, restored.sigma)
                write_whole(job.results[2], png(picture))
            if restored.field is not None:
                write_whole(job.results[-1], png(kernel_sheet(restored.field.kernels)))
            self.manifest.note("done", job.source, job.results[0])
            line = result_line(job.results[0], restored)
            if restored.kernel is not None and restored.boundary != options.boundary:
                line += f"\n  in {restored.tiles} tiles, which are always reflected: --boundary {options.boundary} made no difference"
            return line

        return rest
