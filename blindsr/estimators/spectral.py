"""The first kernel and the noise level, from the spectrum of the low-resolution photo alone.

Natural pictures share their power spectrum |X|² on average, so that log|Y|² = log|X|² + log|K̂|² shows
the blur almost openly, aliases and noise floor included. Tapered windows (Welch, 1967) are averaged
over the photo in three ways and a small perceptron reads the result. It costs milliseconds and needs
no restoration. The spectrum has no phase: a kernel and its half-turn look alike; the estimator that
sees edges (:mod:`blindsr.estimators.dan`) corrects that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from blindsr.estimators.perceptron import Standardise, perceptron
from blindsr.estimators.quiet import FAINTEST, QUIET, QuietLayers, square
from blindsr.interfaces import SCALES, Estimate, Estimator
from blindsr.limits import check_least, check_odd
from blindsr.ops.filtering import luma
from blindsr.registry import register

VIEWS = ((False, False), (True, False), (False, True), (True, True))  # flipped, transposed
FLOOR = 1e-5  # power that rounding to 8 bits leaves in a window, so that the logarithm stays calm


@dataclass(frozen=True)
class SpectralConfig:
    """``window`` pixels a side, at most ``max_windows`` per photo. The ``head`` answers a code of length
    ``code`` (pca) or a kernel of ``size`` pixels a side (softmax: always a valid PSF, and a Gaussian is a
    mere quadratic in its logits). ``quiet``: photos with hardly any noise are read by layers of
    their own (:mod:`blindsr.estimators.quiet`)."""

    head: Literal["pca", "softmax"] = "pca"
    code: int = 64
    size: int = 25
    window: int = 32
    hidden: int = 384
    max_windows: int = 4096
    quiet: bool = False

    def __post_init__(self) -> None:
        check_odd(size=self.size)
        check_least(1, code=self.code, hidden=self.hidden, max_windows=self.max_windows)
        check_least(8, window=self.window)


class Seen(NamedTuple):
    """What the perceptron reads: ``features`` (B, n), and those that are for
    :class:`~blindsr.estimators.quiet.QuietLayers` (B, m), where these are fitted."""

    features: Tensor
    faint: Tensor | None


@register("estimator", "spectral", SpectralConfig)
class SpectralEstimator(Estimator):
    """``y`` (B, 3, H, W) of any size; small ones are mirrored up to one window."""

    def __init__(self, config: SpectralConfig = SpectralConfig(), others: int = 0):
        """``others``: how many further features :meth:`others` answers."""
        super().__init__()
        self.config = config
        if config.head == "pca":
            self.code_length = config.code
        else:
            self.kernel_size = config.size
        n = config.window
        self.register_buffer("taper", square(torch.hann_window(n, periodic=False, dtype=torch.float64)))
        features = 3 * n * (n // 2 + 1) + 1 + len(SCALES)
        self.standardise = Standardise(features - len(SCALES))
        answered = (config.code if config.head == "pca" else config.size**2) + 2
        self.mlp = perceptron(features + others, config.hidden, answered)
        self.quiet = QuietLayers(n, config.hidden, answered) if config.quiet else None
        if config.head == "softmax":
            with torch.no_grad():  # start from a Gaussian of width 2
                at = torch.arange(config.size) - config.size // 2
                self.mlp[-1].bias[:-2] = -(at[:, None] ** 2 + at**2).flatten() / 8

    def windows(self, y: Tensor) -> Tensor:
        """Windows of the brightness of ``y``, half overlapping, less their means: (B, windows, n, n)."""
        n = self.config.window
        windows = pad_to(luma(y), n).unfold(2, n, n // 2).unfold(3, n, n // 2).flatten(1, 3)
        stride = -(-windows.shape[1] // self.config.max_windows)
        windows = windows[:, ::stride]
        return windows - windows.mean((-2, -1), keepdim=True)

    def spectra(self, windows: Tensor) -> Tensor:
        """The :func:`log_power` of ``windows``, (B, 3, n, n/2+1)."""
        return log_power(windows, self.taper, FLOOR)

    def features(self, spectra: Tensor) -> Tensor:
        """(B, 3·n·(n/2+1) + 1): the spectra, each relative to the photo's contrast, which is the last feature."""
        contrast = spectra[:, 0, 1:3, 1:3].mean((-2, -1))
        relative = (spectra - contrast[:, None, None, None]) / 4
        return torch.cat([relative.flatten(1), contrast[:, None] / 4], dim=1)

    def others(self, y: Tensor, which: Tensor) -> tuple[Tensor, ...]:
        """Further features (B, n) of ``y``, under the scale's one-hot code ``which`` (1, scales): here none."""
        return ()

    def forward(
        self,
        x: Tensor | None,
        y: Tensor,
        scale: int,
        previous: Estimate | None = None,
        shift: float = 0.0,
        margin: int = 0,
    ) -> Estimate:
        """Looks at ``y`` and ``scale`` alone; neither a spectrum nor edges of unknown place tell a shift.

        When it does not learn, a ``softmax`` head looks four times, at the photo as it is, mirrored, transposed and
        both, and answers the geometric mean of the kernels turned back (self-ensemble: Timofte, Rothe, Van Gool, "Seven Ways
        to Improve Example-Based Single Image Super Resolution", CVPR 2016)."""
        learning = self.training and self.mlp[-1].weight.requires_grad
        if learning and self.quiet is not None:
            self.quiet.fitted.zero_()
        views = VIEWS if self.config.head == "softmax" and not learning else VIEWS[:1]
        return self.estimate(self.look(y, scale, views))

    def look(self, y: Tensor, scale: int, views: Sequence[tuple[bool, bool]] = VIEWS[:1]) -> list[Seen]:
        """What there is to read of ``y`` (B, 3, H, W), in each of ``views``."""
        with torch.autocast(y.device.type, enabled=False):
            which = F.one_hot(torch.tensor([SCALES.index(scale)], device=y.device), len(SCALES)).to(y.dtype)
            windows = self.windows(y)
            spectra = self.spectra(windows)
            fitted = self.quiet is not None and bool(self.quiet.fitted)
            deep = log_power(windows, self.quiet.taper, FAINTEST) if fitted else None
        seen = []
        for view in views:
            others = self.others(picture_as(y, *view), which)
            with torch.autocast(y.device.type, enabled=False):
                standard = self.standardise(self.features(seen_as(spectra, *view)))
                features = torch.cat([standard, which.expand(len(y), -1), *others], dim=1)
                seen.append(Seen(features, None if deep is None else self.quiet.features(seen_as(deep, *view))))
        return seen

    def estimate(self, seen: Sequence[Seen]) -> Estimate:
        """What the perceptron makes of one photo, or of a batch, ``seen`` in the first of :data:`VIEWS`."""
        outs = []
        for features, faint in seen:
            with torch.autocast(features.device.type, enabled=False):
                first = self.mlp[0](features)
                out = self.mlp[1:](first)
                if faint is not None:
                    out = torch.where(sigma_of(out)[:, None] < QUIET, self.quiet(first, faint), out)
                outs.append(out)
        sigma = torch.stack([sigma_of(out) for out in outs]).mean(0)
        doubt = torch.stack([F.softplus(out[:, -1]) for out in outs]).mean(0)
        if self.config.head == "pca":
            return Estimate(outs[0][:, :-2], sigma, doubt=doubt)
        size = self.config.size
        logits = [turned_back(out[:, :-2].view(-1, 1, size, size), *view) for out, view in zip(outs, VIEWS)]
        mean = torch.stack(logits).mean(0).flatten(1).softmax(1)
        return Estimate(None, sigma, mean.view(-1, 1, size, size), doubt)


