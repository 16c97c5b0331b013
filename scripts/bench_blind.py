"""What blind costs beside non-blind: medians of alternating runs in one process.

    python scripts/bench_blind.py --model tiny --scale 4 --size 128 --runs 9

`--size` is the side of the low-resolution photo. Both sides use the same restorer, precision and threads.
"""

import argparse
import statistics
import time

import torch

from blindsr import checkpoints


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
        blind, given = [], []
        for _ in range(arguments.runs + 1):
            for times, options in ((blind, ()), (given, (kernel, sigma))):
                begun = time.perf_counter()
                model(y, arguments.scale, *options)
                times.append(time.perf_counter() - begun)
    ratios = [b / g for b, g in zip(blind[1:], given[1:])]
    size, threads = arguments.size, torch.get_num_threads()
    print(f"×{arguments.scale}, {size}×{size} in, {threads} threads, {arguments.precision}")
    print(f"blind      {1000 * statistics.median(blind[1:]):8.1f} ms")
    print(f"non-blind  {1000 * statistics.median(given[1:]):8.1f} ms")
    print(f"ratio      {statistics.median(ratios):8.2f}   (min {min(ratios):.2f}, max {max(ratios):.2f})")


if __name__ == "__main__":
    main()
