"""What a step minimises, under the rules of its stage: one module, so that several processes can share it."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from blindsr.alternating import AlternatingSR
from blindsr.inference.machine import Precision, resolve_precision
from blindsr.interfaces import Batch, BlindSRError
from blindsr.ops.fourier import grid_shift
from blindsr.training.data import Source
from blindsr.training.losses import CUT, estimate_loss, restoration_loss
from blindsr.training.settings import TrainConfig


class Objective(nn.Module):
    """forward(batch, step) -> (loss, restored picture or None where none was made)."""

    def __init__(self, model: AlternatingSR, config: TrainConfig):
        super().__init__()
        self.model, self.config = model, config

    def forward(self, batch: Batch, step: int) -> tuple[Tensor, Tensor | None]:
        model, train, weights = self.model, set(self.config.train), self.config.loss
        with autocast(self.config.precision, batch.y.device):
            if train == {"initial"}:
                seen = batch.y if batch.context is None else batch.context
                first = model.first_estimate(seen, batch.scale)
                return estimate_loss(first, batch.k, batch.sigma, weights), None
            if not model.restorer.uses_kernel:
                result = model(batch.y, batch.scale)
            elif batch.k is not None and self._tells_kernel(step):
                result = model(batch.y, batch.scale, batch.k, batch.sigma)
            elif batch.found is not None:
                found = batch.found
                result = model(batch.y, batch.scale, found.kernel, found.sigma, doubt=found.doubt)
            else:
                first = None if batch.context is None else model.first_estimate(batch.context, batch.scale)
                shift = grid_shift(batch.grid, batch.scale)
                finish = weights.judges_pictures
                # Where every picture is given to the estimator as it is, the earlier ones teach by their own loss alone.
                learn_all = weights.earlier_image > 0 or model.config.detach not in ("image", "both")
                result = model(batch.y, batch.scale, shift=shift, first=first, finish=finish, learn_all=learn_all)
            return restoration_loss(result, batch, weights), result.x

    def _tells_kernel(self, step: int) -> bool:
        if not self.model.finds_kernel:
            return True
        return "restorer" in self.config.train and golden_draw(step) < self.config.true_kernel


def autocast(precision: Precision, device: torch.device):
    """The precision of the networks; FFTs and the data step stay in float32 by themselves."""
    low = resolve_precision(precision, device) == "bf16"
    return torch.autocast(device.type, torch.bfloat16) if low else nullcontext()


def golden_draw(step: int) -> float:
    """Evenly spread numbers in [0, 1): multiples of the golden ratio, so that shares hold over short stretches."""
    return (step * 0.6180339887498949) % 1.0


def uncounted_border(model: AlternatingSR, source: Source) -> int:
    """The most that :func:`~blindsr.training.losses.uncounted` says of a batch."""
    unknown = any(part.kernel_size is None for part in source.degradation.parts())
    return CUT if unknown and model.restorer.uses_kernel else 0


def check_sizes(config: TrainConfig, model: AlternatingSR, source: Source) -> None:
    """Kernels, basis, patches and scales must fit each other; better said now than in the first step."""
    restorer, data = model.restorer, config.data
    strange = sorted(set(data.scales) - set(restorer.scales))
    if "restorer" in config.train and strange:
        raise BlindSRError(
            f"the restorer has no scale {strange[0]}; set data.scales to some of {list(restorer.scales)}"
        )
    shown, border = data.validation_side, max(*(s**2 for s in data.scales), uncounted_border(model, source))
    if set(config.train) != {"initial"} and shown <= 2 * border:
        raise BlindSRError(f"nothing is left to judge of {shown} pixels inside a border of {border}; raise data.validation_patch")
    recorded = any(part.tells_estimates for part in source.degradation.parts())
    if recorded and (set(config.train) != {"restorer"} or not model.finds_kernel):
        raise BlindSRError("recorded estimates teach the restorer of a blind model alone; set train=[restorer]")
    sizes = [part.kernel_size for part in source.degradation.parts()]
    if not restorer.uses_kernel:
        return
    through_pictures = set(config.train) != {"initial"} and model.config.detach not in ("estimate", "both")
    if None in sizes and (not model.finds_kernel or not ("restorer" in config.train or through_pictures)):
        raise BlindSRError(f"training {config.train[0]} alone needs true kernels; leave the shuffled degradation out")
    basis = model.basis
    for size in filter(None, sizes):
        if basis is not None and basis.size != size:
            raise BlindSRError(f"the kernels drawn have {size} pixels a side, the basis {basis.size}; make them alike")
    size = max(s or 2 * CUT + 1 for s in sizes)
    patch = min(data.side(s) for s in data.scales)
    for pixels, option in ((patch, "data.patch"), (shown, "data.validation_patch")):
        if pixels < size:
            raise BlindSRError(f"patches of {pixels} pixels are smaller than the kernels, {size}; raise {option}")