def sigma_of(out: Tensor) -> Tensor:
    """The noise level (B,) in what a perceptron answers."""
    return F.softplus(out[:, -2]) * 0.1


def log_power(windows: Tensor, taper: Tensor, floor: float) -> Tensor:
    """Logarithms of the power of ``windows`` (B, windows, n, n), averaged in three ways, (B, 3, n, n/2+1): weighted by texture,
    in the log, weighted by flatness. ``floor`` is added to every power."""
    power = torch.fft.rfft2(windows * taper).abs().square() + floor
    energy = power.mean((-2, -1), keepdim=True)
    textured = (power * energy).sum(1) / energy.sum(1)
    flat = (power / energy).sum(1) / (1 / energy).sum(1)
    return torch.stack([textured.log(), power.log().mean(1), flat.log()], dim=1)


def picture_as(y: Tensor, flip: bool, transpose: bool) -> Tensor:
    """``y`` (…, H, W) flipped left to right, and then transposed."""
    y = y.flip(-1) if flip else y
    return y.transpose(-2, -1) if transpose else y


def seen_as(spectra: Tensor, flip: bool, transpose: bool) -> Tensor:
    """The power spectra (…, n, n/2+1) of the pictures flipped left to right, and then transposed."""
    n = spectra.shape[-2]
    mirrored = spectra[..., -torch.arange(n, device=spectra.device) % n, :]  # power at (−u, v) is that at (u, −v)
    spectra, other = (mirrored, spectra) if flip else (spectra, mirrored)
    if not transpose:
        return spectra
    whole = torch.cat([spectra, other[..., 1 : n // 2].flip(-1)], dim=-1)  # (n, n): v from n/2 + 1 on is −v
    return whole.transpose(-2, -1)[..., : n // 2 + 1]


def turned_back(k: Tensor, flip: bool, transpose: bool) -> Tensor:
    """A kernel (…, h, w) of pictures that were flipped left to right and then transposed, as one of the pictures."""
    k = k.transpose(-2, -1) if transpose else k
    return k.flip(-1) if flip else k


def pad_to(y: Tensor, size: int) -> Tensor:
    """Mirror an image that is smaller than ``size`` until it is not."""
    while min(y.shape[-2:]) < size:
        bottom = min(max(size - y.shape[-2], 0), y.shape[-2])
        right = min(max(size - y.shape[-1], 0), y.shape[-1])
        y = torch.cat([y, y[..., y.shape[-2] - bottom :, :].flip(-2)], dim=-2)
        y = torch.cat([y, y[..., :, y.shape[-1] - right :].flip(-1)], dim=-1)
    return y
