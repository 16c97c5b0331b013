"""The restorer's opponent in a run: the critic with its optimizer, and the perceptual loss beside it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from blindsr import registry
from blindsr.inference.machine import Precision
from blindsr.interfaces import BlindSRError
from blindsr.training.adversarial import AdversarialConfig, Critic
from blindsr.training.distributed import Processes
from blindsr.training.objective import autocast
from blindsr.training.perceptual import SMALLEST, PerceptualLoss


class Adversary:
    """Gives the restorer its adversarial ``terms`` and learns from what the restorer makes; ``skipped`` counts the
    steps of the critic that were not finite."""

    def __init__(self, config: AdversarialConfig, precision: Precision, clip: float, processes: Processes):
        self.config, self.precision, self.clip = config, precision, clip or math.inf
        self.processes, self.skipped = processes, 0
        self.critic = Critic(registry.build(config.discriminator), config.kind).to(processes.device)
        self.engine = processes.wrap(self.critic)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), config.learning_rate, (0.9, 0.99))
        self.perceptual = PerceptualLoss(config.vgg).to(processes.device) if config.vgg else None

    @property
    def remark(self) -> str:
        """What stands for the perceptual loss, for the log."""
        if self.perceptual is not None:
            return f"perceptual loss: VGG-19 features, weights of {self.config.vgg}"
        return "perceptual loss: features of the discriminator stand in, for adversarial.vgg names no VGG-19 weights"

    def check_size(self, side: int) -> None:
        """Raises BlindSRError where pictures of ``side`` pixels a side are too small to be judged."""
        judges = {f"{registry.name_of(self.config.discriminator)} discriminator": self.critic.discriminator.smallest}
        if self.perceptual is not None:
            judges["perceptual loss"] = SMALLEST
        for judge, smallest in judges.items():
            if side < smallest:
                cure = f"raise data.patch and data.patch_lr so that every scale has {smallest}"
                raise BlindSRError(f"patches of {side} pixels are too small for the {judge}; {cure}")

    def terms(self, x: Tensor, true: Tensor, step: int) -> dict[str, Tensor]:
        """What the restorer's loss gains, weighted, for its pictures ``x`` (B, 3, H, W) of the ``true`` ones."""
        config = self.config
        terms: dict[str, Tensor] = {}
        with autocast(self.precision, x.device):
            if step >= config.start:
                judged = self.critic.judge(x, true, matching=self.perceptual is None and config.matching > 0)
                weights = {"adversarial": config.weight, "matching": config.matching}
                terms |= {name: weights[name] * value for name, value in judged.items()}
            if self.perceptual is not None:
                terms["perceptual"] = config.perceptual * self.perceptual(x, true)
        return terms

    def learn(self, x: Tensor, true: Tensor, factor: float) -> dict[str, float]:
        """One step of the critic, the learning rate times ``factor``; what there is to log of it. A step whose loss or
        gradient is not finite changes nothing and is counted."""
        for group in self.optimizer.param_groups:
            group["lr"] = factor * self.config.learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.precision, x.device):
            loss = self.engine(x, true)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.critic.parameters(), self.clip)
        # A logit may overflow and its gradient be finite; and the loss is this process's, they must decide alike.
        mean, broken = self.processes.means([loss, ~torch.isfinite(loss + norm)])
        if broken:
            self.skipped += 1
            return {"critic_skipped": self.skipped}
        self.optimizer.step()
        return {"critic": mean, "critic_skipped": self.skipped}

    def state(self) -> dict[str, Any]:
        optimizer = self.optimizer.state_dict()
        return {"critic": self.critic.state_dict(), "critic_optimizer": optimizer, "critic_skipped": self.skipped}

    def load(self, state: dict[str, Any]) -> None:
        """Take up a :meth:`state`. What was skipped since then stays counted, as steps are."""
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["critic_optimizer"])
        self.skipped = max(self.skipped, state.get("critic_skipped", 0))  # states of earlier versions do not say
