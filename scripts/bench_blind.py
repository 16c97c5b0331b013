"""What blind costs beside non-blind, without and with refining: medians of alternating runs in one process.

    python scripts/bench_blind.py photo.png --kernel gaussian:1.6 --scale 4 --size 128 --runs 9

The photo is sharp; its middle is blurred by the kernel, circularly, decimated to `--size` pixels a side and rounded to 8
bits: how long refining takes depends on the blur that is found. All use the same restorer, precision and threads.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from errors import run

from blindsr import checkpoints, images
from blindsr.inference.boundary import pad
from blindsr.inference.machine import keep_freed_memory
from blindsr.inference.refinement import pays, refine
from blindsr.kernels.files import parse_kernel
from blindsr.ops.filtering import blur
from blindsr.ops.resize import decimate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--kernel", default="gaussian:1.6", help="as in restore (default: gaussian:1.6)")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    arguments = parser.parse_args()
    keep_freed_memory(torch.device("cpu"))
    model = checkpoints.load(arguments.model).model.eval()
    model.restorer.to(memory_format=torch.channels_last)
    scale, side = arguments.scale, arguments.scale * arguments.size
    pixels = images.to_float(images.read(arguments.photo).pixels)
    pixels = pixels.repeat(3 // pixels.shape[2], axis=2)  # of a gray one
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    if min(top, left) < 0:
        parser.error(f"{arguments.photo} has no {side} pixels a side: lower --size or --scale")
    x = torch.from_numpy(pixels[top : top + side, left : left + side]).permute(2, 0, 1)[None]
    true = torch.from_numpy(parse_kernel(arguments.kernel, scale)).float()[None, None]
    y = (decimate(blur(x, true), scale).clamp(0, 1) * 255).round() / 255
    sigma = torch.full((1,), images.rounding_noise(np.uint8))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bf16"):
        works = {"non-blind": lambda: model(y, scale, true, sigma), "blind": lambda: model(y, scale)}
        if pays(model):
            works["refined"] = lambda: refine(model, pad(y, scale, None), scale, model(y, scale))
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(arguments.runs + 1):
            for name, work in works.items():
                begun = time.perf_counter()
                work()
                times[name].append(time.perf_counter() - begun)
    size, threads = arguments.size, torch.get_num_threads()
    print(f"{arguments.kernel}, ×{scale}, {size}×{size} in, {threads} threads, {arguments.precision}")
    for name, seconds in times.items():
        ratios = [a / b for a, b in zip(seconds[1:], times["non-blind"][1:])]
        spread = f"ratio {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})"
        print(f"{name:10} {1000 * statistics.median(seconds[1:]):8.1f} ms, {spread}")


if __name__ == "__main__":
    run(main)
