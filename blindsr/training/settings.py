"""What a training configuration may say. Every stage is a file in configs/train/, not a code path."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from blindsr import registry
from blindsr.alternating import AlternatingConfig
from blindsr.interfaces import SCALES
from blindsr.limits import check_least, check_shares, check_some
from blindsr.training.adversarial import AdversarialConfig
from blindsr.training.watch import WatchConfig

PARTS = ("restorer", "initial", "estimator")


@dataclass(frozen=True)
class DataConfig:
    """``folders`` of sharp photos of any size, or stores that ``blindsr pack`` made, without those whose names match
    a pattern in ``exclude`` (``*`` and ``?`` allowed). ``validation`` of them, evenly spaced, are held back; of each
    the middle ``validation_patch`` pixels serve. A batch has ``batch`` samples of one scale, and of ``scales`` one that
    stands there twice is drawn twice as often; the side of a sample is ``patch`` high-resolution pixels, or
    ``patch_lr`` low-resolution ones where that is smaller. With ``context`` above 0 the first estimate is made from
    that many high-resolution pixels around the patch (or ``context_lr`` low-resolution ones) under the same kernel and
    noise level, as it is from a whole photo in use. Every sample is raised to a power drawn from ``gamma``, which spares
    a large network from knowing few photos by heart. ``workers`` processes make the batches ahead (0: none, the trainer
    makes them itself). With ``resident`` the photos lie on the device and classical degradations are made there."""

    folders: tuple[str, ...]
    degradation: Any = field(metadata={"parse": registry.parse_component("degradation")})
    exclude: tuple[str, ...] = ()
    validation: int = 10
    validation_patch: int = 192
    scales: tuple[int, ...] = SCALES
    batch: int = 16
    patch: int = 72
    patch_lr: int = 10_000
    context: int = 0
    context_lr: int = 112
    gamma: tuple[float, float] = (1.0, 1.0)
    workers: int = 1
    resident: bool = False

    def __post_init__(self) -> None:
        check_some(SCALES, scales=self.scales)
        if self.validation < 1 or self.validation_patch < 32:
            raise ValueError("validation must be at least 1 and validation_patch at least 32")
        if self.batch < 1 or self.patch < 16 or self.patch_lr < 4:
            raise ValueError("batch must be at least 1, patch at least 16 and patch_lr at least 4")
        if self.workers < 0:
            raise ValueError("workers may not be negative")
        if not 0 < self.gamma[0] <= self.gamma[1]:
            raise ValueError(f"gamma must be two rising powers above 0, not {list(self.gamma)}")
        if self.context and any(self.surround(s) < self.side(s) for s in self.scales):
            raise ValueError("context must be at least as large as the patch, or 0")

    @property
    def cure_of_size(self) -> str:
        """What helps where no photo is large enough for a sample."""
        return "lower data.context or data.patch" if self.context else "lower data.patch"

    def draw_gamma(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """``n`` powers, log-uniform in ``gamma``, float32."""
        return np.exp(rng.uniform(*np.log(self.gamma), n)).astype(np.float32)

    @property
    def validation_side(self) -> int:
        """Side of what validation looks at: a multiple of every scale."""
        return self.validation_patch // 12 * 12

    def side(self, scale: int) -> int:
        """Side of the high-resolution patch: a multiple of ``scale``."""
        return min(self.patch // scale, self.patch_lr) * scale

    def surround(self, scale: int) -> int:
        """Side in high-resolution pixels of what the first estimate sees: a multiple of ``scale``."""
        return min(self.context // scale, self.context_lr) * scale if self.context else self.side(scale)


@dataclass(frozen=True)
class LossConfig:
    """Weights: L1 on the image and, of every sample, the decibels that its PSNR falls short of 70; relative L2 on the
    kernel, L1 on σ and on the doubt; in loops before the last the image counts ``earlier_image`` as much (0: nothing is
    learned from it, which saves time) and the rest ``earlier``. What is nearly right already hardly counts in L1; in
    decibels it counts like all else."""

    image: float = 1.0
    psnr: float = 0.0
    kernel: float = 0.05
    sigma: float = 0.5
    doubt: float = 0.05
    earlier: float = 0.3
    earlier_image: float = 0.3

    def __post_init__(self) -> None:
        check_least(0, **vars(self))
        if not any(vars(self).values()):
            raise ValueError("every weight is 0: nothing would be learned")

    @property
    def judges_pictures(self) -> bool:
        """Whether restored pictures count, and not the estimates alone."""
        return self.image + self.psnr > 0


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam. Gradients are clipped to the norm ``clip`` (0: not at all)."""

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0

    def __post_init__(self) -> None:
        check_least(0, clip=self.clip)
        if not self.learning_rate > 0 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("learning_rate must be above 0, betas from 0 to below 1")


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over the run: ``iterations`` steps, or ``minutes`` of work when that is not 0.

    ``cosine`` falls to ``final`` of the start; ``step`` halves at the given ``milestones``, fractions of
    the run. Both rise linearly over the first ``warmup`` steps.
    """

    kind: Literal["cosine", "step"] = "cosine"
    iterations: int = 10_000
    minutes: float = 0.0
    warmup: int = 100
    final: float = 0.01
    milestones: tuple[float, ...] = (0.5, 0.75, 0.9)

    def __post_init__(self) -> None:
        check_least(1, iterations=self.iterations)
        check_least(0, minutes=self.minutes, warmup=self.warmup)
        check_shares(final=self.final)

    def progress(self, step: int, seconds: float) -> float:
        """How much of the run is done, 0 to 1, after so many steps, and seconds of work."""
        return seconds / (60 * self.minutes) if self.minutes else step / self.iterations

    def factor(self, progress: float, step: int) -> float:
        """What the learning rate is multiplied by, at ``progress`` of the run."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        if self.kind == "step":
            return warm * 0.5 ** sum(progress >= m for m in self.milestones)
        return warm * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


