"""The trainer: one loop for every stage (see :mod:`blindsr.training.settings`)."""

from __future__ import annotations

import copy
import json
import math
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from blindsr import checkpoints, registry
from blindsr.alternating import new_model
from blindsr.inference.machine import keep_freed_memory
from blindsr.interfaces import Batch, BlindSRError
from blindsr.restorers.compiled import compile_prior
from blindsr.training.adversary import Adversary
from blindsr.training.data import BatchSource, killed_loaders_told, split, stream, validation_batches
from blindsr.training.distributed import Processes
from blindsr.training.examine import Examiner
from blindsr.training.log import Log, Meter, silence, tell
from blindsr.training.losses import inside
from blindsr.training.objective import Objective, check_sizes, uncounted_border
from blindsr.training.recorded import Recorded, check_recordable
from blindsr.training.resident import ResidentSource
from blindsr.training.settings import PARTS, TrainConfig
from blindsr.training.start import let_rest, start_from
from blindsr.training.state import clear, keep, load_state, save_state
from blindsr.training.watch import Watch, comparable
from blindsr.workers import interrupts_held


class Trainer:
    """Trains ``config`` in the folder ``out``: state.pt to resume from, model.safetensors (the moving average of the
    weights, which is what one uses), log.jsonl, curves.png and pictures/. Of several ``processes`` the first writes."""

    def __init__(self, config: TrainConfig, out: Path, resume: bool = True, processes: Processes | None = None):
        self.config, self.out, self.resolved = config, out, json.dumps(registry.as_mapping(config))
        self.processes = processes or Processes.join(config.device)
        self.report = tell if self.processes.leads else silence
        training, held = split(config.data, self.report)
        which = config.data, training, config.seed, self.processes.rank, self.processes.world
        self.source = ResidentSource(*which, self.processes.device) if config.data.resident else BatchSource(*which)
        torch.manual_seed(config.seed)  # initial weights alone depend on it
        self.model = new_model(config.model)
        check_sizes(config, self.model, self.source)
        checks = validation_batches(config.data, held, self.report)
        # A fresh run that is started again goes on, unless what lies there is still an earlier run's.
        self.fresh = out / ".fresh"
        if self.processes.leads and not resume and not self.processes.restarted:
            out.mkdir(parents=True, exist_ok=True)
            self.fresh.touch()
        seen = [(out / "state.pt").exists(), self.fresh.exists()]
        found, earlier = self.processes.sum(seen)  # a shared folder may show them late to some
        resume = found > 0 and (resume or self.processes.restarted and not earlier)
        started = [] if resume else start_from(self.model, config.start_from)
        self.trained = [name for name in PARTS if name in (*started, *config.train)]
        for name in PARTS:
            part = getattr(self.model, name)
            if part is not None:
                part.requires_grad_(name in config.train)
        let_rest(self.model, config.rest)
        self.model.to(self.processes.device)
        device = self.processes.device
        # What tensor cores work on; on a CPU a step takes 0.7 to 0.9 of the time, in bfloat16 too.
        self.model.restorer.to(memory_format=torch.channels_last)
        keep_freed_memory(device)  # another sixth
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        o = config.optimizer
        self.optimizer = torch.optim.Adam(self.weights, o.learning_rate, o.betas)
        self.adversary: Adversary | None = None
        if config.adversarial:
            self.adversary = Adversary(config.adversarial, config.precision, o.clip, self.processes)
            smallest = min(config.data.side(s) for s in config.data.scales)
            self.adversary.check_size(smallest - 2 * uncounted_border(self.model, self.source))
        if config.graphs:
            check_recordable(self.model, self.processes, self.adversary is not None)
        self.step, self.elapsed, self.skipped, self.validated, self.saved = 0, 0.0, 0, 0, -1
        self.watch, self.retreats = Watch(config.watch), 0
        if self.processes.leads:
            out.mkdir(parents=True, exist_ok=True)
            clear(out)
        if resume:
            self._load()
        self.log = Log(out, self.step, config.tensorboard) if self.processes.leads else None
        self.examine = Examiner(config, checks, out, self.log, self.report) if self.log else None
        if config.compile:
            compile_prior(self.model.restorer, self.report)
        objective = Objective(self.model, config)
        self.engine = Recorded(objective, self.weights) if config.graphs else self.processes.wrap(objective)
        if self.adversary:
            self.report(self.adversary.remark)
            if self.log and not resume:
                self.log.write(step=self.step, remark=self.adversary.remark)

    # -- one step ----------------------------------------------------------------------------------

    def train_step(self, batch: Batch | None = None) -> dict[str, float]:
        """Draw, forward, backward, update; a step that is not finite changes nothing and is counted."""
        factor = self.config.schedule.factor(self.progress, self.step)
        factor *= self.config.watch.slower**self.retreats
        for group in self.optimizer.param_groups:
            group["lr"] = factor * self.config.optimizer.learning_rate
        batch = (self.source.batch(self.step) if batch is None else batch).to(self.processes.device)
        self.optimizer.zero_grad(set_to_none=True)
        loss, x = self.engine(batch, self.step)
        judged = inside(x, batch, self.model.restorer.uses_kernel) if self.adversary else None
        terms = self.adversary.terms(*judged, self.step) if judged else {}
        total = loss + sum(terms.values())
        if not self.config.graphs:  # whose replay has gone back already
            if not total.requires_grad:
                raise BlindSRError("this batch teaches nothing that learns; name more in train, or less in rest")
            total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.config.optimizer.clip or math.inf)
        # Gradients are those of all processes, the losses are each one's own: they must decide alike.
        scalars = {"loss": loss, "norm": norm} | terms
        broken, *means = self.processes.means([~torch.isfinite(total + norm), *scalars.values()])
        told = dict(zip(scalars, means)) | {"learning_rate": factor * self.config.optimizer.learning_rate}
        if broken:
            self.skipped += 1
        else:
            self.optimizer.step()
            self._update_average()
            if judged:
                told |= self.adversary.learn(judged[0].detach(), judged[1], factor)
        self.step += 1
        self.watch.note(told["loss"], not broken)
        return told

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
        return self.config.schedule.progress(self.step, self.elapsed)

    def run(self) -> None:
        """Train to the end of the schedule. SIGINT and SIGTERM save, say so and raise KeyboardInterrupt."""
        shape = "{desc} {percentage:5.1f}%|{bar}| {elapsed}<{remaining} {postfix}"
        quiet = None if self.processes.leads else True
        # On Ctrl-C torchrun sends a second signal after the terminal's.
        with (
            interrupts_held(second_breaks_off=False) as signals,
            tqdm(total=100, desc=self.out.name, bar_format=shape, disable=quiet) as bar,
        ):
            if self.saved < 0:
                if self.processes.leads:  # what an earlier run fell back to is not ours
                    (self.out / "calm.pt").unlink(missing_ok=True)
                self.save()  # something to fall back to
            pin = self.processes.device.type == "cuda"
            workers = self.config.data.workers
            with killed_loaders_told(), closing(stream(self.source, self.step, workers, pin)) as batches:
                stop = self._loop(batches, bar, signals)
            if not stop:
                self._validate()
            self.save()
        if stop:
            self.report(f"stopped; the same command goes on from step {self.saved}, saved in {self.out}")
            raise KeyboardInterrupt
        if self.saved != self.step:
            self.report(f"the loss was rising at the end: {self.out} holds the weights of step {self.saved}")

    def _loop(self, batches, bar: tqdm, signals: list[int]) -> bool:
        """Steps until the schedule's end, or until any process was told to stop (True)."""
        meter = Meter(self.config.data.batch * self.processes.world)
        if self.step % self.config.validate_every == 0:  # where the run was stopped at just this step
            self._validate()
        while self.progress < 1:
            start = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - start
            told = self.train_step(batch)
            mine = time.perf_counter() - start if self.processes.leads else 0.0
            seconds, stop = self.processes.sum([mine, len(signals)])
            self.elapsed += seconds
            if self.processes.leads:
                meter.note(told["loss"], waited, seconds)
            if self.step % self.config.log_every == 0 and self.processes.leads:
                told |= meter.read() | {"skipped": self.skipped}
                self.log.write(step=self.step, seconds=round(self.elapsed, 1), **told)
                words = f"step {self.step} loss {told['loss']:.4f} {told['images_per_second']:.1f} images/s"
                bar.set_postfix_str(f"{words} skipped {self.skipped}")
            bar.update(min(100 * self.progress, 100) - bar.n)
            if stop:
                return True
            if self.watch.lost:
                self._retreat()
            if self.step % self.config.validate_every == 0:
                self._validate()
            if self.step % self.config.save_every == 0:
                self.save()
        return False

    def _validate(self) -> None:
        if self.validated == self.step:
            return
        self.validated = self.step
        if self.examine:
            self.examine(self.average, self.step)

    def _retreat(self) -> None:
        """Back to the weights of the last checkpoint, with a lower learning rate; steps are not counted back."""
        if self.retreats == self.config.watch.retreats:
            raise BlindSRError(
                f"the loss has blown up at step {self.step}, after {self.retreats} retreats; lower "
                f"optimizer.learning_rate and start again with --fresh (the last good checkpoint stands in {self.out})"
            )
        reached, retreats = (self.step, self.elapsed, self.skipped, self.validated), self.retreats + 1
        kept = self.out / "calm.pt"
        self._take(load_state(kept if kept.exists() else self.out / "state.pt"))
        self.retreats = retreats  # the checkpoint may be older than the retreat before this one
        self.watch.pulse.bad = 0
        back_to = self.step
        self.step, self.elapsed, self.skipped, self.validated = reached
        self.saved = self.step  # what state.pt holds now has not proved itself
        slower = self.config.watch.slower**self.retreats
        said = f"the loss has blown up; back to the weights of step {back_to}, learning rate times {slower:g}"
        if self.log:
            self.log.write(step=self.step, retreat=said)
        self.report(f"step {self.step}: {said}")
        self.processes.sum([0])  # everyone has read it
        self.save()  # so that the next retreat is slower still, and a resumed run knows of this one

    # -- saving and resuming -------------------------------------------------------------------------

    def save(self) -> None:
        """Write state.pt, then model.safetensors. While something may be going wrong the last good ones stand."""
        if self.watch.uneasy:
            return
        proven = 0 <= self.saved <= self.step - min(self.config.watch.patience, self.config.save_every)
        self.saved = self.step
        if not self.processes.leads:
            return
        if proven:  # the last checkpoint has been followed by calm steps: the one to fall back to
            keep(self.out / "state.pt", self.out / "calm.pt")
        state = {
            "config": self.resolved,
            "step": self.step,
            "elapsed": self.elapsed,
            "skipped": self.skipped,
            "validated": self.validated,
            "retreats": self.retreats,
            "watch": self.watch.state(),
            "trained": self.trained,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.adversary:
            state |= self.adversary.state()
        save_state(self.out / "state.pt", state)
        self.fresh.unlink(missing_ok=True)
        card = {
            "step": self.step,
            "minutes": round(self.elapsed / 60, 1),
            "trained": self.trained,
            "training": registry.as_mapping(self.config),
        }
        checkpoints.save(self.out / "model.safetensors", self.average, card, dtype=torch.float32)

    def _load(self) -> None:
        try:
            state = load_state(self.out / "state.pt")
            self._take(state)
            if json.loads(state["config"]).get("start_from") != json.loads(self.resolved)["start_from"]:
                self.report("start_from has changed, and only counts where a run begins: --fresh, or another --out")
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            file = self.out / "state.pt"
            cure = "use --fresh, or the model, train and rest of then"
            raise BlindSRError(f"{file}: does not fit this configuration ({reason}); {cure}") from None

    def _take(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["betas"] = self.config.optimizer.betas  # may have changed since
        if self.adversary:
            self.adversary.load(state)
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.skipped, self.validated, self.saved = state["skipped"], state["validated"], self.step
        self.trained, self.retreats = state["trained"], state["retreats"]
        self.watch.load(state["watch"])
        if not comparable(json.loads(state["config"]), json.loads(self.resolved)):
            self.watch.forget()
            self.report("options on which the loss depends have changed: the watch learns its level anew")
