"""What a photo shows below the noise of 8 bits.

Wide blur leaves hardly any power to high frequencies, and how little says most exactly how wide it was. Photos of 8 bits do not
tell, their rounding covers it; photos of 16 bits or floating point without noise do, down to a millionth of that. So the
logarithms of that power, over rings and sectors of the spectrum, are read beside what the spectral estimator reads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from blindsr.estimators.perceptron import Standardise

FAINTEST = 1e-12  # power in a window, below which float32 leaves nothing sure
BETA = 12.0  # of Kaiser's window: its side lobes lie 90 dB below the main one, those of Hann's 31
RING = 1.5  # periods in a window
SECTORS = 4


class FaintPower(nn.Module):
    """Adds to what a perceptron's first layer answers; nothing at first, so that an estimator which was trained without it
    goes on from there."""

    taper: Tensor
    bins: Tensor

    def __init__(self, window: int, hidden: int):
        super().__init__()
        self.register_buffer("taper", kaiser(window), persistent=False)
        self.register_buffer("bins", rings_and_sectors(window), persistent=False)
        features = 3 * len(self.bins)
        self.standardise = Standardise(features)
        self.read = nn.Linear(features, hidden, bias=False)
        nn.init.zeros_(self.read.weight)
        self._register_load_state_dict_pre_hook(self._go_on)

    def features(self, spectra: Tensor) -> Tensor:
        """Log power (B, 3, n, n/2+1) -> means over the parts, relative to the photo's contrast, (B, 3·parts)."""
        means = spectra.flatten(2) @ self.bins.T
        contrast = means[:, :1, :1]  # the lowest frequencies of the first
        return ((means - contrast) / 4).flatten(1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, 3·parts) -> (B, hidden)."""
        return self.read(self.standardise(features))

    def _go_on(self, state: dict[str, Tensor], prefix: str, *_: object) -> None:
        """A state from before holds nothing of this."""
        if not any(name.startswith(prefix) for name in state):
            state.update({prefix + name: value for name, value in self.state_dict().items()})


def kaiser(n: int) -> Tensor:
    """Kaiser's window (n, n), of energy 1."""
    line = torch.kaiser_window(n, periodic=False, beta=BETA, dtype=torch.float64)
    taper = line.outer(line)
    return (taper / taper.square().sum().sqrt()).float()


def rings_and_sectors(n: int) -> Tensor:
    """Means over the parts of a half spectrum, (parts, n·(n/2+1)): rings from the lowest frequencies to the corners, the first
    whole and the others in sectors of equal angles, half a turn together. The mirrored and transposed spectrum has the
    same parts in another order."""
    rows, cols = torch.meshgrid(torch.fft.fftfreq(n) * n, torch.fft.rfftfreq(n) * n, indexing="ij")
    radius = torch.hypot(rows, cols)
    width = math.pi / SECTORS
    sector = torch.remainder((torch.atan2(rows, cols) + width / 2) / width, SECTORS).long()
    ring = ((radius - 1) / RING).floor().long()
    parts = [ring == 0]
    for number in range(1, int(ring.max()) + 1):
        parts += [(ring == number) & (sector == s) for s in range(SECTORS)]
    return torch.stack([part.flatten() / part.sum() for part in parts if part.any()])
