"""Measure methods by a protocol of the field."""

from __future__ import annotations

import argparse
from pathlib import Path

from blindsr.commands.arguments import count, device, sigma_255

DESCRIPTION = """\
Make a table of the field: degrade test photos exactly as a published protocol says, restore them by several
methods, score them, and print the means with the protocol beside them. NAME is one of

  usrnet_table1   12 kernels, classical degradation (68 BSD photos, RGB)
  usrnet_table2   bicubic degradation (Set5, Set14, BSD100, Urban100, Y channel)
  dan_setting1    eight isotropic Gaussians, bicubic decimation (Gaussian8)
  dan_setting2    DIV2KRK: given photos, each with its own kernel
  deblur          scale 1        large_kernels   67 and 71 pixels wide
  realsrset       real photos without truth (NIQE)
  float_blur      usrnet_table1 without rounding, scale 1 too
  unseen_kernels  blur inside and outside the family of training
  smoke           a quick look

or a YAML file of your own. Gives, in DIR:

  table.md, .csv, .json   means over photos, published numbers beside them, dB lost against the oracle
  cells.jsonl             a line for each photo, scale, kernel, noise level and method
  protocol.json           what was done, by which command
  pictures/, report.html  pictures of the first photos, and all of it as a page

Methods: bicubic, total_variation and oracle (the model) are told the true kernel or need none, wrong_kernel is
told the others, blind and refined are told nothing; published:FILE.pth is any other weights, told the true kernel, and
folder:DIR results of another program, files called like the folders in pictures/. What oracle gains over blind is
what not knowing the kernel costs.

The same command goes on where it was stopped. Under torchrun the photos are shared out among the processes."""

