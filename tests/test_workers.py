"""Work spread over processes: nothing that was done is lost, whatever stops it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blindsr.interfaces import BlindSRError
from blindsr.workers import spread

_given: list = []


def start(*given: object) -> None:
    _given.extend(given)


def work(task: tuple[str, float]) -> tuple[str, list, int]:
    """What a task is called, what the process was given, and its threads; some tasks do not end well."""
    import cv2
    import torch

    name, seconds = task
    if name == "fails":
        for path in _given:
            path.touch()
        raise ValueError("no good")
    if name == "beside":
        while not _given[0].exists():
            time.sleep(0.01)
    if name == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    return name, _given, max(torch.get_num_threads(), cv2.getNumThreads())


def test_every_task_is_done_by_processes_of_one_thread() -> None:
    tasks = [(str(n), 0.0) for n in range(5)]
    done = {task: future.result() for task, future in spread(work, iter(tasks), 2, start, ("a", 1))}
    assert done == {task: (task[0], ["a", 1], 1) for task in tasks}
    assert dict(spread(work, [], 2)) == {}


def test_an_error_comes_last(tmp_path: Path) -> None:
    """Whatever was under way beside it, here until a second after it failed, is handed over before, and nothing new begins."""
    tasks = [("beside", 1.0), ("fails", 0.0), *(("never", 0.0) for _ in range(9))]
    done = []
    with pytest.raises(ValueError, match="no good"):
        for task, future in spread(work, tasks, 2, start, (tmp_path / "failed",)):
            done.append(task[0])
            assert future.result()[0] == task[0]
    assert done[:1] == ["beside"] and done.count("never") < 9


def test_others_go_on() -> None:
    futures = dict(spread(work, [("fails", 0.0), ("a", 0.0), ("b", 0.0)], 2, go_on=True))
    assert isinstance(futures["fails", 0.0].exception(), ValueError)
    assert sorted(f.result()[0] for t, f in futures.items() if t[0] != "fails") == ["a", "b"]


def test_a_process_that_is_killed() -> None:
    with pytest.raises(BlindSRError, match="ended before its time.*fewer --jobs"):
        list(spread(work, [("a", 0.0), ("dies", 0.0), ("b", 0.0)], 2, go_on=True))


PROGRAM = """
import signal
import sys
sys.path.insert(0, {folder!r})
from test_workers import spread, work
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may have been told to ignore it
    try:
        for task, _ in spread(work, [("warm", 0.0), ("warm", 0.0), *(("slow", 2.0) for _ in range(50))], 2):
            print(task[0], flush=True)
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""


@pytest.fixture
def starting(tmp_path: Path):
    """A program that is going to work in two processes."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(folder=str(Path(__file__).parent)))
    running = subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@pytest.fixture
def program(starting):
    """The same, and it has begun."""
    for _ in range(2):
        assert starting.stdout.readline() == "warm\n"
    return starting


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize("delay", [0.0, 0.1])
def test_ctrl_c_while_a_process_is_still_starting(starting, delay) -> None:
    """It has not said yet that Ctrl-C is no business of its own, and must not die of it."""
    while len(children(starting.pid)) < 3:  # two, and the one that looks after what they share
        time.sleep(0.01)
    time.sleep(delay)
    os.killpg(starting.pid, signal.SIGINT)
    lines = starting.stdout.read().split()
    assert lines[-1] == "stopped" and lines.count("slow") <= 2


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_after_ctrl_c_what_is_under_way_is_finished(program) -> None:
    time.sleep(0.5)
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: all processes get it
    lines = program.stdout.read().split()
    assert lines[-1] == "stopped" and 1 <= lines.count("slow") <= 4


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc")
def test_no_process_outlives_a_parent_that_is_killed(program) -> None:
    own = children(program.pid)
    assert len(own) >= 2
    program.kill()
    program.wait()
    for _ in range(100):
        if not any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in own):
            return
        time.sleep(0.1)
    pytest.fail("a process works on for nobody")
