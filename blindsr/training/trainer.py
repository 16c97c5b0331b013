"""The trainer: one loop for every stage (see :mod:`blindsr.training.settings`)."""

from __future__ import annotations

import copy
import json
import math
import signal
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from blindsr import checkpoints, registry
from blindsr.alternating import AlternatingSR, new_model
from blindsr.interfaces import Batch, BlindSRError
from blindsr.ops.fourier import grid_shift
from blindsr.restorers.resunet import ResUNet
from blindsr.training.data import BatchSource, split, validation_batches
from blindsr.training.log import Log, draw_curves
from blindsr.training.losses import CUT, estimate_loss, restoration_loss
from blindsr.training.settings import PARTS, ScheduleConfig, TrainConfig
from blindsr.training.state import load_state, save_state
from blindsr.training.validation import validate


def learning_rate_factor(schedule: ScheduleConfig, progress: float, step: int) -> float:
    """What the learning rate is multiplied by, at ``progress`` in [0, 1] of the run."""
    warm = min(1.0, (step + 1) / max(1, schedule.warmup))
    if schedule.kind == "step":
        return warm * 0.5 ** sum(progress >= m for m in schedule.milestones)
    return warm * (schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


class Trainer:
    """Trains ``config`` in the folder ``out``: state.pt to resume from, model.safetensors (the moving
    average of the weights, which is what one uses), log.jsonl and curves.png."""

    def __init__(self, config: TrainConfig, out: Path, resume: bool = True):
        self.config, self.out = config, out
        training, held = split(config.data)
        self.source = BatchSource(config.data, training, config.seed, report=tqdm.write)
        self.checks = validation_batches(config.data, held)
        torch.manual_seed(config.seed)  # initial weights alone depend on it
        self.model = new_model(config.model)
        resume = resume and (out / "state.pt").exists()
        started = [] if resume else start_from(self.model, config.start_from)
        self.trained = [name for name in PARTS if name in (*started, *config.train)]
        self._check_sizes()
        for name in PARTS:
            part = getattr(self.model, name)
            if part is not None:
                part.requires_grad_(name in config.train)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        o = config.optimizer
        self.optimizer = torch.optim.Adam(self.weights, o.learning_rate, o.betas)
        self.step, self.elapsed, self.skipped, self.validated = 0, 0.0, 0, 0
        out.mkdir(parents=True, exist_ok=True)
        if resume:
            self._load()
        self.log = Log(out, self.step)
        if config.compile:
            compile_prior(self.model)

    def _check_sizes(self) -> None:
        """Kernels, basis and patches must fit each other; better said now than in the first step."""
        sizes = [part.kernel_size for part in self.source.degradation.parts()]
        if None in sizes and set(self.config.train) in ({"restorer"}, {"initial"}):
            raise BlindSRError(
                f"training {self.config.train[0]} alone needs true kernels; leave the shuffled degradation out"
            )
        basis = self.model.basis
        for size in filter(None, sizes):
            if basis is not None and basis.size != size:
                raise BlindSRError(
                    f"the kernels drawn have {size} pixels a side, the basis {basis.size}; make them alike"
                )
        size = max(s or 2 * CUT + 1 for s in sizes)
        smallest = min(
            min(self.config.data.side(s) for s in self.config.data.scales), self.config.data.validation_patch
        )
        if smallest < size:
            raise BlindSRError(f"patches of {smallest} pixels are smaller than the kernels, {size}; raise data.patch")

    # -- one step ----------------------------------------------------------------------------------

    def autocast(self):
        """The precision of the networks; FFTs and the data step stay in float32 by themselves."""
        if self.config.precision == "bf16":
            return torch.autocast("cpu", torch.bfloat16)
        return nullcontext()

    def loss(self, batch: Batch, step: int) -> Tensor:
        """The loss of one batch under the stage's rules."""
        model, train, weights = self.model, set(self.config.train), self.config.loss
        with self.autocast():
            if train == {"initial"}:
                return estimate_loss(model.first_estimate(batch.y, batch.scale), batch, weights)
            told = train == {"restorer"} or golden_draw(step) < self.config.true_kernel
            if told and "restorer" in train and batch.k is not None:
                return restoration_loss(model(batch.y, batch.scale, batch.k, batch.sigma), batch, weights)
            first = None if batch.context is None else model.first_estimate(batch.context, batch.scale)
            shift = grid_shift(batch.grid, batch.scale)
            result = model(batch.y, batch.scale, shift=shift, first=first, finish=weights.image > 0)
            return restoration_loss(result, batch, weights)

    def train_step(self) -> dict[str, Any]:
        """Draw, forward, backward, update; a step that is not finite changes nothing and is counted."""
        factor = learning_rate_factor(self.config.schedule, self.progress, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * self.config.optimizer.learning_rate
        batch = self.source.batch(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch, self.step)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.config.optimizer.clip or math.inf)
        if torch.isfinite(norm) and torch.isfinite(loss):
            self.optimizer.step()
            self._update_average()
        else:
            self.skipped += 1
        self.step += 1
        rate = factor * self.config.optimizer.learning_rate
        return {"loss": float(loss.detach()), "norm": float(norm), "learning_rate": rate}

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        ours, theirs = list(self.average.parameters()), list(self.model.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - decay)
        for mine, given in zip(self.average.buffers(), self.model.buffers()):
            mine.copy_(given)

    # -- the run -----------------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """How much of the run is done, 0 to 1."""
        schedule = self.config.schedule
        if schedule.minutes:
            return self.elapsed / (60 * schedule.minutes)
        return self.step / schedule.iterations

    def run(self) -> None:
        """Train to the end of the schedule. SIGINT and SIGTERM save, say so and raise KeyboardInterrupt."""
        stop: list[int] = []
        handlers = {s: signal.signal(s, lambda number, _: stop.append(number)) for s in (signal.SIGINT, signal.SIGTERM)}
        shape = "{desc} {percentage:5.1f}%|{bar}| {elapsed}<{remaining} {postfix}"
        bar = tqdm(total=100, desc=self.out.name, bar_format=shape, disable=None)
        window: list[float] = []
        try:
            while self.progress < 1 and not stop:
                begun = time.perf_counter()
                told = self.train_step()
                self.elapsed += time.perf_counter() - begun
                window.append(told["loss"])
                if self.step % self.config.log_every == 0:
                    mean = sum(window) / len(window)
                    window.clear()
                    told |= {"loss": mean, "skipped": self.skipped}
                    self.log.write(step=self.step, seconds=round(self.elapsed, 1), **told)
                    bar.set_postfix_str(f"step {self.step} loss {mean:.4f} skipped {self.skipped}")
                bar.update(min(100 * self.progress, 100) - bar.n)
                if self.step % self.config.validate_every == 0:
                    self._validate(bar)
                if self.step % self.config.save_every == 0:
                    self.save()
            if not stop:
                self._validate(bar)
            self.save()
        finally:
            bar.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if stop:
            tqdm.write(
                f"stopped at step {self.step}; saved in {self.out}, the same command goes on from there", sys.stderr
            )
            raise KeyboardInterrupt

    def _validate(self, bar: tqdm) -> None:
        if self.validated == self.step:
            return
        self.validated = self.step
        report = validate(self.average, self.checks, self.autocast, restore=set(self.config.train) != {"initial"})
        self.log.write(step=self.step, validation=report)
        draw_curves(self.out)
        bar.write(f"step {self.step}: " + ", ".join(f"{name} {value:.3f}" for name, value in report.items()))

    # -- saving and resuming -------------------------------------------------------------------------

    def save(self) -> None:
        """Write state.pt, then model.safetensors."""
        save_state(
            self.out / "state.pt",
            {
                "config": json.dumps(registry.as_mapping(self.config)),
                "step": self.step,
                "elapsed": self.elapsed,
                "skipped": self.skipped,
                "validated": self.validated,
                "trained": self.trained,
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
        )
        card = {
            "step": self.step,
            "minutes": round(self.elapsed / 60, 1),
            "trained": self.trained,
            "training": registry.as_mapping(self.config),
        }
        checkpoints.save(self.out / "model.safetensors", self.average, card, dtype=torch.float32)

    def _load(self) -> None:
        state = load_state(self.out / "state.pt")
        try:
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.elapsed = state["step"], state["elapsed"]
            self.skipped, self.validated = state["skipped"], state["validated"]
            self.trained = state["trained"]
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            file = self.out / "state.pt"
            raise BlindSRError(f"{file}: does not fit this configuration ({reason}); use --fresh") from None


def golden_draw(step: int) -> float:
    """Evenly spread numbers in [0, 1): multiples of the golden ratio, so that shares hold over short stretches."""
    return (step * 0.6180339887498949) % 1.0


def start_from(model: AlternatingSR, files: tuple[str, ...]) -> set[str]:
    """Take the starting weights of every part that a checkpoint in ``files`` has *trained*; later files win.

    A stage's file also holds the parts that did not learn in it, as they were drawn at random. Returns the
    names of the parts taken.
    """
    all_taken: set[str] = set()
    for file in files:
        if not Path(file).exists() and file not in checkpoints.shipped_names():
            cure = "train that stage first, name another file, or start without: --set 'start_from=[]'"
            raise BlindSRError(f"start_from: {file} does not exist; {cure}")
        checkpoint = checkpoints.load(file)
        given, taken = checkpoint.model, []
        for name in checkpoint.card.get("trained", PARTS):
            ours, theirs = getattr(model, name), getattr(given, name)
            if ours is None or theirs is None:
                continue
            try:
                ours.load_state_dict(theirs.state_dict())
            except RuntimeError:
                raise BlindSRError(f"{file}: its {name} has another shape than this configuration's") from None
            taken.append(name)
        if not taken:
            raise BlindSRError(f"{file}: has no part that this configuration could start from")
        all_taken.update(taken)
        print(f"starting weights of {', '.join(taken)} from {file}", file=sys.stderr)
    return all_taken


def compile_prior(model: AlternatingSR) -> None:
    """Compile the restorer's prior, if it is a ResUNet, where a compiler is at hand; otherwise say so and go on."""
    prior = getattr(model.restorer, "prior", None)
    if not isinstance(prior, ResUNet):
        return
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler

        get_cpp_compiler()
        prior.whole = torch.compile(partial(ResUNet.whole, prior))
    except Exception as error:
        print(f"not compiled: {' '.join(str(error).split())[:100]}", file=sys.stderr)