EXAMPLES = """\
examples:
  blindsr benchmark smoke --data data --limit 1
  blindsr benchmark usrnet_table1 --data data --method bicubic oracle blind published:usrnet_tiny.pth
  blindsr benchmark dan_setting1 --data data --set set5 set14 --jobs 4
  blindsr benchmark usrnet_table1 --data data --method folder:results/other --out benchmarks/other
  blindsr benchmark usrnet_table1 --data data --scale 2 4 --limit 10
  blindsr benchmark usrnet_table1 --data data --scale 3 --sigma 0 2.55
  blindsr benchmark usrnet_table1 --describe
  torchrun --nproc-per-node=4 -m blindsr benchmark usrnet_table1 --data data"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("protocol", metavar="NAME", help="a shipped protocol, or a YAML file")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="holds test/ and kernels/ (default: $BLINDSR_DATA, or data)"
    )
    parser.add_argument("--set", nargs="+", dest="sets", metavar="SET", help="only these sets of the protocol")
    parser.add_argument(
        "--scale", nargs="+", type=int, dest="scales", metavar="S", help="only these scales of the protocol"
    )
    parser.add_argument(
        "--sigma", nargs="+", type=sigma_255, dest="sigmas", metavar="SIGMA", help="only these noise levels of it (of 255)"
    )
    parser.add_argument(
        "--method",
        nargs="+",
        dest="methods",
        metavar="METHOD",
        help="NAME, NAME:PATH or '{name: NAME, option: …}' (default: those of the protocol)",
    )
    parser.add_argument(
        "--model", default="tiny", metavar="NAME|PATH", help="of oracle, wrong_kernel, blind and refined (default: tiny)"
    )
    parser.add_argument(
        "--metric", nargs="+", default=[], metavar="METRIC", help="beside the protocol's: niqe, or one of pyiqa (lpips)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder (default: benchmarks/NAME)")
    parser.add_argument("--limit", type=count, metavar="N", help="the first N photos of each set only")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--tables",
        action="store_true",
        help="restore nothing: make the tables and the page of the photos that are finished, while others go on",
    )
    which.add_argument(
        "--fresh",
        action="store_true",
        help="forget the cells of this command first, while you try changes of a method (a lasting one raises its version);"
        " not under torchrun",
    )
    parser.add_argument("--describe", action="store_true", help="print the protocol, and do nothing")
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--jobs", type=count, metavar="J", help="processes of one thread each (default: one for each core; 1 on a GPU)"
    )
    machine.add_argument("--device", type=device, default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    machine.add_argument(
        "--precision", choices=("fp32", "bf16"), default="fp32", help="of the networks (default: fp32)"
    )


def run(arguments: argparse.Namespace) -> int:
    import os
    import shlex
    import sys
    from dataclasses import replace

    from blindsr.commands.batch import check_folder
    from blindsr.evaluation.benchmark import Benchmark
    from blindsr.evaluation.order import Order, parse_method
    from blindsr.evaluation.protocol import load_protocol
    from blindsr.inference.machine import choose_device
    from blindsr.interfaces import BlindSRError
    from blindsr.processes import usable_cores

    name, protocol = load_protocol(arguments.protocol)
    if arguments.describe:
        print(f"{name}: {protocol.describe()}")
        return 0
    try:
        protocol = replace(protocol, metrics=tuple(dict.fromkeys((*protocol.metrics, *arguments.metric))))
    except ValueError as error:  # a protocol without truth
        raise BlindSRError(f"--metric {' '.join(arguments.metric)}: {error}") from None
    out = arguments.out or Path("benchmarks") / name
    check_folder(out)
    on_gpu = choose_device(arguments.device).type != "cpu"
    order = Order(
        name=name,
        protocol=protocol,
        data=arguments.data or Path(os.environ.get("BLINDSR_DATA", "data")),
        out=out,
        model=arguments.model,
        methods=tuple(parse_method(text) for text in arguments.methods or protocol.methods),
        limit=arguments.limit,
        sets=tuple(arguments.sets) if arguments.sets else None,
        scales=tuple(arguments.scales) if arguments.scales else None,
        sigmas_255=tuple(arguments.sigmas) if arguments.sigmas else None,
        device=arguments.device,
        precision=arguments.precision,
        command=shlex.join(["blindsr", *sys.argv[1:]]),
    )
    benchmark = Benchmark(order)
    if arguments.fresh:
        benchmark.forget()
    if not arguments.tables:
        restore(benchmark, arguments.jobs or (1 if on_gpu else usable_cores()))
    if benchmark.rank == 0:
        report(benchmark)
    return 0


def restore(benchmark, jobs: int) -> None:
    """Do what is left, under a bar."""
    import sys

    from tqdm import tqdm

    quiet = True if benchmark.rank else None
    total = len(benchmark.specs[benchmark.rank :: benchmark.world]) * len(benchmark.methods)
    left = sum(len(task.methods) for task in benchmark.tasks())
    if total > left and not quiet:
        print(f"{total - left} of {total} cells are finished already (--fresh does them anew)", file=sys.stderr)
    noted: set[str] = set()
    with tqdm(
        total=total, initial=total - left, unit="cell", disable=quiet, file=sys.stderr, dynamic_ncols=True
    ) as bar:

        def told(task, lines) -> None:
            bar.set_description(task.spec.name)
            bar.update(len(task.methods))
            for note in {line["note"] for line in lines if "note" in line} - noted:
                noted.add(note)
                tqdm.write(f"blindsr: {note}", file=sys.stderr)

        benchmark.run(jobs, told)
    if benchmark.rank == 0 and benchmark.world > 1:
        print("waiting for the cells of the other processes", file=sys.stderr)
        benchmark.wait_for_others()


def report(benchmark) -> None:
    """Tables of what is finished, to the folder and to the terminal, and the page."""
    from blindsr.evaluation.report import write_report
    from blindsr.evaluation.table import build
    from blindsr.evaluation.table_text import write_tables
    from blindsr.evaluation.trust import trust
    from blindsr.interfaces import BlindSRError

    order, about = benchmark.order, benchmark.protocol.describe()
    if any(method.needs_model for method in benchmark.methods):
        about += f" Model: {order.model}, {order.precision}."
    if order.limit:
        about += f" Of each set only the first photos (at most {order.limit}), while published numbers are of all."
    finished = benchmark.cells()
    cells = benchmark.complete(finished)
    if not cells:
        raise BlindSRError(f"{order.out}: no photo is finished yet; the same command without --tables goes on")
    if len(cells) < len(finished):
        about += f" Of the photos that are finished alone: {len(finished) - len(cells)} cells of others are left out."
    tables = build(benchmark.protocol, benchmark.kernels, cells)
    print(write_tables(order.out, order.name, about, tables, trust(cells)))
    write_report(order.out, benchmark.about(), tables, cells)
    print(f"tables, cells and pictures are in {order.out.resolve()}", flush=True)
