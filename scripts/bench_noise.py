"""How well the noise level of a blurred photo is found, beside the classical estimate.

    python scripts/bench_noise.py test/bsd68 --kernels kernels_12.mat#1-8

Photos are blurred (in floating point, circularly), decimated to the corner grid, and get white noise. Mean absolute error of
σ, of 255: in the weakest colour, which is what `tiny` restores with; of its learned first estimate alone; and of the classical
estimate by wavelets (Donoho and Johnstone, Biometrika 1994).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import torch
from errors import run
from tqdm import tqdm

from blindsr import checkpoints, images
from blindsr.estimators.noise import estimate_noise, wavelet_noise
from blindsr.evaluation.formula import degrade
from blindsr.evaluation.listing import kernels_of
from blindsr.evaluation.protocol import Setting, load_protocol

ROWS = "weakest colour", "first estimate", "wavelets"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder of sharp photos in colour")
    parser.add_argument("--kernels", required=True, nargs="+", help="FILE.mat#NUMBERS, or words such as gaussian:1.6")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0, 2.55, 5, 10, 15], help="of 255 (0 2.55 5 10 15)")
    parser.add_argument("--limit", type=int, help="so many photos (all)")
    arguments = parser.parse_args()
    model = checkpoints.load(arguments.model).model
    _, protocol = load_protocol("float_blur")
    rng = np.random.default_rng(0)
    photos = images.find([arguments.photos])[: arguments.limit]
    kernels = kernels_of(Setting(1, (0,), tuple(arguments.kernels)), Path())
    errors: dict[tuple[str, int, float], list[float]] = defaultdict(list)
    for path in tqdm(photos, disable=None):
        hr = images.read(path).pixels
        for scale, kernel in product(arguments.scales, kernels):
            clean = degrade(hr, kernel.array, scale, 0, protocol).lr
            for sigma in arguments.sigmas:
                noisy = clean + sigma / 255 * rng.standard_normal(clean.shape, np.float32)
                y = torch.from_numpy(noisy).permute(2, 0, 1)[None]
                with torch.inference_mode():
                    first = model.initial(None, y, scale).sigma
                for row, level in zip(ROWS, (estimate_noise(y, first), first, wavelet_noise(y))):
                    errors[row, scale, sigma].append(abs(255 * float(level) - sigma))
    heads = [f"σ {s:g}" for s in arguments.sigmas]
    print(f"{len(photos)} photos, {len(kernels)} kernels; mean absolute error of σ, of 255")
    for scale in arguments.scales:
        print(f"\n| ×{scale} | " + " | ".join([*heads, "mean"]) + " |\n|" + "---|" * (len(heads) + 2))
        for row in ROWS:
            means = [np.mean(errors[row, scale, s]) for s in arguments.sigmas]
            print(f"| {row} | " + " | ".join(f"{v:.2f}" for v in [*means, np.mean(means)]) + " |")


if __name__ == "__main__":
    run(main)
