"""Pack photos for training: patches are then read without decoding whole photos."""

from __future__ import annotations

import argparse
from pathlib import Path

from blindsr.commands.arguments import count

DESCRIPTION = """\
Decode photos once, losslessly (8 and 16 bits, gray and RGB, without alpha and metadata), into a folder of HDF5 files
from which training reads small patches quickly. They take about four times the room of JPEG photos.

The folder grows: photos that are in it are passed over, others are added. So the same command goes on where it was
stopped, even by a crash or kill; the file under way (up to 256 MiB of pixels) is then made again. Needs h5py:
pip install 'blindsr[pack]'."""

EXAMPLES = """\
examples:
  blindsr pack photos/ --out photos.pack
  blindsr pack more/ 'old/*.tif' --out photos.pack
  blindsr train tiny --set 'data.folders=[photos.pack]'"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="photos, folders, or globs such as 'in/*.png'")
    parser.add_argument(
        "--out", type=Path, default=Path("photos.pack"), metavar="DIR", help="folder (default: photos.pack)"
    )
    parser.add_argument(
        "--max-pixels", type=count, default=500_000_000, metavar="N", help="refuse larger photos (default: 500e6)"
    )


def run(arguments: argparse.Namespace) -> int:
    import sys

    from tqdm import tqdm

    from blindsr.commands.batch import Batch, check_folder
    from blindsr.training.packed import Packer

    out = arguments.out
    check_folder(out)
    packer, batch = Packer(out), Batch("packed")
    sources = batch.find(arguments.inputs)
    missing = packer.missing(sources)
    begun, before = len(sources) - len(missing), len(batch.failures)
    with (
        batch.failures_told(),
        tqdm(
            missing, initial=begun, total=len(sources), unit="photo", disable=None, file=sys.stderr, dynamic_ncols=True
        ) as bar,
    ):
        added = packer.add(bar, batch.fail, arguments.max_pixels)
    batch.done = len(sources) - (len(batch.failures) - before)
    ready = batch.done - added
    photos = "1 photo" if added == 1 else f"{added} photos"
    print(f"{photos} added" + (f", {ready} were there already" if ready else ""))
    return batch.finish(out)
