"""A benchmark: every cell (photo × scale × kernel × σ × method) once, however often it is stopped.

``OUT/cells.jsonl`` gets a line for each result as soon as it is there; a cell counts as finished when its line bears
the fingerprint of everything that it depends on: protocol, files, method, weights. Under torchrun every process
takes a share of the cases and writes ``cells.RANK.jsonl``; whoever reads takes all of these files. The work itself is
done in :mod:`blindsr.evaluation.worker`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from blindsr import __version__, registry
from blindsr.alternating import AlternatingSR
from blindsr.atomic import append_line, json_bytes, read_lines, write_whole
from blindsr.evaluation.cases import CaseSpec, case_name
from blindsr.evaluation.listing import list_specs
from blindsr.evaluation.methods.base import Method, load_model, weights_fingerprint
from blindsr.evaluation.order import Order
from blindsr.evaluation.scores import check_metrics
from blindsr.evaluation.worker import Task, file_name, run_tasks
from blindsr.interfaces import SCALES, BlindSRError
from blindsr.processes import rank_and_world

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

TAKEN = {"lr", "truth", "true", "kernel_true"}  # names in pictures/


def _digest_of_file(path: Path | None) -> str:
    return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def _digest_of_taps(taps: np.ndarray | None) -> str:
    return "" if taps is None else hashlib.sha256(taps.tobytes()).hexdigest()


class Benchmark:
    """Plans, runs, and remembers what was done. Making one checks all that can be checked before any work, and
    raises BlindSRError where the order cannot be met."""

    def __init__(self, order: Order):
        self.order, self.protocol = order, order.protocol
        self.rank, self.world = rank_and_world()
        self.methods: list[Method] = [registry.build(config) for config in order.methods]
        labels = {method: file_name(method.label) for method in self.methods}  # they name pictures too
        for method, label in labels.items():
            if label in TAKEN or list(labels.values()).count(label) > 1:
                which = "pictures of ours are" if label in TAKEN else "two methods are"
                cure = "name each method once, or rename its file or folder"
                raise BlindSRError(f"{which} called {method.label!r}; {cure}")
        check_metrics(order.protocol)
        if not order.data.is_dir():
            raise BlindSRError(f"{order.data}: no such folder; give the one that holds the photos as --data")
        self.specs = list_specs(order.protocol, order.data, order.limit, order.sets, order.scales, order.sigmas_255)
        model = load_model(order.model, "cpu") if any(m.needs_model for m in self.methods) else None
        for method in self.methods:
            if method.needs_kernel and not order.protocol.knows_kernel:
                raise BlindSRError(f"method {method.label}: protocol {order.name} knows no true kernel; leave it out")
            if method.needs_others and (alone := next((s for s in self.specs if not s.others), None)):
                kernels = f"the kernels of {order.name} at ×{alone.scale}"
                raise BlindSRError(f"method {method.label}: there is no other one among {kernels}; leave it out")
            method.check(model if method.needs_model else None)
            self._check_scales(method, method.runs(model))
        self._check_out()

    def _check_scales(self, method: Method, model: AlternatingSR | None) -> None:
        own = SCALES if model is None else model.restorer.scales
        if other := sorted({spec.scale for spec in self.specs} - set(own)):
            only = " and ".join(f"×{scale}" for scale in own)
            cure = f"choose --scale {' '.join(map(str, own))}, or leave the method out"
            raise BlindSRError(f"method {method.label}: its model serves {only} only, not ×{other[0]}; {cure}")

    # -- what is to be done ----------------------------------------------------------------------------------

    @cached_property
    def fingerprints(self) -> dict[tuple[str, str], str]:
        """(name of the case, label of the method) -> sixteen digits of all that the cell depends on."""
        rules = {k: v for k, v in registry.as_mapping(self.protocol).items() if k not in BESIDE}
        methods = {}
        for method in self.methods:
            weights = weights_fingerprint(self.order.model) if method.needs_model else ""
            methods[method] = [method.version, method.options(), method.fingerprint(), weights, self.order.precision]
        of_file = cache(_digest_of_file)
        found = {}
        for spec in self.specs:
            made = [rules, spec.name, spec.set_name, *map(of_file, (spec.hr, spec.lr, spec.kernel_file))]
            made += [] if spec.kernel is None else [_digest_of_taps(spec.kernel.array), _digest_of_taps(spec.kernel.told)]
            others = [_digest_of_taps(other.array) for other in spec.others]
            for method, parts in methods.items():
                text = json.dumps([made, others if method.needs_others else [], parts], sort_keys=True)
                found[spec.name, method.label] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return found

    def tasks(self) -> list[Task]:
        """The share of this process in what is not finished."""
        return self._tasks(self.specs[self.rank :: self.world])

    def _tasks(self, specs: Sequence[CaseSpec]) -> list[Task]:
        finished, pictured = self._finished()
        tasks = (Task(spec, self._left(spec, pictured if spec.pictured else finished)) for spec in specs)
        return [task for task in tasks if task.methods]

    def _left(self, spec: CaseSpec, done: set[tuple[str, str]]) -> tuple[tuple[Any, str], ...]:
        """Methods, as configurations with their fingerprints, of which a case has no line in ``done``."""
        wanted = [(m.config, self.fingerprints[spec.name, m.label], m.label) for m in self.methods]
        return tuple((config, mark) for config, mark, label in wanted if (mark, label) not in done)

    def _finished(self) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """(fingerprint, method) of every line in the folder, and of the lines whose pictures still lie there: a later
        line of the same case and row, made by other weights or options, has put its own in their place, or they were
        removed."""
        finished, last = set(), {}
        for line in self._lines():
            case = case_name(line["image"], line["scale"], line["kernel"], line["sigma_255"])
            cell = line["fingerprint"], line["method"]
            finished.add(cell)
            last[case, line["method"]] = cell
        pictures, wanted = self.order.out / "pictures", {spec.name for spec in self.specs if spec.pictured}
        there = (
            cell
            for (case, row), cell in last.items()
            if case in wanted and (pictures / case / f"{file_name(row)}.png").exists()
        )
        return finished, set(there)

    def _lines(self) -> list[dict[str, Any]]:
        """Those of all processes, in the order of their making: where two tell of one cell, the later one counts."""
        lines = [line for path in self._files() for line in read_lines(path)]
        return sorted(lines, key=lambda line: line.get("time", 0))

    def _files(self) -> list[Path]:
        return sorted(self.order.out.glob("cells*.jsonl"))

    def forget(self) -> None:
        """Take out of the folder what it knows of the cells of this order, so that they are done anew. Raises BlindSRError
        under torchrun, where others may be writing already."""
        if self.world > 1:
            raise BlindSRError("--fresh is for one process (with --jobs); under torchrun choose another --out")
        own = set(self.fingerprints.values())
        for path in self._files():
            kept = [line for line in read_lines(path) if line["fingerprint"] not in own]
            write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept).encode())

    def cells(self) -> list[dict[str, Any]]:
        """The finished cells of this order, in its order; rows such as ``blind, loop 1`` included."""
        place = {mark: i for i, mark in enumerate(self.fingerprints.values())}
        rows = [method.label for method in self.methods]  # a folder of results that was renamed keeps its fingerprint
        parts = tuple(f"{row}, " for row in rows)
        lines = [line for line in self._lines() if line["method"] in rows or line["method"].startswith(parts)]
        cells = {(line["fingerprint"], line["method"]): line for line in lines if line["fingerprint"] in place}
        return sorted(cells.values(), key=lambda c: place[c["fingerprint"]])

    def complete(self, cells: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those of the ``cells`` whose photo is done, by every method and under every kernel of that scale and σ: their
        means compare, however many photos are still to come."""
        done = {(cell["fingerprint"], cell["method"]) for cell in cells}
        to_come = {
            (spec.set_name, spec.image, spec.scale, spec.sigma_255)
            for spec in self.specs
            if self._left(spec, done)
        }
        return [c for c in cells if (c["set"], c["image"], c["scale"], c["sigma_255"]) not in to_come]

    # -- doing it --------------------------------------------------------------------------------------------

    def run(self, jobs: int, told: Callable[[Task, list[dict[str, Any]]], None]) -> None:
        """Do what is left, here (``jobs`` 1) or in so many processes, of one thread each; ``told`` hears of every task.

        Ctrl-C and errors end it; lines of finished tasks are kept."""
        self.order.out.mkdir(parents=True, exist_ok=True)
        if self.rank == 0:
            self._write_protocol()
        name = f"cells.{self.rank}.jsonl" if self.world > 1 else "cells.jsonl"
        tasks = self.tasks()
        (self.order.out / name).touch()
        for task, lines in run_tasks(self.order, tasks, min(jobs, len(tasks))):
            for line in lines:
                append_line(self.order.out / name, json.dumps(line, ensure_ascii=False))
            told(task, lines)

    def wait_for_others(self) -> None:
        """Until the cells of every process are in the folder. (Where one of them fails, torchrun ends all.)"""
        while self._tasks(self.specs):
            time.sleep(2)

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
        write_whole(self.order.out / "protocol.json", json_bytes(self.about()))

    @cached_property
    def kernels(self) -> dict[int, dict[str, list[list[float]]]]:
        """Scale -> name -> taps; of given photos none."""
        found: dict[int, dict[str, list[list[float]]]] = {}
        for spec in self.specs:
            here = found.setdefault(spec.scale, {})
            if spec.kernel is not None and spec.kernel.name not in here:
                here[spec.kernel.name] = spec.kernel.array.tolist()
        return found

    def about(self) -> dict[str, Any]:
        """What ``protocol.json`` holds: enough to read the cells by, and to make the tables again."""
        order, protocol = self.order, self.protocol
        planned = [s for s in protocol.settings if s.scale in self.kernels]
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
            "scales": [s.scale for s in planned],
            "sigmas_255": sorted({s.sigma_255 for s in self.specs}),
            "photos": len({s.image for s in self.specs}),
            "limit": order.limit,
            "sets": list(order.sets) if order.sets else [s.name for s in protocol.sets],
            "kernels": self.kernels,
            "groups": {g.name: list(g.kernels) for g in protocol.groups},
            "published": [
                {"method": row.name, "scale": row.scale, "sigma_255": row.sigma_255, "metric": metric, "values": values}
                for row, metric, values in protocol.published_values(self.kernels)
            ],
        }
