"""What ``restore`` and ``estimate`` do with the machine and the model."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from blindsr.inference.facade import BlindSR


def load_model(arguments: argparse.Namespace) -> BlindSR:
    """The model of ``--model`` on ``--device``, with ``--threads`` set; each process of a machine on its own GPU."""
    import torch

    from blindsr.inference.facade import BlindSR
    from blindsr.inference.machine import choose_device

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device, own=True)
    return BlindSR.from_pretrained(arguments.model, str(device), arguments.precision, arguments.compile)


class TileBar:
    """A second bar for a photo that takes several tiles: call it with (done, total)."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None

    def __enter__(self) -> TileBar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None and total > 1:
            self.bar = tqdm(total=total, unit="tile", leave=False, disable=None, file=sys.stderr, dynamic_ncols=True)
        if self.bar is not None:
            self.bar.total = total  # that of a blur's cells is another than that of tiles
            self.bar.update(done - self.bar.n)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
