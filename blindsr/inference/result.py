"""What a restoration answers, and how it is written to files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from blindsr import images
from blindsr.atomic import json_bytes, write_whole
from blindsr.inference.varying import KernelField
from blindsr.interfaces import BlindSRError, Grid
from blindsr.kernels.distance import kernel_risk
from blindsr.kernels.width import kernel_width

# People are told from these doubts on. Under the 12 kernels of USRNet (8 bits) a kernel that was found and refined costs, beside
# the true one, 0 to 1.2 dB below them at ×2 (68 photos of BSD68) and 0 to 0.7 at ×4, and 3.3 to 11.1 and 0.6 to 3.6 dB above
# (nine of ten pictures each).
DOUBTFUL = {1: 0.3, 2: 0.4, 3: 0.5, 4: 0.6}
# The share of the result outside the range of brightness that people are told of. With the true kernel 106 photos had 0.025 at
# most, with one that is 1.25 times too wide ten photos at ×2 0.001 to 0.16, at 1.5 times 0.02 to 0.5.
OVERSHOT = 0.04


@dataclass(frozen=True)
class Loop:
    """What one loop of the alternation restored with: ``kernel`` (h, w), ``sigma`` in [0, 1], and the ``doubt``, the
    relative error ‖k − k*‖/‖k*‖ that the estimator expects of its kernel (None where it does not judge itself)."""

    kernel: np.ndarray
    sigma: float
    doubt: float | None = None


@dataclass(frozen=True, repr=False)
class Restored:
    """A restored photo, or an estimate alone (then ``image`` and ``photo`` are None).

    ``image`` has the depth and the dimensions of the source, ``scale`` times larger; alpha, where there was
    any, is its last channel. ``photo`` is the same with alpha, profile and EXIF apart. ``kernel`` (h, w) sums
    to 1 and lies on the pixels of the result; on the centre grid it is the blur about a pixel's own
    centre, and was moved by ``shift`` pixels for the restoration. ``kernel_name`` is the word or file that it
    was asked for by ("array" for an array, None where it was found). ``sigma`` is in [0, 1]. ``loops`` holds
    the kernel and noise level of every loop, and of every round where the kernel was ``refined`` after; one when the
    kernel was given. A model that uses no kernel leaves
    ``kernel``, ``sigma`` and their sources None, ``loops`` empty, and ``shift`` and ``boundary`` without effect.
    ``field`` holds the kernels of the photo's parts where they were asked for; ``kernel`` is then that of its most
    textured part. ``overshoot`` is the share of the result's pixels that left the range of brightness by 2 % of it or
    more, before they were cut off: kernels that are too wide bring it about. It is None for an estimate alone, without a kernel,
    and for photos of which more than a tenth is black or white.
    """

    image: np.ndarray | None
    photo: images.Photo | None
    kernel: np.ndarray | None
    kernel_name: str | None
    sigma: float | None
    kernel_source: Literal["given", "estimated"] | None
    sigma_source: Literal["given", "estimated", "classical"] | None
    scale: int
    grid: Grid
    shift: float
    boundary: str
    precision: str
    device: str
    model: str
    tiles: int
    loops: tuple[Loop, ...]
    seconds: float
    source: str | None = None
    field: KernelField | None = None
    refined: bool = False
    overshoot: float | None = None

    def __repr__(self) -> str:
        """Without the arrays."""
        size = "no picture" if self.image is None else "×".join(map(str, self.image.shape))
        return f"<Restored: {size}, ×{self.scale} by {self.model}, {self.summary()}>"

    def record(self) -> dict[str, Any]:
        """Everything but the picture, JSON-ready; the noise level on the 0–255 scale. Without a kernel, nothing that
        speaks of one."""
        from blindsr import __version__

        found, handled, taps = {}, {}, {}
        if self.kernel is not None:
            found = {
                "sigma_255": round(255 * self.sigma, 4),
                "sigma_source": self.sigma_source,
                "kernel_source": self.kernel_source,
                "kernel_width": round(kernel_width(self.kernel), 4),
                **({} if self.risk is None else {"kernel_risk": round(self.risk, 4)}),
                "loops": [
                    {"sigma_255": round(255 * loop.sigma, 4), "kernel_width": round(kernel_width(loop.kernel), 4)}
                    | ({} if loop.doubt is None else {"kernel_doubt": round(loop.doubt, 4)})
                    for loop in self.loops
                ],
            }
            if self.overshoot is not None:
                found["overshoot"] = round(self.overshoot, 4)
            handled = {"boundary": self.boundary, "kernel": self.kernel_name, "kernel_shift": self.shift}
            if self.refined:
                handled["refined"] = True
            if self.field is not None:
                handled["per_tile"] = True
                rows = [[round(kernel_width(k), 3) for k in row] for row in self.field.kernels]
                found["kernel_widths"] = rows
                found["kernel_doubts"] = self.field.doubts.round(3).tolist()
            taps = {"kernel": [[round(float(v), 8) for v in row] for row in self.kernel]}
        return {
            **({"input": self.source} if self.source else {}),
            "scale": self.scale,
            "grid": self.grid,
            "model": self.model,
            **found,
            "settings": {
                **handled,
                "precision": self.precision,
                "device": self.device,
                "tiles": self.tiles,
            },
            "seconds": round(self.seconds, 3),
            "blindsr": __version__,
            **taps,  # last, for they are long
        }

    def summary(self) -> str:
        """One line for people."""
        if self.kernel is None:
            return f"restored without a kernel, {self.seconds:.1f} s"
        height, width = self.kernel.shape
        return (
            f"kernel {height}×{width} {self.kernel_source}, width {kernel_width(self.kernel):.2f}, "
            f"noise {255 * self.sigma:.1f} of 255 {_HOW[self.sigma_source]}, {self.seconds:.1f} s"
        )

    @property
    def doubt(self) -> float | None:
        """The relative error that the model expects of the kernel it found: near 0 it is sure, near 1 the kernel says
        nothing. None for a given kernel, and for models that do not judge themselves."""
        return self.loops[-1].doubt if self.loops and self.kernel_source == "estimated" else None

    @property
    def risk(self) -> float | None:
        """What not knowing the kernel may cost, as a number to compare results by: doubt / scale, for a wrong kernel costs
        most where least is to be invented. Its rank correlation with the loss in dB, beside the true kernel, was 0.74
        over the 68 photos of BSD68 under 12 kernels at ×2 and ×4 (the doubt alone: 0.68). None as for the doubt."""
        return None if self.doubt is None else kernel_risk(self.doubt, self.scale)

    def advice(self) -> str | None:
        """One line for people where the kernel may well be wrong, the one that was found or the one that was given, else
        None."""
        if self.kernel_source == "given" and (self.overshoot or 0) > OVERSHOT:
            or_else = "" if self.boundary == "reflect" else f" or borders that are not {self.boundary}"
            return (
                f"{100 * self.overshoot:.0f} % of the result left the range of brightness, as by a kernel wider than the blur"
                f"{or_else}; compare with a narrower one"
            )
        if self.doubt is None or self.doubt < DOUBTFUL[self.scale]:
            return None
        return (
            f"the blur was hardly found (expected error of the kernel {100 * self.doubt:.0f} %), and is trusted little; "
            "where you know the blur, restore with that kernel"
        )

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write the picture to ``path`` and :meth:`record` beside it, with the suffix .json; folders are made.

        Each file appears complete or not at all. Raises BlindSRError when one exists (without ``overwrite``),
        for a format that cannot hold the photo, and when the disk refuses.
        """
        path = Path(path)
        beside = path.with_suffix(".json")
        if self.photo is None:
            raise BlindSRError(f"{path}: there is no picture to save, only an estimate; use restore()")
        if beside.exists() and not overwrite:
            raise BlindSRError(f"{beside}: exists already; choose another name, or allow it to be replaced (--overwrite, overwrite=True)")
        images.write(path, self.photo, overwrite=overwrite)
        write_whole(beside, json_bytes(self.record()))


_HOW = {"given": "given", "estimated": "estimated", "classical": "estimated by colours or wavelets"}
