"""Work spread over processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import wait as wait_for
from typing import Any, TypeVar

from blindsr.interfaces import BlindSRError

T = TypeVar("T")
R = TypeVar("R")


def spread(
    work: Callable[[T], R],
    tasks: Iterable[T],
    jobs: int,
    start: Callable[..., None] | None = None,
    given: tuple[Any, ...] = (),
    go_on: bool = False,
) -> Iterator[tuple[T, Future[R]]]:
    """Every task with the future of ``work`` of it, as they are done by ``jobs`` processes of one thread each, which call
    ``start(*given)`` first. A task begins only when a process is free for it.

    A task that fails is the last that begins, and its error is raised in the end, unless the others are to ``go_on``: its
    future then holds the error. With an error, as after Ctrl-C, what is under way is finished and handed over like all
    else; a second Ctrl-C ends even that. All that is passed must be picklable.

    Raises BlindSRError where a process ended before its time.
    """
    context, left = multiprocessing.get_context("spawn"), iter(tasks)
    with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(start, given)) as pool:
        running: dict[Future[R], T] = {}
        stopped: BaseException | None = None
        try:
            while True:
                try:
                    if stopped is None:
                        with interrupts_held() as interrupts, _signals_blocked():
                            running |= {pool.submit(work, task): task for task in islice(left, jobs - len(running))}
                        if interrupts:  # another thread's mask had let it in
                            raise KeyboardInterrupt
                    if not running:
                        break
                    done = wait(running, return_when=FIRST_COMPLETED).done
                except KeyboardInterrupt as error:
                    if stopped is not None:
                        for process in multiprocessing.active_children():
                            process.kill()
                        raise
                    stopped = error
                    continue
                for future in done:
                    task, failure = running.pop(future), future.exception()
                    if isinstance(failure, BrokenProcessPool):
                        raise failure
                    if failure is None or go_on:
                        yield task, future
                    else:
                        stopped = stopped or failure
        except BrokenProcessPool:
            cure = "for lack of memory, perhaps: choose fewer --jobs, or close other programs"
            raise stopped or BlindSRError(f"a process ended before its time, {cure}") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    if stopped is not None:
        raise stopped


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """So that processes that begin meanwhile are not ended by Ctrl-C, which all of a terminal's get, before they have said
    that it is no business of theirs (:func:`_begin`)."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # later, it would let signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interrupts_held(second_breaks_off: bool = True) -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM are noted in the list that this gives, and break nothing off until a second one comes, or not even
    then. In other threads than the main one, which signals do not reach, nothing changes."""
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        if came and second_breaks_off:
            raise KeyboardInterrupt
        came.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _begin(start: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    """In a new process: signals are for its parent to answer, all cores are taken by its like, and it does not outlive
    a parent that is killed."""
    import cv2
    import torch

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # blocked by whoever began it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if start is not None:
        start(*given)


def _end_with_parent() -> None:
    wait_for([multiprocessing.parent_process().sentinel])
    os._exit(1)
