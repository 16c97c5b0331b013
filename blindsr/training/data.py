"""Training samples: sharp patches from photos, degraded on the fly.

Every sample is a pure function of the seed and its number, every batch of the seed and the step. So a resumed run sees
the very samples that an uninterrupted one would, without any state to save; N processes with batches of B see those
that one process sees with batches of N·B; and loader processes change nothing but the speed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, count
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from blindsr import images, registry
from blindsr.interfaces import Batch, BlindSRError, Degradation, Estimate
from blindsr.training.photos import Photos, open_photos
from blindsr.training.settings import DataConfig

# What is drawn for a batch, for a sample and for an epoch comes from streams of their own.
BATCH, SAMPLE, EPOCH = range(3)
TRIES = 100


def split(config: DataConfig, report=print) -> tuple[Photos, Photos]:
    """(training, validation) photos. Raises BlindSRError for missing or empty folders."""
    photos = open_photos(config.folders, config.exclude, report)
    n = len(photos)
    if n <= config.validation:
        raise BlindSRError(f"{n} photos are too few to hold back {config.validation} for validation; add "
                           "photos, or lower data.validation")  # fmt: skip
    held = {(2 * i + 1) * n // (2 * config.validation) for i in range(config.validation)}
    return photos.subset([i for i in range(n) if i not in held]), photos.subset(sorted(held))


class BatchSource:
    """``batch(step)``: the samples of that step for process ``rank`` of ``world``.

    Every epoch shows each photo once, in an order of its own, over all processes; the turn of a photo that cannot be
    read or is too small goes to another. A batch has one scale and, of a mixed degradation, one part.
    """

    prepared = Batch

    def __init__(self, config: DataConfig, photos: Photos, seed: int, rank: int = 0, world: int = 1):
        self.config, self.photos, self.seed, self.rank, self.world = config, photos, seed, rank, world
        self.degradation = registry.build(config.degradation)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))

    def prepare(self, step: int) -> Batch:
        """What loader processes do of :meth:`batch`: all of it."""
        return self.batch(step)

    def finish(self, made: Batch) -> Batch:
        """What is left to do with what :meth:`prepare` made: nothing."""
        return made

    def batch(self, step: int) -> Batch:
        rng, scale = self.shared(step)
        degradation = self.degradation.choose(rng)
        return collate([self._sample(number, scale, degradation) for number in self.numbers(step)])

    def shared(self, step: int) -> tuple[np.random.Generator, int]:
        """What all processes draw alike for a step: its scale, and the generator to go on with."""
        rng = np.random.default_rng((self.seed, BATCH, step))
        return rng, int(rng.choice(self.config.scales))

    def numbers(self, step: int) -> range:
        """The numbers of this process's samples of a step."""
        n = self.config.batch
        first = (step * self.world + self.rank) * n
        return range(first, first + n)

    def _sample(self, number: int, scale: int, degradation: Degradation) -> Batch:
        rng = np.random.default_rng((self.seed, SAMPLE, number))
        side, surround = self.config.side(scale), self.config.surround(scale)
        if degradation.margin(scale):  # what has no kernel cannot be made again for a smaller piece
            surround = side
        lost = 2 * degradation.margin(scale) * scale
        around = self.patch(number, surround + lost, rng)[None]
        if surround == side:
            return degradation.batch(around, scale, rng)
        # The patch is blurred by itself: circular as the model has it, not cut from a blurred photo.
        at = (surround - side) // 2
        x = around[..., at : at + side, at : at + side].contiguous()
        return degradation.batch(x, scale, rng, around)

    def photo(self, number: int) -> int:
        """Which photo sample ``number`` shows."""
        epoch, place = divmod(number, len(self.photos))
        if self._order[0] != epoch:
            order = np.random.default_rng((self.seed, EPOCH, epoch)).permutation(len(self.photos))
            self._order = (epoch, order)
        return int(self._order[1][place])

    def patch(self, number: int, side: int, rng: np.random.Generator) -> Tensor:
        """(3, side, side): a piece of the photo of sample ``number``, turned and mirrored at random.

        Raises BlindSRError where no photo is readable and large enough."""
        drawn = rng.integers(len(self.photos), size=TRIES)
        for index in chain([self.photo(number)], drawn, range(len(self.photos))):  # where few serve, chance may miss all
            size = self.photos.size(int(index))
            if size is None or min(size) < side:
                continue
            before = rng.bit_generator.state
            top, left = (int(rng.integers(n - side + 1)) for n in size)
            pixels = self.photos.patch(int(index), top, left, side)
            if pixels is None:  # the next time that is known beforehand, and nothing may hang on it
                rng.bit_generator.state = before
                continue
            patch = np.rot90(images.to_float(pixels), int(rng.integers(4)))
            if rng.random() < 0.5:
                patch = patch[:, ::-1]
            if self.config.gamma != (1.0, 1.0):
                patch = patch ** self.config.draw_gamma(rng, 1)
            return torch.from_numpy(np.ascontiguousarray(patch.transpose(2, 0, 1)))
        raise BlindSRError(f"no photo is readable and at least {side} pixels a side; {self.config.cure_of_size}")


