"""A run that is killed, again and again, ends as one that never was. BLINDSR_KILLS=20 kills more often."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from blindsr import checkpoints
from blindsr.interfaces import BlindSRError
from blindsr.training.state import load_state, save_state
from blindsr.training.trainer import Trainer

# The first argument says when the process kills itself: in the middle of its n-th writing of a checkpoint, with half of
# the bytes on disk; or before or after the renaming. "" leaves that to others.
RUN = """
import os, signal, sys
from pathlib import Path
import blindsr.training.state as state
from blindsr.cli import main
when, _, n = sys.argv[1].partition(":")
count = 0
def due():
    global count
    count += 1
    return when and count == int(n)
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
if when == "half":
    whole = state.torch.save
    def save(value, file):
        whole(value, file)
        if due():
            file.flush()
            file.truncate(file.tell() // 2)
            kill()
    state.torch.save = save
elif when in ("before", "after"):
    replace = os.replace
    def renamed(a, b):
        if not str(b).endswith("state.pt"):
            return replace(a, b)
        last = due()
        if last and when == "before":
            kill()
        replace(a, b)
        if last:
            kill()
    os.replace = renamed
sys.exit(main(sys.argv[2:]))
"""


def begin(script: Path, when: str, *arguments: str) -> subprocess.Popen:
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), when, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_killed_at_any_moment(photos, toy_settings, tmp_path):
    kills = int(os.environ.get("BLINDSR_KILLS", 4))
    script = tmp_path / "run.py"
    script.write_text(RUN)
    settings = [*toy_settings(photos, "tiny"), f"schedule.iterations={8 + 6 * kills}", "save_every=2", "data.workers=1"]
    settings += ["validate_every=1000", "log_every=5"]
    words = [word for s in settings for word in ("--set", s)]
    draw = random.Random(kills)
    forced = ["half:2", "before:2", "after:2"]
    dead = 0
    while dead < kills:
        file = tmp_path / "killed" / "state.pt"
        when = forced[dead % 3] if dead % 2 else ""
        process = begin(script, when, "train", "tiny", "--out", str(tmp_path / "killed"), *words)
        if not when:
            seen = file.stat().st_mtime_ns if file.exists() else 0
            while process.poll() is None and (file.stat().st_mtime_ns if file.exists() else 0) == seen:
                time.sleep(0.02)
            time.sleep(draw.uniform(0, 0.5))
            process.kill()
        process.wait(600)
        assert process.returncode == -signal.SIGKILL, process.stderr.read()[-2000:]
        dead += 1
        if file.exists():
            load_state(file)
        model = tmp_path / "killed" / "model.safetensors"
        if model.exists():
            checkpoints.load(model)
    for out in ("killed", "calm"):
        process = begin(script, "", "train", "tiny", "--out", str(tmp_path / out), *words)
        assert process.wait(900) == 0, process.stderr.read()[-2000:]
    killed, calm = (load_state(tmp_path / out / "state.pt") for out in ("killed", "calm"))
    assert killed["step"] == calm["step"] == 8 + 6 * kills
    for name in ("model", "average"):
        for key, value in calm[name].items():
            assert torch.equal(killed[name][key], value), key


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_and_says_so(number, photos, toy_settings, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    settings = [*toy_settings(photos, "usrnet_tiny"), "schedule.iterations=100000", "save_every=50000"]
    words = [word for s in settings for word in ("--set", s)]
    process = begin(script, "", "train", "usrnet_tiny", "--out", str(tmp_path / "run"), *words)
    log = tmp_path / "run" / "log.jsonl"
    while process.poll() is None and (not log.exists() or log.stat().st_size < 500):
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 130
    step = load_state(tmp_path / "run" / "state.pt")["step"]
    assert step > 0 and f"goes on from step {step}" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("where, left", [("torch.save", ["calm.pt"]), ("os.link", ["calm.pt"]), ("shutil.copyfile", [])])
def test_a_full_disk_is_one_line_and_the_last_checkpoint_stands(photos, toy, tmp_path, monkeypatch, where, left):
    """In writing the new state; where the old one cannot be linked, which is no error; and in copying it instead."""
    trainer = Trainer(toy(photos, "usrnet_tiny"), tmp_path)
    trainer.train_step()
    trainer.save()
    trainer.train_step()

    def full(*_):
        raise OSError(28, "No space left on device")

    for name in {where, "os.link"} if where == "shutil.copyfile" else {where, "torch.save"}:
        monkeypatch.setattr(f"blindsr.training.state.{name}", full)
    with pytest.raises(BlindSRError, match="No space left.*last good one stands"):
        trainer.save()
    assert load_state(tmp_path / "state.pt")["step"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [*left, "log.jsonl", "model.safetensors", "state.pt"]


def test_what_is_no_state_is_told(tmp_path):
    save_state(tmp_path / "a.pt", {"step": 1})
    assert load_state(tmp_path / "a.pt") == {"step": 1}
    (tmp_path / "a.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:100])
    with pytest.raises(BlindSRError, match="--fresh"):
        load_state(tmp_path / "a.pt")
