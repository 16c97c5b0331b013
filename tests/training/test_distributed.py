"""Two processes on one run: the same gradients as one, the same samples, and a life after a death."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from blindsr.atomic import read_lines
from blindsr.interfaces import BlindSRError
from blindsr.training.data import BatchSource, split
from blindsr.training.distributed import Processes, agree
from blindsr.training.trainer import Trainer

GRADIENTS = """
import sys, json, torch
from pathlib import Path
from blindsr import training
from blindsr.training.distributed import Processes
from blindsr.training.trainer import Trainer
name, out, *settings = json.loads(sys.argv[1])
config = training.load_config(name, settings)
processes = Processes.join("cpu")
trainer = Trainer(config, Path(out), processes=processes)
step = trainer.optimizer.step
trainer.optimizer.step = lambda: None
trainer.train_step()
Path(out).mkdir(exist_ok=True)
torch.save(list(trainer.model.buffers()), Path(out) / f"buffers{processes.rank}.pt")
if processes.leads:
    torch.save([p.grad for p in trainer.weights], Path(out) / "gradients.pt")
processes.sum([0])
processes.leave()
"""

# Process 1 dies in its fourth step, the first time.
DIES = """
import os, signal, sys
from blindsr.cli import main
from blindsr.training.trainer import Trainer
whole = Trainer.train_step
def train_step(self, batch=None):
    if self.step == 3 and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, batch)
Trainer.train_step = train_step
sys.exit(main(sys.argv[1:]))
"""


def torchrun(script: Path, *arguments: str, restarts: int = 0) -> subprocess.CompletedProcess:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--max-restarts={restarts}"]
    return subprocess.run(
        [*launcher, "--master-port=0", "--standalone", str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("name", ["usrnet_tiny", "tiny"])
def test_gradients_of_two_processes_equal_those_of_one_with_twice_the_batch(name, photos, toy_settings, tmp_path, toy):
    more = ["precision=fp32", "optimizer.clip=0", "true_kernel=0"]
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    told = [name, str(tmp_path / "two"), *toy_settings(photos, name), *more]
    done = torchrun(script, json.dumps(told))
    # Not the exit status: gloo's threads may abort a process that has done its work and is leaving.
    assert (tmp_path / "two" / "gradients.pt").exists(), done.stderr[-3000:]
    two = torch.load(tmp_path / "two" / "gradients.pt", weights_only=True)
    buffers = [torch.load(tmp_path / "two" / f"buffers{rank}.pt", weights_only=True) for rank in range(2)]
    assert len(buffers[0]) == len(buffers[1]) and (len(buffers[0]) > 0) == (name == "tiny")
    assert all(torch.equal(a, b) for a, b in zip(*buffers)), "nobody sends them round"

    one = Trainer(toy(photos, name, *more, "data.batch=4"), tmp_path / "one")
    one.optimizer.step = lambda: None
    one.train_step()
    ours = [p.grad for p in one.weights]
    assert len(two) == len(ours)
    largest = max(float(g.abs().max()) for g in ours if g is not None)
    for a, b in zip(two, ours):
        if b is None:
            assert a is None or not a.any()
        else:
            # Other orders of addition: 4e-5 was seen on one processor, below 1e-5 on others.
            assert torch.allclose(a, b, rtol=2e-4, atol=2e-4 * largest)


def test_a_killed_process_is_restarted_and_the_run_ends_as_if_nothing_had_happened(photos, toy_settings, tmp_path):
    script = tmp_path / "dies.py"
    script.write_text(DIES)
    ends = []
    for restarts, out in ((1, "killed"), (0, "calm")):
        settings = [word for s in (*toy_settings(photos, "tiny"), "schedule.iterations=5") for word in ("--set", s)]
        run = script if restarts else tmp_path / "plain.py"
        if not restarts:
            run.write_text("import sys\nfrom blindsr.cli import main\nsys.exit(main(sys.argv[1:]))\n")
        done = torchrun(run, "train", "tiny", "--out", str(tmp_path / out), *settings, restarts=restarts)
        assert (tmp_path / out / "state.pt").exists(), done.stderr[-3000:]
        ends.append(torch.load(tmp_path / out / "state.pt", weights_only=True))
        steps = [e["step"] for e in read_lines(tmp_path / out / "log.jsonl") if "loss" in e]
        assert steps == [1, 2, 3, 4, 5]  # one process wrote, and wrote every step once
    killed, calm = ends
    assert killed["step"] == 5
    for name in ("model", "average"):
        for key, value in calm[name].items():
            assert torch.equal(killed[name][key], value), key


def come(rank: int, restarts: int, port: int, told) -> None:
    """What torchrun would start, on the machine whose agent has counted so many restarts."""
    os.environ.update(LOCAL_RANK="0", RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.environ.update(TORCHELASTIC_USE_AGENT_STORE="True", TORCHELASTIC_RESTART_COUNT=str(restarts))
    processes = Processes.join("cpu")
    told.put((processes.rank, processes.sum([1]), processes.means([torch.tensor(rank)]), processes.restarted))
    os._exit(0)  # killed, that is: it leaves its address in the store


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_machines_whose_agents_count_restarts_differently_meet():
    """What processes of earlier starts have left in the store leads nobody astray."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("fork")
    alone = context.Process(target=come, args=(1, 0, store.port, context.SimpleQueue()))
    alone.start()
    while not store.check(["blindsr/asks_1"]):
        time.sleep(0.02)
    alone.kill()
    alone.join()
    for restarts, again in (((0, 0), False), ((0, 1), True), ((0, 2), True)):
        told = context.SimpleQueue()
        both = [context.Process(target=come, args=(rank, restarts[rank], store.port, told)) for rank in (1, 0)]
        for process in both:
            process.start()
        for process in both:
            process.join(60)
            process.kill()
        found = []
        while not told.empty():
            found.append(told.get())
        assert sorted(found) == [(0, [2], [0.5], again), (1, [2], [0.5], again)]


def test_process_0_says_who_did_not_come():
    store = dist.HashStore()
    store.set_timeout(timedelta(milliseconds=50))
    with pytest.raises(BlindSRError, match=r"processes \[1, 2\] did not come"):
        agree(store, 0, 3)


def test_every_photo_once_an_epoch_over_all_processes(photos, toy):
    """And one scale in a batch, the same in every process."""
    config = toy(photos, "usrnet_tiny", "data.validation=1").data
    training, _ = split(config)
    n = len(training)
    sources = [BatchSource(config, training, seed=3, rank=r, world=3) for r in range(3)]
    drawn = []
    for step in range(2 * n):
        drawn += [s.photo((step * 3 + s.rank) * config.batch + i) for s in sources for i in range(config.batch)]
        batches = [s.batch(step) for s in sources] if step < 3 else []
        assert len({b.scale for b in batches}) <= 1
    epochs = [drawn[i : i + n] for i in range(0, len(drawn), n)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_two_processes_see_the_samples_of_one(photos, toy):
    config = toy(photos, "tiny").data
    wide = toy(photos, "tiny", "data.batch=4").data
    training, _ = split(config)
    for step in (0, 5):
        halves = [BatchSource(config, training, 1, rank, 2).batch(step) for rank in range(2)]
        whole = BatchSource(wide, training, 1).batch(step)
        for name in ("x", "y", "k", "sigma", "context"):
            assert torch.equal(torch.cat([getattr(h, name) for h in halves]), getattr(whole, name))
