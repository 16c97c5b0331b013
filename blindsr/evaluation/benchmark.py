"""The runner of a benchmark: every cell (photo × scale × kernel × σ × method) once, however often it is stopped.

``OUT/cells.jsonl`` gets a line for each result as soon as it is there; a cell counts as finished when its line bears
the fingerprint of everything that it depends on: protocol, files, method, weights. Under torchrun every process
takes a share of the cases and writes ``cells.RANK.jsonl``; whoever reads takes all of these files.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import yaml

from blindsr import __version__, images, registry
from blindsr.alternating import AlternatingSR
from blindsr.atomic import whole_file
from blindsr.evaluation.cases import Case, CaseSpec, kernels_of, list_specs, make_case
from blindsr.evaluation.jsonl import read_lines
from blindsr.evaluation.methods.base import Method, Result, load_model, weights_fingerprint
from blindsr.evaluation.protocol import Protocol
from blindsr.evaluation.scores import as_uint8, check_metrics, score
from blindsr.inference.machine import choose_device
from blindsr.interfaces import BlindSRError

# What of a protocol moves no number of a cell: it may change between two runs.
BESIDE = (
    "description",
    "sets",
    "settings",
    "methods",
    "columns",
    "groups",
    "pictures",
    "pictured_kernels",
    "published",
)


@dataclass(frozen=True)
class Order:
    """What a benchmark is asked for. ``methods`` are parsed configurations; ``precision`` is fp32 or bf16 (of the
    networks); ``limit`` takes the first photos of each set, ``sets`` some of them, None all; ``command`` was typed."""

    name: str
    protocol: Protocol
    data: Path
    out: Path
    model: str
    methods: tuple[Any, ...]
    limit: int | None = None
    sets: tuple[str, ...] | None = None
    device: str | None = None
    precision: str = "fp32"
    command: str = ""


@dataclass(frozen=True)
class Task:
    """A case, and the methods to run on it with the fingerprints of their cells."""

    spec: CaseSpec
    methods: tuple[tuple[Any, str], ...]


def parse_method(text: str) -> Any:
    """The configuration of a method: a name, ``NAME:PATH`` for one with a path, or ``{name: …, option: …}``."""
    value: Any = text
    if text.startswith("{"):
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise BlindSRError(f"method {text}: not valid YAML; write it as '{{name: …, option: …}}'") from None
    elif ":" in text:
        name, _, path = text.partition(":")
        value = {"name": name, "path": path}
    return registry.parse_component("method")(value, f"method {text}")


class Benchmark:
    """Plans, runs, and remembers what was done. Making one checks all that can be checked before any work, and
    raises BlindSRError where the order cannot be met."""

    def __init__(self, order: Order):
        self.order, self.protocol = order, order.protocol
        self.rank, self.world = (
            int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1))
        )
        self.methods: list[Method] = [registry.build(config) for config in order.methods]
        labels = [method.label for method in self.methods]
        if double := {label for label in labels if labels.count(label) > 1}:
            raise BlindSRError(f"two methods are called {double.pop()!r}; name each once, or rename a file")
        check_metrics(order.protocol)
        if not order.data.is_dir():
            raise BlindSRError(f"{order.data}: no such folder; give the one that holds the photos as --data")
        self.specs = list_specs(order.protocol, order.data, order.limit, order.sets)
        model = load_model(order.model, "cpu") if any(m.needs_model for m in self.methods) else None
        for method in self.methods:
            if method.needs_kernel and not order.protocol.knows_kernel:
                raise BlindSRError(f"method {method.label}: protocol {order.name} knows no true kernel; leave it out")
            method.check(model if method.needs_model else None)
        self._check_out()

    # -- what is to be done ----------------------------------------------------------------------------------

    @cached_property
    def fingerprints(self) -> dict[tuple[str, str], str]:
        """(name of the case, label of the method) -> sixteen digits of all that the cell depends on."""
        order = self.order
        rules = {k: v for k, v in registry.as_mapping(self.protocol).items() if k not in BESIDE}
        methods = {}
        for method in self.methods:
            weights = weights_fingerprint(order.model) if method.needs_model else ""
            parts = [registry.as_mapping(method.config), method.fingerprint(), weights, order.precision]
            methods[method.label] = method.needs_others, parts
        digests: dict[Path | None, str] = {None: ""}
        found = {}
        for spec in self.specs:
            for path in (spec.hr, spec.lr, spec.kernel_file):
                if path not in digests:
                    digests[path] = hashlib.sha256(path.read_bytes()).hexdigest()
            files = [digests[path] for path in (spec.hr, spec.lr, spec.kernel_file)]
            kernels = [] if spec.kernel is None else [spec.kernel.array, spec.kernel.told]
            blurs = [None if k is None else hashlib.sha256(k.tobytes()).hexdigest() for k in kernels]
            others = [hashlib.sha256(k.array.tobytes()).hexdigest() for k in spec.others]
            for label, (needs_others, parts) in methods.items():
                extra = others if needs_others else []
                text = json.dumps([rules, spec.name, spec.set_name, files, blurs, extra, parts], sort_keys=True)
                found[spec.name, label] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return found

    def tasks(self) -> list[Task]:
        """The share of this process in what is not finished."""
        done = {(line["fingerprint"], line["method"]) for line in self.lines()}
        tasks = []
        for spec in self.specs[self.rank :: self.world]:
            wanted = [(m.config, self.fingerprints[spec.name, m.label], m.label) for m in self.methods]
            left = tuple((config, mark) for config, mark, label in wanted if (mark, label) not in done)
            tasks += [Task(spec, left)] if left else []
        return tasks

    def lines(self) -> list[dict[str, Any]]:
        """All lines in the folder, of whatever run."""
        return [line for path in sorted(self.order.out.glob("cells*.jsonl")) for line in read_lines(path)]

    def cells(self) -> list[dict[str, Any]]:
        """The finished cells of this order, in its order; rows such as ``blind, loop 1`` included."""
        place = {mark: i for i, mark in enumerate(self.fingerprints.values())}
        cells = {(line["fingerprint"], line["method"]): line for line in self.lines() if line["fingerprint"] in place}
        return sorted(cells.values(), key=lambda c: place[c["fingerprint"]])

    # -- doing it --------------------------------------------------------------------------------------------

    def run(self, jobs: int, told: Callable[[Task, list[dict[str, Any]]], None]) -> None:
        """Do what is left, here (``jobs`` 1) or in so many processes, of one thread each; ``told`` hears of every task.

        Ctrl-C and errors end it; lines of finished tasks are kept."""
        self.order.out.mkdir(parents=True, exist_ok=True)
        if self.rank == 0:
            self._write_protocol()
        name = f"cells.{self.rank}.jsonl" if self.world > 1 else "cells.jsonl"
        tasks = self.tasks()
        with open(self.order.out / name, "a+", encoding="utf-8") as file:
            file.seek(0)
            if not ("\n" + file.read()).endswith("\n"):
                file.write("\n")  # a crash cut the last line off
            for task, lines in self._results(tasks, min(jobs, len(tasks))):
                file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
                file.flush()
                told(task, lines)
        if self.world > 1:
            self._wait_for_all()

    def _results(self, tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, list[dict[str, Any]]]]:
        if jobs <= 1:
            worker = Worker(self.order)
            with one_thread():
                for task in tasks:
                    yield task, worker(task)
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(self.order,)) as pool:
            running = {pool.submit(_work, task): task for task in tasks}
            try:
                for future in as_completed(running):
                    yield running[future], future.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _wait_for_all(self) -> None:
        """Until every process of torchrun is here, so that the first one finds all cells."""
        from torch import distributed

        distributed.init_process_group("gloo", timeout=timedelta(days=7))
        distributed.barrier()
        distributed.destroy_process_group()

    # -- what is remembered ------------------------------------------------------------------------------------

    def _check_out(self) -> None:
        path = self.order.out / "protocol.json"
        try:
            name = json.loads(path.read_text(encoding="utf-8"))["name"] if path.exists() else self.order.name
        except (ValueError, KeyError, TypeError):
            raise BlindSRError(f"{path}: not readable; remove it, or choose another --out") from None
        if name != self.order.name:
            raise BlindSRError(f"{self.order.out}: holds benchmark {name}; choose another --out for {self.order.name}")

    def _write_protocol(self) -> None:
        with whole_file(self.order.out / "protocol.json") as part:
            part.write_text(json.dumps(self.about(), ensure_ascii=False, indent=1), encoding="utf-8")

    def about(self) -> dict[str, Any]:
        """What ``protocol.json`` holds: enough to read the cells by, and to make the tables again."""
        order, protocol = self.order, self.protocol
        kernels = {}
        for setting in () if protocol.given else protocol.settings:
            kernels |= {k.name: k.array.tolist() for k in kernels_of(setting, order.data)}
        return {
            "name": order.name,
            "description": protocol.describe(),
            "protocol": registry.as_mapping(protocol),
            "command": order.command,
            "date": date.today().isoformat(),
            "version": __version__,
            "model": order.model if any(m.needs_model for m in self.methods) else None,
            "methods": [m.label for m in self.methods],
            "metrics": list(protocol.metrics),
            "scales": [s.scale for s in protocol.settings],
            "sigmas_255": sorted({v for s in protocol.settings for v in s.sigma_255}),
            "photos": len({s.image for s in self.specs}),
            "limit": order.limit,
            "sets": list(order.sets) if order.sets else [s.name for s in protocol.sets],
            "kernels": kernels,
            "groups": {g.name: list(g.kernels) for g in protocol.groups},
            "published": self._published(kernels),
        }

    def _published(self, kernels: Mapping[str, Any]) -> list[dict[str, Any]]:
        """A line for each published row and metric, its values under the names of their columns."""
        columns = list(kernels) if self.protocol.columns == "kernel" else [s.name for s in self.protocol.sets]
        return [
            {
                "method": row.name,
                "scale": row.scale,
                "sigma_255": row.sigma_255,
                "metric": metric,
                "values": dict(zip(columns, values)),
            }
            for row in self.protocol.published
            for metric, values in (("psnr", row.psnr), ("ssim", row.ssim))
            if values
        ]


# -- one process ---------------------------------------------------------------------------------------------


class Worker:
    """Does tasks: makes the case, runs the methods, scores, keeps pictures; answers the lines."""

    def __init__(self, order: Order):
        self.order = order
        device = order.device
        if device is None and "LOCAL_RANK" in os.environ and torch.cuda.is_available():
            device = f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
        self.device = choose_device(device)

    @cached_property
    def model(self) -> AlternatingSR:
        return load_model(self.order.model, str(self.device))

    @torch.inference_mode()
    def __call__(self, task: Task) -> list[dict[str, Any]]:
        spec, protocol = task.spec, self.order.protocol
        case = make_case(spec, protocol)
        on_device, lines = case.to(self.device), []
        if spec.pictured:
            self._keep_case(case)
        for config, mark in task.methods:
            method = registry.build(config)
            model = self.model if method.needs_model else None
            started = time.perf_counter()
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.order.precision == "bf16"):
                results = method.restore(on_device, model)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds = time.perf_counter() - started
            # The answer comes last: a task that was cut off between two lines is then not taken for finished.
            for label in sorted({r.label for r in results}, key=lambda label: (label == "", label)):
                own = [r for r in results if r.label == label]
                name = f"{method.label}, {label}" if label else method.label
                figures = [score(case, r, protocol) for r in own]
                metrics = {k: round(fmean(f[k] for f in figures), 5) for k in figures[0]}
                lines.append(self._line(case, name, metrics, seconds, mark))
                if spec.pictured:
                    self._keep_result(spec, name, own[0])
        return lines

    @staticmethod
    def _line(case: Case, name: str, metrics: dict[str, float], seconds: float, mark: str) -> dict[str, Any]:
        spec = case.spec
        line = {"image": spec.image, "scale": spec.scale, "kernel": spec.kernel_name, "sigma_255": spec.sigma_255}
        line |= {"method": name, "metrics": metrics, "seconds": round(seconds, 3), "set": spec.set_name}
        return line | {"fingerprint": mark} | ({"note": case.note} if case.note else {})

    def _keep_case(self, case: Case) -> None:
        self._keep(case.spec, "lr", as_uint8(case.y))
        if case.x is not None:
            self._keep(case.spec, "truth", as_uint8(case.x))
        if case.k is not None:
            self._keep(case.spec, "kernel_true", kernel_uint8(case.k[0, 0].numpy()))

    def _keep_result(self, spec: CaseSpec, name: str, result: Result) -> None:
        self._keep(spec, name, as_uint8(result.x))
        if result.kernel is not None:
            self._keep(spec, f"kernel_{name}", kernel_uint8(result.kernel[0, 0].float().cpu().numpy()))

    def _keep(self, spec: CaseSpec, name: str, pixels: np.ndarray) -> None:
        file = re.sub(r"[^\w.-]+", "_", name) + ".png"
        images.write(self.order.out / "pictures" / spec.name / file, images.Photo(pixels), overwrite=True)


def kernel_uint8(kernel: np.ndarray) -> np.ndarray:
    """A kernel (h, w) as gray pixels (h, w, 1): white is its largest tap, black is nothing or negative."""
    return np.rint(255 * np.clip(kernel / max(float(kernel.max()), 1e-12), 0, 1)).astype(np.uint8)[..., None]


_worker: Worker | None = None


def _start_worker(order: Order) -> None:
    """Processes share the cores already; and Ctrl-C is for the parent to answer."""
    import signal

    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _worker = Worker(order)


def _work(task: Task) -> list[dict[str, Any]]:
    assert _worker is not None
    return _worker(task)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch in a single thread, as in the processes: the order of additions, and so the last digit, stays the same."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
