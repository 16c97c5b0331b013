"""How long one shuffled degradation takes, beside a yardstick measured in the same run, and where the time goes.

    python scripts/bench_degradation.py photo.png

One thread; a 320x320 input, x4, a low-resolution patch of 72x72, without camera noise, as published. The yardstick is
scipy.ndimage.convolve of a 320x320x3 float32 array with a 25x25x1 kernel, mode 'mirror'.
"""

import argparse
import statistics
import time
from collections import defaultdict

import cv2
import numpy as np
from errors import run
from scipy import ndimage

from blindsr import config, images, registry
from blindsr.degradation.operation import Pair
from blindsr.degradation.shuffled import Shuffled
from blindsr.interfaces import BlindSRError

SIDE, SCALE, PATCH = 320, 4, 72


def seconds(work, *arguments) -> float:
    begun = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begun


def middle(path: str) -> np.ndarray:
    pixels = images.to_float(images.read(path).pixels)
    if min(pixels.shape[:2]) < SIDE:
        raise BlindSRError(f"{path}: needs at least {SIDE} pixels a side")
    top, left = ((n - SIDE) // 2 for n in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE].repeat(3 // pixels.shape[2], axis=2))


def by_operation(shuffled: Shuffled, hr: np.ndarray, draws: int) -> dict[str, float]:
    """Mean milliseconds of each operation per degradation."""
    spent: dict[str, float] = defaultdict(float)
    for seed in range(draws):
        pair = Pair(hr, hr, (SIDE // SCALE, SIDE // SCALE))
        for step in shuffled.draw(SCALE, np.random.default_rng(seed)):
            drawn = dict(step)
            operation = registry.default("operation", drawn.pop("op"))
            begun = time.perf_counter()
            pair = operation.apply(pair, drawn)
            spent[step["op"]] += time.perf_counter() - begun
    return {name: 1e3 * s / draws for name, s in sorted(spent.items(), key=lambda item: -item[1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", help=f"a photo of at least {SIDE} pixels a side")
    parser.add_argument("--config", nargs="+", default=["bsrgan", "bsrgan_plus"], help="names or YAML files")
    parser.add_argument("--draws", type=int, default=200)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    hr = middle(arguments.photo)
    kernel = np.full((25, 25, 1), 1 / 625, np.float32)
    for name in arguments.config:
        mapping = config.load(config.find("degradation", name))
        shuffled = Shuffled(registry.parse_component("degradation")(mapping, name).without("camera"))
        yardstick, ours = [], []
        for seed in range(arguments.draws):  # in turn, so that both see the same machine
            if seed % 10 == 0:
                yardstick.append(seconds(ndimage.convolve, hr, kernel, None, "mirror"))
            ours.append(seconds(shuffled, hr, SCALE, np.random.default_rng(seed), PATCH))
        a, b = (1e3 * statistics.median(t) for t in (ours, yardstick))
        print(f"{name}: {a:.2f} ms, the yardstick {b:.1f} ms: {100 * a / b:.1f} % (medians of {arguments.draws} draws)")
        for operation, spent in by_operation(shuffled, hr, arguments.draws).items():
            print(f"    {operation:15} {spent:6.2f} ms")


if __name__ == "__main__":
    run(main)
