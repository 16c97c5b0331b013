"""What shape of prior suits a machine: weights, work and time of ResUNets of different channels, with and without fold.

    python scripts/bench_prior.py                                # on the CPU: tiny's prior, and folded ones
    python scripts/bench_prior.py 16,32,64,64 64,64,64/2 --cuda  # channels from fine to coarse, /fold

One pass over 320×480 pixels (with --cuda 1920×1080, bfloat16), candidates in turn, medians. The share is that of the
machine's own matrix product; where there is no native bfloat16, float32 is used.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from bench_restore import matrix_rate
from reference import conv_calls, conv_operations

from blindsr.inference import machine
from blindsr.restorers.resunet import ResUNet

CANDIDATES = ["16,32,64,64", "32,64,64/2", "48,64,64/2", "64,64,64/2", "64,96/2", "32,64,64,64/2"]


def prior(text: str) -> ResUNet:
    """``16,32,64,64`` or ``64,64,64/2``; with the channel of the doubt, as in ``tiny``."""
    channels, _, fold = text.partition("/")
    return ResUNet(5, 3, tuple(int(c) for c in channels.split(",")), fold=int(fold or 1)).eval()


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candidates", nargs="*", default=CANDIDATES, metavar="CHANNELS[/FOLD]")
    parser.add_argument("--cuda", action="store_true", help="on a GPU")
    parser.add_argument("--runs", type=int, default=7, help="rounds that are timed (7)")
    arguments = parser.parse_args()
    device = torch.device("cuda" if arguments.cuda else "cpu")
    low = machine.has_native_bf16(device)
    dtype = torch.bfloat16 if low else torch.float32
    height, width = (1080, 1920) if arguments.cuda else (320, 480)
    rate = matrix_rate(dtype, 8192 if arguments.cuda else 2048, device.type)
    priors = {text: prior(text) for text in arguments.candidates}
    work = {text: conv_operations(conv_calls(p, torch.rand(1, 5, 192, 192))) / 192**2 for text, p in priors.items()}
    x = torch.rand(1, 5, height, width).to(device, memory_format=torch.channels_last)
    times: dict[str, list[float]] = {text: [] for text in priors}
    for p in priors.values():
        p.to(device, memory_format=torch.channels_last)
    for _ in range(arguments.runs + 1):
        for text, p in priors.items():
            begun = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                p(x)
            if arguments.cuda:
                torch.cuda.synchronize()
            times[text].append(time.perf_counter() - begun)
    name = torch.cuda.get_device_name() if arguments.cuda else f"{torch.get_num_threads()} threads"
    print(f"{name}; {width}×{height}; matrix product {rate / 1e9:.0f} Gop/s in {str(dtype).removeprefix('torch.')}")
    print("| channels/fold | weights | operations per pixel | time | share of the matrix rate |\n|---|---|---|---|---|")
    for text, p in priors.items():
        seconds, weights = statistics.median(times[text][1:]), sum(w.numel() for w in p.parameters())
        share = work[text] * height * width / seconds / rate
        print(f"| {text} | {weights / 1e3:.0f} k | {work[text] / 1e3:.0f} k | {1000 * seconds:.1f} ms | {share:.0%} |")


if __name__ == "__main__":
    main()
