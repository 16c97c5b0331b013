"""Blind beside non-blind on a folder of sharp photos, as Markdown; resumable.

    python scripts/blind_table.py --model tiny --photos DIR --kernels kernels_12.mat --out table.jsonl

`--reference FILE.pth` adds a published USRNet, told the true kernel, as a row of its own.
"""

import argparse
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import scipy.io
import torch
from tqdm import tqdm

from blindsr import checkpoints, images
from blindsr.evaluation.blind_table import fill_table, markdown
from blindsr.interfaces import BlindSRError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="shipped name or file")
    parser.add_argument("--photos", required=True, help="folder of sharp photos")
    parser.add_argument("--kernels", required=True, help=".mat file with a cell array 'kernels'")
    parser.add_argument("--numbers", type=int, nargs="*", help="which kernels, from 1 (default: all)")
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--sigma", type=float, default=0.0, help="noise on the 0-255 scale")
    parser.add_argument("--every", type=int, default=1, help="use every N-th photo only, for a quick look")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one per cell; goes on where it stopped")
    parser.add_argument("--reference", help="a published USRNet .pth to set beside")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    arguments = parser.parse_args()
    photos = images.find([arguments.photos])[:: arguments.every]
    kernels = list(scipy.io.loadmat(arguments.kernels)["kernels"].ravel())
    if arguments.numbers:
        kernels = kernels[: max(arguments.numbers)]
    autocast = partial(torch.autocast, "cpu", torch.bfloat16) if arguments.precision == "bf16" else nullcontext
    model = checkpoints.load(arguments.model).model
    reference = checkpoints.load(arguments.reference).model.restorer if arguments.reference else None
    for part in (model, reference):
        if part is not None:
            part.to(memory_format=torch.channels_last)
    cells = fill_table(
        model,
        photos,
        kernels,
        arguments.scales,
        arguments.out,
        autocast,
        reference=reference,
        sigma=arguments.sigma / 255,
        numbers=arguments.numbers,
        progress=lambda wanted: tqdm(wanted, unit="cell"),
    )
    columns = list(dict.fromkeys(name for cell in cells for name in cell))
    print(markdown(cells, [c for c in columns if c not in ("weights", "photo", "kernel", "scale", "sigma")]))


if __name__ == "__main__":
    try:
        main()
    except BlindSRError as error:
        sys.exit(f"blind_table: {error}")
