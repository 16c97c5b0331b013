"""How fast photos are restored, beside USRNet as published, and what tiles cost and change.

    python scripts/bench_restore.py                              # 512x512 out, x4: tiny and full, against the reference
    python scripts/bench_restore.py --flat 0.25 2 12 50          # seconds per megapixel of results of these megapixels
    python scripts/bench_restore.py --tiles photo.png            # a photo in tiles against the photo as a whole
    python scripts/bench_restore.py --cuda                       # 1920x1080 x2 on a GPU: time, peak memory

The reference is our own plain USRNet in float32: the data step by the published formula, tensors laid out as PyTorch
does by default. Both run in turn, in one process; medians. The full-size model has untrained weights; they cost as much.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from errors import run
from reference import PublishedDataStep, conv_calls, conv_operations, conv_share

from blindsr import checkpoints, images
from blindsr.alternating import AlternatingConfig, AlternatingSR
from blindsr.inference import machine
from blindsr.inference.facade import BlindSR
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import blur
from blindsr.restorers import usrnet
from blindsr.restorers.usrnet import USRNet, USRNetConfig

SCALE, SIDE = 4, 512
OURS = usrnet.DataStep


class Timed:
    """A data step that adds up the time it takes."""

    seconds = 0.0

    def __init__(self, *arguments):
        begun = time.perf_counter()
        self.step = OURS(*arguments)
        Timed.seconds += time.perf_counter() - begun

    def __call__(self, *arguments):
        begun = time.perf_counter()
        z = self.step(*arguments)
        Timed.seconds += time.perf_counter() - begun
        return z


def matrix_rate(dtype: torch.dtype, n: int = 2048, device: str = "cpu") -> float:
    """Operations per second of the device's own matrix product."""
    a, b = (torch.randn(n, n).to(device, dtype) for _ in range(2))
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        a @ b
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return 2 * n**3 / statistics.median(times[1:])


def once(restorer: USRNet, step, inputs: tuple, autocast: bool) -> float:
    usrnet.DataStep = step
    begun = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        restorer(*inputs)
    usrnet.DataStep = OURS
    return time.perf_counter() - begun


@torch.inference_mode()
def against_reference(name: str, config: USRNetConfig, runs: int) -> None:
    """Both in turn, and the machine's own matrix products between them: what they reach drifts, on a shared machine."""
    plain, ours = USRNet(config).eval(), USRNet(config).eval()
    ours.to(memory_format=torch.channels_last)
    low = machine.has_native_bf16(torch.device("cpu"))
    y, k = torch.rand(1, 3, SIDE // SCALE, SIDE // SCALE), torch.full((1, 1, 25, 25), 1 / 625)
    inputs = (y, k, torch.zeros(1), SCALE)
    share = conv_share(plain.prior, (1, SIDE, SIDE), backward=False)
    operations = conv_operations(conv_calls(plain.prior, torch.rand(1, plain.prior.in_channels, SIDE, SIDE)))
    times: tuple[list[float], list[float]] = ([], [])
    rates: dict[torch.dtype, list[float]] = {torch.bfloat16: [], torch.float32: []}
    parts = []
    for _ in range(runs + 1):
        times[0].append(once(plain, PublishedDataStep, inputs, False))
        for dtype, measured in rates.items():
            measured.append(matrix_rate(dtype))
        times[1].append(once(ours, OURS, inputs, low))
        parts.append(_part(ours, inputs, low))
    reference, fast = (statistics.median(t[1:]) for t in times)
    ratio = statistics.median(a / b for a, b in zip(times[0][1:], times[1][1:]))
    speeds = [config.n_iterations * operations / seconds for seconds in times[1]]
    shares = []
    for dtype, measured in rates.items():
        share_of_rate = statistics.median(a / b for a, b in zip(speeds[1:], measured[1:]))
        rate = statistics.median(measured[1:]) / 1e9
        shares.append(f"{share_of_rate:.0%} of the {str(dtype).removeprefix('torch.')} matrix rate, {rate:.0f} Gop/s")
    print(
        f"{name:5}  reference {1000 * reference:7.0f} ms (convolutions alone: {share:.0%} of its prior), "
        f"ours {1000 * fast:7.0f} ms, {ratio:.1f} times faster; data steps {statistics.median(parts[1:]):.0%}; "
        f"{'; '.join(shares)}",
        flush=True,
    )


def _part(restorer: USRNet, inputs: tuple, low: bool) -> float:
    """The data steps' share of the time."""
    Timed.seconds = 0.0
    whole = once(restorer, Timed, inputs, low)
    return Timed.seconds / whole


def flat(model: BlindSR, megapixels: list[float]) -> None:
    """Cost of a pixel of the result, from small photos to large ones."""
    for size in megapixels:
        side = round((size * 1e6) ** 0.5 / SCALE)
        photo = images.Photo(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))
        begun = time.perf_counter()
        told = model.restore(photo, SCALE, "gaussian:1.6", 0.01, into=lambda band: None)
        seconds = time.perf_counter() - begun
        print(f"{size:7.2f} MP: {seconds / size:6.2f} s per megapixel, {told.tiles} tiles", flush=True)