@dataclass(frozen=True)
class TrainConfig:
    """One stage. ``train`` names the parts that learn: of restorer, initial, estimator.

    A model that finds no kernel is trained with true kernels, the initial estimator alone without any restorer;
    anything else runs the alternation, and where the restorer learns it is given true kernels in a
    ``true_kernel`` share of the steps. Weights whose names begin with one of ``rest`` do not learn: ``restorer.prior``
    leaves a restorer its hyper-parameters.
    ``start_from`` lists checkpoints whose trained parts give the starting weights. With ``adversarial`` a
    discriminator learns beside the restorer. ``batch`` is that of one process. ``graphs`` records the steps of a
    restorer that learns alone as CUDA graphs, which makes those of a small network somewhat faster. ``precision`` is that
    of the networks: ``auto`` is bf16 where the device has it in hardware, else fp32, which is twice as fast there.
    """

    model: AlternatingConfig
    data: DataConfig
    train: tuple[str, ...]
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    adversarial: AdversarialConfig | None = None
    watch: WatchConfig = WatchConfig()
    start_from: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    true_kernel: float = 0.25
    ema: float = 0.999
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    graphs: bool = False
    device: str = "auto"
    tensorboard: bool = False
    seed: int = 0
    log_every: int = 20
    validate_every: int = 1000
    save_every: int = 200

    def __post_init__(self) -> None:
        for part in self.train:
            if part not in PARTS:
                raise ValueError(f"train: no part is called {part!r}; known are {', '.join(PARTS)}")
            if getattr(self.model, part) is None:
                raise ValueError(f"train: the model has no {part}")
        if min(self.log_every, self.validate_every, self.save_every) < 1:
            raise ValueError("log_every, validate_every and save_every must be at least 1")
        if self.seed < 0 or not 0 <= self.ema < 1:
            raise ValueError("seed may not be negative, ema must be from 0 to below 1")
        check_shares(true_kernel=self.true_kernel)
        if "restorer" in self.train and not self.loss.judges_pictures:
            raise ValueError("loss.image or loss.psnr must be above 0 where the restorer learns")
        if not self.train:
            raise ValueError("train: name at least one part that learns")
        if self.adversarial and "restorer" not in self.train:
            raise ValueError("adversarial: the restorer must be among the parts that learn")
