"""What a shuffled degradation makes of one photo, as distributions; beside another pipeline's results, if given.

    python scripts/degradation_report.py photo.png --out docs/degradation
    python scripts/degradation_report.py photo.png --against folder --out docs/degradation

Five figures of the low-resolution picture over many draws, camera noise off, the middle 320x320 pixels of the photo at
x4: mean, variance, gradient energy, energy of high frequencies, and blockiness. FOLDER holds low-resolution pictures
(80x80) that another program made of the same pixels. Kolmogorov-Smirnov distances say how far the two are apart; for
samples of one distribution, 500 each, 19 of 20 distances are below 0.086.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import cv2
import matplotlib.pyplot as plt
import numpy as np
from errors import run
from scipy.stats import ks_2samp
from tqdm import tqdm

from blindsr import config, images, registry
from blindsr.degradation.shuffled import Shuffled
from blindsr.interfaces import BlindSRError
from blindsr.ops.filtering import LUMA

SIDE, SCALE = 320, 4


def figures(lr: np.ndarray) -> dict[str, float]:
    """Of a low-resolution picture (h, w, 3) in [0, 1], on the 0-255 scale."""
    gray = 255 * (lr.astype(np.float64) @ np.array(LUMA))
    down, across = np.diff(gray, axis=0), np.diff(gray, axis=1)
    spectrum = np.abs(np.fft.fft2(gray - gray.mean())) ** 2 / gray.size**2
    rows, cols = (np.abs(np.fft.fftfreq(n)) for n in gray.shape)
    return {
        "mean": float(255 * lr.mean()),
        "variance": float(gray.var()),
        "gradient energy": float((down**2).mean() + (across**2).mean()),
        "high-frequency energy": float(spectrum[np.maximum(rows[:, None], cols) > 0.25].sum()),
        "blockiness": float(blockiness(np.abs(down).mean(1)) + blockiness(np.abs(across).mean(0))),
    }


def blockiness(steps: np.ndarray) -> float:
    """How much larger the steps between 8-pixel blocks are than the others, on average."""
    borders = np.arange(len(steps)) % 8 == 7
    return steps[borders].mean() - steps[~borders].mean()


def draw_many(shuffled: Shuffled, hr: np.ndarray, draws: int) -> list[dict[str, float]]:
    made = (
        shuffled(hr, SCALE, np.random.default_rng(seed)).lr for seed in tqdm(range(draws), unit="draw", disable=None)
    )
    return [figures(lr) for lr in made]


def plot(name: str, ours: list[dict[str, float]], theirs: list[dict[str, float]], path: Path) -> None:
    """Cumulative distributions, a panel for each figure."""
    fig, axes = plt.subplots(1, len(ours[0]), figsize=(3 * len(ours[0]), 2.8), sharey=True)
    for axis, figure in zip(axes, ours[0]):
        for label, cells in (("blindsr", ours), ("the other", theirs)):
            if cells:
                values = np.sort([c[figure] for c in cells])
                axis.plot(values, np.linspace(0, 1, len(values)), label=label, lw=1.2)
        axis.set_title(figure, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        if figure not in ("mean", "blockiness"):
            axis.set_xscale("log")
    axes[0].set_ylabel("share of the draws", fontsize=8)
    if theirs:
        axes[0].legend(fontsize=7)
    fig.suptitle(name, fontsize=10)
    fig.tight_layout()
    fig.savefig(path, dpi=90)
    plt.close(fig)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", help=f"a photo of at least {SIDE} pixels a side")
    parser.add_argument("--config", default="bsrgan", help="name or YAML file (default: bsrgan)")
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--against", help="a folder of low-resolution pictures by another program")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the report")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    mapping = config.load(config.find("degradation", arguments.config))
    shuffled = Shuffled(registry.parse_component("degradation")(mapping, arguments.config).without("camera"))
    pixels = images.to_float(images.read(arguments.photo).pixels)
    if min(pixels.shape[:2]) < SIDE:
        raise BlindSRError(f"{arguments.photo}: smaller than {SIDE} pixels a side; take a larger photo")
    top, left = ((n - SIDE) // 2 for n in pixels.shape[:2])
    ours = draw_many(shuffled, np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE]), arguments.draws)
    theirs = []
    if arguments.against:
        theirs = [figures(images.to_float(images.read(path).pixels)) for path in images.find([arguments.against])]
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = Path(arguments.config).stem
    plot(name, ours, theirs, arguments.out / f"{name}.png")
    print(f"| {name} | 10 % | median | 90 % |" + (" 10 % | median | 90 % | KS distance |" if theirs else ""))
    print("|---" * (8 if theirs else 4) + "|")
    for figure in ours[0]:
        cells = [np.percentile([c[figure] for c in made], (10, 50, 90)) for made in (ours, theirs) if made]
        row = [f"{v:.3g}" for part in cells for v in part]
        if theirs:
            row.append(f"{ks_2samp([c[figure] for c in ours], [c[figure] for c in theirs]).statistic:.3f}")
        print(f"| {figure} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    run(main)
