"""Make training pairs: sharp photos, degraded as real ones are."""

from __future__ import annotations

import argparse
from pathlib import Path

from blindsr.commands.arguments import count

DESCRIPTION = """\
Degrade sharp photos at random: blur, resampling, noise and compression in random order (BSRGAN). Gives, in DIR:

  lr/NAME_0000.png      the degraded photo or patch (without the number for a single draw)
  hr/NAME_0000.png      what it should have been: the same piece of the photo, --scale times as large
  manifest.jsonl        a line for each pair: photo, draw, seed, scale; with --record all that was drawn

A pair depends on the seed, the name of its photo and the number of its draw alone, however many processes work. The
same command goes on where it was stopped. Low-resolution pixels lie on the 'centre' grid. Pairs are RGB of 8 bits,
whatever the photos are; alpha is left out."""

EXAMPLES = """\
examples:
  blindsr degrade photos/ --scale 4 --patch 72 --draws 10 --seed 1 --out pairs
  blindsr degrade photos/ --config bsrgan_plus --scale 2 --without camera --record
  blindsr degrade photo.png --sheet --out look       one picture of the photo under 24 draws"""

SHEET_DRAWS, SHEET_COLUMNS, SHEET_PATCH = 24, 6, 56


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="photos, folders, or globs such as 'in/*.png'")
    parser.add_argument(
        "--config",
        default="bsrgan",
        metavar="NAME|PATH",
        help="bsrgan (default), bsrgan_plus, or a YAML file of a shuffled degradation",
    )
    parser.add_argument(
        "--scale", type=int, choices=(1, 2, 3, 4), default=4, help="factor of the reduction (default: 4)"
    )
    parser.add_argument("--draws", type=count, default=1, metavar="N", help="pairs for each photo (default: 1)")
    parser.add_argument(
        "--patch", type=count, metavar="P", help="side of the low-resolution patch (default: the whole photo)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other pairs (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("pairs"), metavar="DIR", help="folder (default: pairs)")
    parser.add_argument("--record", action="store_true", help="write all that was drawn into the manifest")
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="OPERATION", help="leave these out, such as camera or jpeg"
    )
    parser.add_argument(
        "--sheet",
        action="store_true",
        help=f"only DIR/NAME_sheet.png: one piece of the photo under {SHEET_DRAWS} draws",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace sheets that exist")
    parser.add_argument("--jobs", type=count, metavar="N", help="processes (default: one for each core)")
    parser.add_argument(
        "--max-pixels", type=count, default=500_000_000, metavar="N", help="refuse larger photos (default: 500e6)"
    )


def run(arguments: argparse.Namespace) -> int:
    from blindsr import config, registry
    from blindsr.commands.batch import Batch, check_folder
    from blindsr.degradation.shuffled import ShuffledConfig
    from blindsr.interfaces import BlindSRError

    if arguments.seed < 0:
        raise BlindSRError("--seed: give a number that is not negative")
    path = config.find("degradation", arguments.config)
    degradation = registry.parse_component("degradation")(config.load(path, "degradation"), path.name)
    if not isinstance(degradation, ShuffledConfig):
        raise BlindSRError(f"{path}: this is not a shuffled degradation; write 'name: shuffled' and its steps")
    degradation = degradation.without(*arguments.without)
    check_folder(arguments.out)
    if arguments.sheet:
        return _sheets(arguments, degradation, Batch("shown"))
    return _pairs(arguments, degradation, Batch("degraded"))


def _pairs(arguments: argparse.Namespace, degradation, batch) -> int:
    import sys

    from tqdm import tqdm

    from blindsr.degradation.pairs import PairSettings, PairWriter, digest
    from blindsr.interfaces import BlindSRError
    from blindsr.processes import usable_cores

    out, sources = arguments.out, {}
    for source in batch.find(arguments.inputs):
        if source.stem in sources:
            batch.fail(source, BlindSRError(f"its pairs would be called as those of {sources[source.stem]}: rename it"))
        else:
            sources[source.stem] = source
    settings = PairSettings(arguments.scale, arguments.patch or 0, arguments.seed, digest(degradation))
    writer = PairWriter(degradation, settings, arguments.draws, out, arguments.record, arguments.max_pixels)
    total, made, failed = len(sources) * arguments.draws, 0, set()
    with batch.failures_told():
        tasks = writer.missing(list(sources.values()))
        ready = total - sum(len(task.draws) for task in tasks)
        with tqdm(total=total, initial=ready, unit="pair", disable=None, file=sys.stderr, dynamic_ncols=True) as bar:
            for task, pairs, error in writer.run(tasks, min(arguments.jobs or usable_cores(), max(1, len(tasks)))):
                if error is not None and task.source not in failed:
                    failed.add(task.source)
                    batch.fail(task.source, error)
                made += pairs
                bar.update(len(task.draws))
    batch.done = len(sources) - len(failed)
    pairs = "1 pair" if made == 1 else f"{made} pairs"
    print(f"{pairs} made" + (f", {ready} were there already" if ready else ""))
    return batch.finish(out)


def _sheets(arguments: argparse.Namespace, degradation, batch) -> int:
    import io

    import numpy as np

    from blindsr import images
    from blindsr.atomic import write_whole
    from blindsr.commands.pictures import as_rgb, contact_sheet, middle
    from blindsr.degradation.shuffled import Shuffled

    shuffled, scale, side = Shuffled(degradation), arguments.scale, arguments.patch or SHEET_PATCH
    sources = batch.find(arguments.inputs, arguments.out)
    jobs = batch.plan(sources, lambda name: (arguments.out / f"{name}_sheet.png",), arguments.overwrite)

    def read(job) -> np.ndarray:
        return images.to_float(images.read(job.source, max_pixels=arguments.max_pixels).pixels)

    def work(job, hr: np.ndarray):
        piece = middle(hr, (side + 2 * shuffled.margin(scale)) * scale)
        panels = []
        for draw in range(SHEET_DRAWS):
            lr = middle(shuffled(piece, scale, np.random.default_rng((arguments.seed, draw))).lr, side)
            lr = lr.repeat(scale, axis=0).repeat(scale, axis=1)
            panels.append(as_rgb(images.from_float(lr, np.uint8)))
        file = io.BytesIO()
        contact_sheet(panels, SHEET_COLUMNS).save(file, "PNG")
        write_whole(job.results[0], file.getvalue())
        return lambda: f"{job.results[0]}: {SHEET_DRAWS} draws of one piece"

    with batch.failures_told():
        batch.run(jobs, read, work)
    return batch.finish(arguments.out)
