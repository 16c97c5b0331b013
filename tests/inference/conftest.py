"""What tests of the refining share: the shipped model, and a photo that closes on itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from blindsr import checkpoints, images

SAMPLE = Path(__file__).parents[2] / "docs" / "samples" / "harbour.png"


@pytest.fixture(scope="session")
def tiny():
    return checkpoints.load("tiny").model.eval()


@pytest.fixture(scope="session")
def mirrored() -> Callable[[int], torch.Tensor]:
    """mirrored(side): a corner of a sample photo beside its mirror images, (1, 3, 2·side, 2·side)."""

    def cut(side: int) -> torch.Tensor:
        x = torch.from_numpy(images.to_float(images.read(SAMPLE).pixels[:side, :side])).permute(2, 0, 1)[None]
        x = torch.cat([x, x.flip(-1)], dim=-1)
        return torch.cat([x, x.flip(-2)], dim=-2)

    return cut
