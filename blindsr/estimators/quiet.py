"""Photos with hardly any noise, read by layers of their own.

Wide blur leaves hardly any power to high frequencies, and how little says most exactly how wide it was. Photos of 8 bits do not
tell all of it, their rounding covers it; photos of 16 bits or floating point without noise do, down to a millionth of that. So
what a perceptron takes for a quiet photo is read again, from its first layer and from the logarithms of such faint power over
rings and sectors of the spectrum. What was learned of noise is not touched by what is learned of its absence.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from blindsr.estimators.perceptron import Standardise, later_layers

QUIET = 1.0 / 255  # a noise level
FAINTEST = 1e-12  # power in a window, below which float32 leaves nothing sure
BETA = 12.0  # of Kaiser's window: its side lobes lie 90 dB below the main one, those of Hann's 31
RING = 1.5  # periods in a window
SECTORS = 4


class QuietLayers(nn.Module):
    """Stands in for all layers but the first of a perceptron of ``hidden`` units that gives ``outputs``.

    It is of use once it was ``fitted`` to that first layer (scripts/fit_quiet.py), and no more when the perceptron has
    learned on."""

    taper: Tensor
    bins: Tensor
    fitted: Tensor

    def __init__(self, window: int, hidden: int, outputs: int):
        super().__init__()
        self.register_buffer("taper", kaiser(window), persistent=False)
        self.register_buffer("bins", rings_and_sectors(window), persistent=False)
        self.register_buffer("fitted", torch.zeros(()))
        features = 3 * len(self.bins)
        self.standardise = Standardise(features)
        self.read = nn.Linear(features, hidden, bias=False)
        self.rest = nn.Sequential(*later_layers(hidden, outputs))
        self._register_load_state_dict_pre_hook(self._go_on)

    def features(self, spectra: Tensor) -> Tensor:
        """Log power (B, 3, n, n/2+1) -> means over the parts, relative to the photo's contrast, (B, 3·parts)."""
        means = spectra.flatten(2) @ self.bins.T
        contrast = means[:, :1, :1]  # the lowest frequencies of the first
        return ((means - contrast) / 4).flatten(1)

    def forward(self, first: Tensor, features: Tensor) -> Tensor:
        """What the perceptron's first layer answers (B, hidden), and (B, 3·parts) -> (B, outputs)."""
        return self.rest(first + self.read(self.standardise(features)))

    @torch.no_grad()
    def begin_as(self, perceptron: nn.Sequential) -> None:
        """Answer what ``perceptron`` does, to learn from there."""
        for mine, theirs in zip(self.rest.parameters(), perceptron[1:].parameters(), strict=True):
            mine.copy_(theirs)
        self.read.weight.zero_()
        self.standardise.seen.zero_()

    def _go_on(self, state: dict[str, Tensor], prefix: str, *_: object) -> None:
        """A state from before holds nothing of this."""
        if not any(name.startswith(prefix) for name in state):
            state.update({prefix + name: value for name, value in self.state_dict().items()})


def kaiser(n: int) -> Tensor:
    """Kaiser's window (n, n), of energy 1."""
    return square(torch.kaiser_window(n, periodic=False, beta=BETA, dtype=torch.float64))


def square(line: Tensor) -> Tensor:
    """The window (n, n) of one of n values in float64, of energy 1, in float32."""
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
