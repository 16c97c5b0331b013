"""One process of a benchmark: it makes cases, runs the methods on them, scores the results and keeps their pictures."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import cv2
import numpy as np
import torch

from blindsr import images, registry
from blindsr.alternating import AlternatingSR
from blindsr.evaluation.cases import Case, CaseSpec, make_case
from blindsr.evaluation.methods.base import Result, load_model
from blindsr.evaluation.order import Order
from blindsr.evaluation.scores import as_uint8, score
from blindsr.inference.machine import choose_device, keep_freed_memory
from blindsr.kernels.files import gray_levels
from blindsr.workers import interrupts_held, spread


@dataclass(frozen=True)
class Task:
    """A case, and the methods to run on it with the fingerprints of their cells."""

    spec: CaseSpec
    methods: tuple[tuple[Any, str], ...]


class Worker:
    """Does tasks: makes the case, runs the methods, scores, keeps pictures; answers the lines."""

    def __init__(self, order: Order):
        self.order = order
        self.device = choose_device(order.device, own=True)
        keep_freed_memory(self.device)  # two processes beside each other are 1.4 times as fast so

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
                # What comes before the answer takes its time too; methods with several answers took it for each.
                lines.append(self._line(case, name, metrics, None if label else seconds / len(own), mark))
                if spec.pictured:
                    self._keep_result(spec, name, own[0])
        return lines

    @staticmethod
    def _line(case: Case, name: str, metrics: dict[str, float], seconds: float | None, mark: str) -> dict[str, Any]:
        spec = case.spec
        line = {"image": spec.image, "scale": spec.scale, "kernel": spec.kernel_name, "sigma_255": spec.sigma_255}
        line |= {"method": name, "metrics": metrics} | ({} if seconds is None else {"seconds": round(seconds, 3)})
        line |= {"time": round(time.time(), 3)}
        return line | {"set": spec.set_name, "fingerprint": mark} | ({"note": case.note} if case.note else {})

    def _keep_case(self, case: Case) -> None:
        self._keep(case.spec, "lr", as_uint8(case.y))
        if case.x is not None:
            self._keep(case.spec, "truth", as_uint8(case.x))
        if case.k is not None:
            self._keep(case.spec, "kernel_true", gray_levels(case.k[0, 0].numpy())[..., None])

    def _keep_result(self, spec: CaseSpec, name: str, result: Result) -> None:
        self._keep(spec, name, as_uint8(result.x))
        if result.kernel is not None:
            self._keep(spec, f"kernel_{name}", gray_levels(result.kernel[0, 0].float().cpu().numpy())[..., None])

    def _keep(self, spec: CaseSpec, name: str, pixels: np.ndarray) -> None:
        file = self.order.out / "pictures" / spec.name / f"{file_name(name)}.png"
        images.write(file, images.Photo(pixels), overwrite=True)


def file_name(row: str) -> str:
    """The name of a row as that of its pictures: ``blind, loop 1`` is ``blind_loop_1``."""
    return re.sub(r"[^\w.-]+", "_", row)


def run_tasks(order: Order, tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, list[dict[str, Any]]]]:
    """Every task with its lines, as they are done: here (``jobs`` 1), in order, or in so many processes. Ctrl-C waits for
    what is under way; a second one does not."""
    if jobs <= 1:
        worker = Worker(order)
        with _one_thread(), interrupts_held() as interrupts:
            for task in tasks:
                yield task, worker(task)
                if interrupts:
                    raise KeyboardInterrupt
        return
    for task, done in spread(_work, tasks, jobs, _start, (order,)):
        yield task, done.result()


_worker: Worker | None = None


def _start(order: Order) -> None:
    global _worker
    _worker = Worker(order)


def _work(task: Task) -> list[dict[str, Any]]:
    assert _worker is not None
    return _worker(task)


@contextmanager
def _one_thread() -> Iterator[None]:
    """A single thread, as in the processes: the order of additions, and so the last digit, stays the same."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
