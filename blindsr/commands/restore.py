"""Restore photos: sharper and larger, with the kernel and the noise level that were found."""

from __future__ import annotations

import argparse
from pathlib import Path

from blindsr.commands.arguments import MAX_SIGMA_255, SMALLEST_TILE, add_photo_options, sigma_255, tile

DESCRIPTION = """\
Restore photos. Each becomes DIR/NAME_x4.png (at --scale 4), and DIR/NAME_x4.json says what was found: the blur
kernel and the noise level, with all settings.

Without --kernel the blur is found blindly. With it, the restoration is non-blind. A model that uses no kernel (BSRNet,
BSRGAN, ESRGAN) takes neither --kernel nor --sigma, and says nothing of either."""

EXAMPLES = """\
kernels:
  gaussian:1.6          isotropic, of width 1.6 pixels of the result
  gaussian:3.0,1.2,30   anisotropic: two widths and an angle in degrees
  motion:15,30          straight motion: length and angle
  motion:seed=3         a drawn camera shake
  bicubic               what an ordinary bicubic reduction does
  file.png|.npy|.mat    any kernel; .npy is what 'blindsr estimate' writes

examples:
  blindsr restore photo.jpg
  blindsr restore 'in/*.png' scans/ --scale 2 --out sharp --compare
  blindsr restore photo.png --kernel photo_kernel.npy --sigma 2.55
  blindsr restore small.png --grid corner --boundary circular    data made by the classical formula"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kernel", metavar="K", help="the blur kernel: a file or words, see below (default: found)")
    parser.add_argument(
        "--sigma",
        type=sigma_255,
        metavar="S",
        help=f"the noise level on the 0-255 scale, at most {MAX_SIGMA_255} (default: estimated)",
    )
    parser.add_argument("--compare", action="store_true", help="also write NAME_x4_compare.png: before, after, kernel")
    add_photo_options(parser)
    parser.add_argument(
        "--boundary",
        choices=("reflect", "taper", "circular"),
        default="reflect",
        help="beyond the borders: reflect (default), taper, or circular for data blurred with wrap-around",
    )
    parser.add_argument(
        "--tile",
        type=tile,
        metavar="N",
        help=f"restore in tiles of N×N input pixels, at least {SMALLEST_TILE} (default: as memory allows)",
    )


def run(arguments: argparse.Namespace) -> int:
    from blindsr import images
    from blindsr.commands.batch import Batch, Job, check_folder
    from blindsr.commands.model import TileBar, load_model
    from blindsr.commands.outputs import json_bytes, write
    from blindsr.commands.pictures import before_and_after, png
    from blindsr.kernels.files import parse_kernel

    scale: int = arguments.scale
    out: Path = arguments.out
    batch = Batch("restored")

    def results(name: str) -> tuple[Path, ...]:
        ends = (".png", ".json", "_compare.png") if arguments.compare else (".png", ".json")
        return tuple(out / f"{name}_x{scale}{end}" for end in ends)

    check_folder(out)
    jobs = batch.plan(batch.find(arguments.inputs), results, arguments.overwrite)
    if jobs:
        if arguments.kernel is not None:
            parse_kernel(arguments.kernel, scale)  # an unusable kernel is one error, not one for every photo
        model = load_model(arguments)
        model.check_serves(scale, arguments.kernel, arguments.sigma)
        if arguments.kernel is None:
            model.check_blind("give a --kernel (gaussian:1.6, bicubic, or a file)")

        def work(job: Job) -> str:
            photo = images.read(job.source, max_pixels=arguments.max_pixels)
            with TileBar() as progress:
                restored = model.restore(
                    photo,
                    scale=scale,
                    kernel=arguments.kernel,
                    sigma=None if arguments.sigma is None else arguments.sigma / 255,
                    grid=arguments.grid,
                    boundary=arguments.boundary,
                    tile=arguments.tile,
                    progress=progress,
                )
            record = {"input": str(job.source), "output": str(job.results[0])}
            images.write(job.results[0], restored.photo, overwrite=arguments.overwrite)
            write(job.results[1], json_bytes(record | restored.record()))
            if arguments.compare:
                picture = before_and_after(
                    photo.pixels, restored.image, restored.kernel, scale, arguments.grid, restored.sigma
                )
                write(job.results[2], png(picture))
            return f"{job.results[0]}: {restored.summary()}"

        batch.run(jobs, work)
    return batch.finish(out)