def tiles(model: BlindSR, path: Path, sides: list[int]) -> None:
    """Tiles against the whole, inside: the outer 16 pixels are those of another padding. The photo is first degraded as the
    model is then told."""
    x = torch.from_numpy(images.to_float(images.read(path).pixels)).permute(2, 0, 1)[None]
    blurred = blur(x, torch.from_numpy(gaussian(15, 1.6)).float()[None, None], "reflect")[0].permute(1, 2, 0).numpy()
    rng = np.random.default_rng(0)
    for scale in (1, 2, 3, 4):
        y = blurred[::scale, ::scale]
        photo = images.Photo(images.from_float((y + 0.01 * rng.standard_normal(y.shape)).astype(np.float32), np.uint8))
        whole = model.restore(photo, scale, "gaussian:1.6", 0.01, "corner")
        for side in sides:
            cut = model.restore(photo, scale, "gaussian:1.6", 0.01, "corner", tile=side)
            d = np.abs(whole.image.astype(int) - cut.image)[16:-16, 16:-16]
            psnr = 10 * np.log10(255**2 / max(np.square(d).mean(), 1e-12))
            print(
                f"x{scale}, tiles of {side}: {cut.tiles} tiles, largest difference {d.max()} of 255, {psnr:.1f} dB, "
                f"{cut.seconds / whole.seconds:.2f} times the time",
                flush=True,
            )


def on_cuda(name: str, model: AlternatingSR, runs: int, rate: float) -> None:
    """A photo of 1920×1080 at ×2, from 8-bit pixels to 8-bit pixels, kernel and noise level given."""
    photo = images.Photo(np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8))
    fast = BlindSR(model, name, "cuda")
    torch.cuda.reset_peak_memory_stats()
    seconds, network = [], []
    for _ in range(runs + 2):
        begun = time.perf_counter()
        told = fast.restore(photo, 2, "gaussian:1.6", 0.01)
        seconds.append(time.perf_counter() - begun)
    y, k = torch.rand(1, 3, 1080, 1920, device="cuda"), torch.full((1, 1, 25, 25), 1 / 625, device="cuda")
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
        for _ in range(runs + 2):
            torch.cuda.synchronize()
            begun = time.perf_counter()
            model.restorer(y, k, torch.zeros(1, device="cuda"), 2)
            torch.cuda.synchronize()
            network.append(time.perf_counter() - begun)
    small = torch.rand(1, model.restorer.prior.in_channels, 216, 384)
    prior = copy.deepcopy(model.restorer.prior).cpu().float()
    operations = model.restorer.n_iterations * conv_operations(conv_calls(prior, small)) * 100
    whole, inside = (statistics.median(t[2:]) for t in (seconds, network))
    print(
        f"{name:5}  {1000 * whole:6.0f} ms a photo ({told.tiles} tiles), of which the restorer {1000 * inside:.0f} ms; "
        f"{operations / inside / rate:.1%} of the bfloat16 matrix rate of {rate / 1e12:.0f} Top/s; "
        f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="pairs that are timed (5)")
    parser.add_argument("--models", nargs="+", choices=["tiny", "full"], default=["tiny", "full"])
    parser.add_argument("--flat", type=float, nargs="+", metavar="MP", help="megapixels of results to compare")
    parser.add_argument("--tiles", type=Path, metavar="PHOTO", help="a photo to cut into tiles")
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128], help="sides of the tiles (64 128)")
    parser.add_argument("--cuda", action="store_true", help="a photo on a GPU")
    arguments = parser.parse_args()
    if arguments.cuda:
        rate = matrix_rate(torch.bfloat16, 8192, "cuda")
        print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
        on_cuda("tiny", checkpoints.load("tiny").model, arguments.runs, rate)
        on_cuda("full", AlternatingSR(AlternatingConfig(USRNetConfig())), arguments.runs, rate)
        return
    if arguments.flat or arguments.tiles:
        model = BlindSR.from_pretrained("tiny")
        if arguments.flat:
            flat(model, arguments.flat)
        if arguments.tiles:
            tiles(model, arguments.tiles, arguments.sides)
        return
    machine.keep_freed_memory(torch.device("cpu"))  # as when photos are restored; the reference gains from it too
    print(f"{torch.get_num_threads()} threads; {SIDE}×{SIDE} out, ×{SCALE}")
    tiny = checkpoints.load("tiny").model.config.restorer
    if "tiny" in arguments.models:
        against_reference("tiny", tiny, arguments.runs)
    if "full" in arguments.models:
        against_reference("full", USRNetConfig(), max(arguments.runs // 2, 2))


if __name__ == "__main__":
    run(main)
