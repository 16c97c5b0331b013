"""What blind costs beside non-blind, without and with refining: medians of alternating runs in one process.

    python scripts/bench_blind.py --model tiny --scale 4 --size 128 --runs 9

`--size` is the side of the low-resolution photo. All use the same restorer, precision and threads.
"""

import argparse
import statistics
import time

import torch

from blindsr import checkpoints
from blindsr.inference.boundary import pad
from blindsr.inference.refinement import pays, refine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    arguments = parser.parse_args()
    model = checkpoints.load(arguments.model).model.eval()
    model.restorer.to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(1, 3, arguments.size, arguments.size, generator=generator)
    sigma = torch.full((1,), 0.01)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bf16"):
        kernel = model(y, arguments.scale).kernel
        works = {"non-blind": lambda: model(y, arguments.scale, kernel, sigma), "blind": lambda: model(y, arguments.scale)}
        if pays(model):
            works["refined"] = lambda: refine(model, pad(y, arguments.scale, None), arguments.scale, model(y, arguments.scale))
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(arguments.runs + 1):
            for name, work in works.items():
                begun = time.perf_counter()
                work()
                times[name].append(time.perf_counter() - begun)
    size, threads = arguments.size, torch.get_num_threads()
    print(f"×{arguments.scale}, {size}×{size} in, {threads} threads, {arguments.precision}")
    for name, seconds in times.items():
        ratios = [a / b for a, b in zip(seconds[1:], times["non-blind"][1:])]
        spread = f"ratio {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})"
        print(f"{name:10} {1000 * statistics.median(seconds[1:]):8.1f} ms, {spread}")


if __name__ == "__main__":
    main()
