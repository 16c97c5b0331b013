"""How well the borders of a photo are restored: pieces cut out of photos that were blurred as a whole.

    python scripts/bench_borders.py test/set14 --limit 4 --scales 1 2 4 --kernels kernels_12.mat#2 kernels_12.mat#6

PSNR in dB of the outermost 16 pixels of the result and of what lies inside them, told the true kernel and blind: with the
surroundings that the kernel asks for (`inference/surroundings.py`), and with those of padding alone.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from errors import run
from tqdm import tqdm

from blindsr import images
from blindsr.evaluation.listing import kernels_of
from blindsr.evaluation.protocol import Setting
from blindsr.inference import passage, trial
from blindsr.inference.facade import BlindSR
from blindsr.inference.surroundings import surround
from blindsr.ops.filtering import blur

SIDE, AROUND, BORDER = 192, 48, 16


def psnrs(x: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Of the border and of the rest."""
    error = np.square(x.astype(float) - truth).mean(2)
    inside = np.zeros(error.shape, bool)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    return tuple(float(10 * np.log10(255**2 / error[where].mean())) for where in (~inside, inside))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder of sharp photos of 288 pixels a side at least")
    parser.add_argument("--kernels", required=True, nargs="+", help="FILE.mat#NUMBER, or words such as disk:3")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--limit", type=int, default=4, help="so many photos (4)")
    parser.add_argument("--sigma", type=float, default=0, help="noise, of 255 (0)")
    arguments = parser.parse_args()
    model, rng, found = BlindSR.from_pretrained(arguments.model), np.random.default_rng(0), defaultdict(list)
    whole = SIDE + 2 * AROUND
    photos = [p for p in map(images.read, images.find([arguments.photos])) if min(p.pixels.shape[:2]) >= whole]
    photos = [p for p in photos if p.pixels.shape[2] == 3][: arguments.limit]
    kernels = kernels_of(Setting(1, (0,), tuple(arguments.kernels)), Path())
    for scale in arguments.scales:
        for kernel in tqdm(kernels, f"×{scale}", disable=None):
            k = torch.from_numpy(np.array(kernel.array, np.float32))[None, None]
            for photo in photos:
                x = torch.from_numpy(images.to_float(photo.pixels[:whole, :whole])).permute(2, 0, 1)[None]
                cut = (..., slice(AROUND, -AROUND), slice(AROUND, -AROUND))
                y, truth = (t[cut][0].permute(1, 2, 0).numpy() for t in (blur(x, k), x))
                y = y[::scale, ::scale] + arguments.sigma / 255 * rng.standard_normal(y[::scale, ::scale].shape)
                source = images.from_float(y.astype(np.float32), np.uint8)
                for around, name in ((surround, "fitting"), (lambda padded, *rest: padded, "padding alone")):
                    passage.surround = trial.surround = around
                    for told in (True, False):
                        known = (kernel.array.astype(float), arguments.sigma / 255) if told else (None, None)
                        restored = model.restore(source, scale, *known, grid="corner").image
                        row = f"{kernel.name}, {'true kernel' if told else 'blind'}"
                        found[scale, row, name].append(psnrs(restored, 255 * truth))
    print(f"{len(photos)} photos; PSNR in dB, border / inside\n\n| | fitting | padding alone |\n|---|---|---|")
    for scale, row, name in found:
        if name == "fitting":
            both = [np.mean(found[scale, row, n], axis=0) for n in ("fitting", "padding alone")]
            print(f"| ×{scale}, {row} | " + " | ".join(f"{a:.2f} / {b:.2f}" for a, b in both) + " |")


if __name__ == "__main__":
    run(main)
