"""Makes the picture of the README, from sample photos and shipped weights alone.

    python scripts/readme_picture.py docs/restored.jpg

Above, a photo enlarged four times by `tiny-real`. Below, a photo that was put out of focus, a disk of 2.5 pixels and whole
levels of 8 bits, and cut to what the blur left whole; `tiny`, told nothing, restores it at its size. That row is shown three
times as large as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from errors import run
from PIL import Image

from blindsr import images
from blindsr.commands.pictures import Middle, before_and_after
from blindsr.inference.facade import BlindSR
from blindsr.kernels.defocus import disk
from blindsr.ops.filtering import blur

SAMPLES = Path(__file__).resolve().parents[1] / "docs" / "samples"
SIZE, RADIUS = 25, 2.5  # pixels: side of the kernel, and radius of the disk
WIDTH = 1000


def row(before: np.ndarray, weights: str, scale: int, shown: int = 1) -> Image.Image:
    """``before`` (h, w, 3) uint8, restored, and the kernel; photos ``shown`` so many times as large as they are."""
    restored = BlindSR.from_pretrained(weights, precision="fp32").restore(before, scale)
    middle = Middle(enlarged(before, shown), scale)
    middle.put(enlarged(restored.image, shown))
    return before_and_after(middle, restored.kernel, restored.grid, restored.sigma)


def enlarged(pixels: np.ndarray, times: int) -> np.ndarray:
    picture = Image.fromarray(pixels)
    return np.array(picture.resize((picture.width * times, picture.height * times), Image.Resampling.BICUBIC))


def out_of_focus(sharp: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(images.to_float(sharp)).permute(2, 0, 1)[None]
    blurred = blur(x, torch.from_numpy(disk(SIZE, RADIUS)).float()[None, None])
    r = SIZE // 2
    return images.from_float(blurred[0, :, r:-r, r:-r].permute(1, 2, 0).numpy(), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the picture to write, .jpg")
    arguments = parser.parse_args()
    kitten, colosseum = (images.read(SAMPLES / name).pixels for name in ("kitten.png", "colosseum.jpg"))
    rows = [row(kitten, "tiny-real", 4), row(out_of_focus(colosseum), "tiny", 1, shown=3)]
    rows = [r.resize((WIDTH, round(r.height * WIDTH / r.width)), Image.Resampling.LANCZOS) for r in rows]
    images.write(arguments.out, images.Photo(np.concatenate([np.array(r) for r in rows])), overwrite=True)


if __name__ == "__main__":
    run(main)