def collate(samples: Sequence[Batch]) -> Batch:
    """One batch from samples of one scale and one kind."""

    def joined(parts: Sequence[Tensor | Estimate | None]) -> Tensor | Estimate | None:
        if isinstance(parts[0], Estimate):
            return Estimate(**{name: joined([getattr(part, name) for part in parts]) for name in vars(parts[0])})
        return None if parts[0] is None else torch.cat(list(parts))

    names = ("x", "y", "k", "sigma", "context", "found")
    return replace(samples[0], **{name: joined([getattr(sample, name) for sample in samples]) for name in names})


class Source(Protocol):
    """Batches by step. What loader processes can make ahead is ``prepare``, whose answer is of the class ``prepared``;
    ``finish`` makes the batch of it."""

    prepared: type
    degradation: Degradation

    @property
    def prepare(self) -> Callable[[int], Any]: ...

    def finish(self, made: Any) -> Batch: ...

    def batch(self, step: int) -> Batch: ...


class _Steps(Dataset):
    def __init__(self, prepare: Callable[[int], Any]):
        self.prepare = prepare

    def __getitem__(self, step: int) -> dict[str, Any] | BlindSRError:
        try:
            return vars(self.prepare(step))  # a mapping: the loader looks for tensors to pin in it
        except BlindSRError as error:  # one line; raised in a loader process it would arrive as a long traceback
            return error


def stream(source: Source, first: int, workers: int, pin: bool = False) -> Iterator[Batch]:
    """The batches of steps ``first``, ``first`` + 1, …, made ahead by ``workers`` processes (0: here, when asked). With
    ``pin`` those made ahead lie in page-locked memory, which a GPU copies from while it works."""
    if not workers:
        yield from map(source.batch, count(first))
    loader = DataLoader(
        _Steps(source.prepare),
        batch_size=None,
        sampler=count(first),
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_begin_worker,
    )
    batches = iter(loader)
    try:
        for made in batches:
            if isinstance(made, BlindSRError):
                raise made
            yield source.finish(source.prepared(**made))
    finally:
        batches._shutdown_workers()  # they heed no signal, and Python would wait for them at its end


@contextmanager
def killed_loaders_told() -> Iterator[None]:
    """A loader process that was killed becomes a BlindSRError: PyTorch raises an error of its own for it wherever the
    program may be, at the signal of the system."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        cure = "lower data.workers, data.batch or data.context; the same command goes on"
        raise BlindSRError(f"a loader process was killed, perhaps for want of memory; {cure}") from None


def _begin_worker(_: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # the trainer decides when to stop, and stops its loaders
        signal.signal(number, signal.SIG_IGN)
    # OpenCV keeps its threads: to set their number in a forked process waits forever where the parent has used some.


def validation_batches(config: DataConfig, photos: Photos, report=print) -> list[Batch]:
    """One batch per scale, and per part of a mixed degradation: the middles of the held-back photos under kernels and
    noise levels that are the same for every run, whatever its seed. Photos too small for that are told once."""
    side = config.validation_side
    batches = []
    asked: list[int] = []  # pixels a side
    for degradation in registry.build(config.degradation).parts():
        for scale in dict.fromkeys(config.scales):
            whole = side + 2 * degradation.margin(scale) * scale
            asked.append(whole)
            crops = [c for c in (middle(photos, i, whole) for i in range(len(photos))) if c is not None]
            if not crops:
                cure = "lower data.validation_patch"
                raise BlindSRError(f"no held-back photo is readable and at least {whole} pixels a side; {cure}")
            rng = np.random.default_rng((0, 1_000_000_007, scale))
            batches.append(degradation.batch(torch.from_numpy(np.stack(crops)), scale, rng))
    sizes = {i: photos.size(i) for i in range(len(photos))}
    small = [photos.name(i) for i, size in sizes.items() if size is not None and min(size) < max(asked)]
    if small:
        needed, names = " to ".join(str(n) for n in sorted({min(asked), max(asked)})), ", ".join(small)
        cure = "lower data.validation_patch to have them in"
        report(f"left out of validation, or of some scales, which take {needed} pixels a side: {names}; {cure}")
    return batches


def middle(photos: Photos, index: int, side: int) -> np.ndarray | None:
    """The middle ``side`` pixels of a photo as (3, side, side) float32; None when it is smaller or unreadable."""
    size = photos.size(index)
    if size is None or min(size) < side:
        return None
    top, left = ((n - side) // 2 for n in size)
    pixels = photos.patch(index, top, left, side)
    return None if pixels is None else images.to_float(pixels).transpose(2, 0, 1)
