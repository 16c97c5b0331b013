"""Protocols: how a table of the field is made, to the last rounding, read from configs/benchmark/NAME.yaml.

A number without its protocol is worthless: between two readings of "PSNR at ×4" there may lie 2 dB. So everything
that moves a number is a field here, and :meth:`Protocol.describe` says all of it in one paragraph, which is printed
beside every table. :func:`blindsr.evaluation.formula.degrade` carries it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from blindsr import config
from blindsr.interfaces import SCALES, BlindSRError, Grid
from blindsr.limits import check_least, check_odd, check_rising


@dataclass(frozen=True)
class ImageSet:
    """Folders of one set, relative to the data folder; ``{scale}`` in them stands for the scale.

    ``hr`` holds the sharp photos (empty: there is no truth), ``lr`` low-resolution photos that are given (empty: they
    are made from the sharp ones), ``kernels`` the true kernel of each given photo. Files belong together whose names
    agree once the words of ``ignore`` are taken out of them: with ``[img_, im_, _gt]``, ``img_7_gt.png`` is the truth
    of ``im_7.png``.
    """

    name: str
    hr: str = ""
    lr: str = ""
    kernels: str = ""
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.hr or self.lr):
            raise ValueError("a set needs a folder: hr, or lr where low-resolution photos are given")
        if self.kernels and not self.lr:
            raise ValueError("kernels of single photos belong to given low-resolution photos: name the folder lr too")


@dataclass(frozen=True)
class Gaussians:
    """``count`` isotropic Gaussians of ``size`` × ``size``, their widths evenly over ``widths``, both ends included."""

    size: int
    widths: tuple[float, float]
    count: int

    def __post_init__(self) -> None:
        check_least(1, count=self.count)
        check_odd(size=self.size)
        check_rising(1e-3, widths=self.widths)


@dataclass(frozen=True)
class Setting:
    """One scale, its noise levels (0–255 scale) and its kernels.

    An entry of ``kernels`` is what the command line knows (:func:`blindsr.kernels.files.parse_kernel`), paths relative
    to the data folder; ``kernels_12.mat#1-12`` picks a range (called k1 to k12), ``*`` files (called as they are).
    ``gaussians`` is a row of them (``g1.80`` by its width). Without either there is no blur before the decimation.
    ``told`` names a kernel to tell the model instead of the exact one.
    """

    scale: int
    sigma_255: tuple[float, ...] = (0.0,)
    kernels: tuple[str, ...] = ()
    gaussians: Gaussians | None = None
    told: str = ""

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"scale is one of {', '.join(map(str, SCALES))}, not {self.scale}")
        if not self.sigma_255 or not all(0 <= s <= 255 for s in self.sigma_255):
            raise ValueError("sigma_255 is a list of noise levels between 0 and 255")


@dataclass(frozen=True)
class Group:
    """Kernels whose mean has a column of its own."""

    name: str
    kernels: tuple[str, ...]


@dataclass(frozen=True)
class PublishedRow:
    """Numbers that others published under this protocol: a value for each column, in their order, as far as known."""

    name: str
    scale: int
    psnr: tuple[float, ...]
    ssim: tuple[float, ...] = ()
    sigma_255: float = 0.0


def _border(value: Any, where: str) -> str | int:
    if value in ("s", "s**2") or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise config.ConfigError(f"{where}: {value!r} is neither s, s**2 nor a number of pixels")


OWN = ("psnr", "ssim", "niqe")  # metrics; any other is asked of pyiqa


@dataclass(frozen=True)
class Protocol:
    """What is degraded, how, and how the result is judged.

    * ``crop``: sharp photos to a multiple of lcm(s, 8) (``lcm8``) or of s (``scale``), from the upper left;
    * ``blur``: ``uint8`` convolves whole levels and truncates the result to whole levels, as
      ``scipy.ndimage.convolve`` does to an 8-bit array; ``float`` rounds nothing;
    * ``boundary``: ``wrap`` around, or ``reflect`` without repeating the edge;
    * ``decimation``: the upper-left pixel of every block (``corner``), or MATLAB's antialiased ``bicubic`` imresize;
    * ``seed`` of the noise, the same for every photo: numpy's legacy generator, drawn as (h, w, 3);
    * ``round_lr``: whether the low-resolution photo is rounded to 8 bits, as a file would be;
    * ``round_result``: whether the result is rounded to 8 bits before it is judged; it is clipped in any case;
    * ``colour`` and ``border`` of the score: RGB, or Y of BT.601; pixels left out, ``s``, ``s**2`` or a number;
    * ``grid``: where low-resolution pixels lie, ``corner`` or ``centre``;
    * ``flip_kernels``: whether files of given kernels are meant for correlation; ``centre_kernels``: whether they say
      nothing of the grid: each is then moved so that its centre of mass lies where the grid wants it;
    * ``metrics``: of psnr, ssim, niqe, and any that pyiqa knows; ``methods``: those that are run by default;
    * ``columns`` of the table: one for each ``kernel``, or for each ``set``; ``groups`` of kernels get a mean;
    * ``pictures``: of how many photos of each set pictures are kept, under ``pictured_kernels`` (empty: all).
    """

    description: str
    sets: tuple[ImageSet, ...]
    settings: tuple[Setting, ...]
    grid: Grid = "corner"
    crop: Literal["lcm8", "scale"] = "lcm8"
    blur: Literal["uint8", "float"] = "float"
    boundary: Literal["wrap", "reflect"] = "wrap"
    decimation: Literal["corner", "bicubic"] = "corner"
    seed: int = 0
    round_lr: bool = False
    round_result: bool = True
    colour: Literal["rgb", "y"] = "rgb"
    border: str | int = field(default="s**2", metadata={"parse": _border})
    flip_kernels: bool = False
    centre_kernels: bool = False
    metrics: tuple[str, ...] = ("psnr", "ssim")
    methods: tuple[str, ...] = ("bicubic", "oracle", "blind")
    columns: Literal["kernel", "set"] = "kernel"
    groups: tuple[Group, ...] = ()
    pictures: int = 2
    pictured_kernels: tuple[str, ...] = ()
    published: tuple[PublishedRow, ...] = ()

    def __post_init__(self) -> None:
        if not self.sets or not self.settings:
            raise ValueError("needs at least one of sets and one of settings")
        if not self.metrics:
            raise ValueError("metrics: name one at least, such as psnr")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is a whole number from 0 to {2**32 - 1}, not {self.seed}")
        check_least(0, pictures=self.pictures)
        if len({s.name for s in self.sets}) < len(self.sets) or len({s.scale for s in self.settings}) < len(
            self.settings
        ):
            raise ValueError("two sets of one name, or two settings of one scale")
        if len({bool(s.lr) for s in self.sets}) > 1:
            raise ValueError("either all sets have given low-resolution photos (lr), or none has")
        if self.given and any(s.kernels or s.gaussians or s.sigma_255 != (0.0,) for s in self.settings):
            raise ValueError("given low-resolution photos (lr) have their blur and noise: leave kernels and sigma out")
        if self.decimation == "bicubic" and self.grid == "corner" and not self.given:
            raise ValueError("bicubic decimation puts pixels on the centre grid; write 'grid: centre'")
        if not self.has_truth and (bad := {"psnr", "ssim"} & set(self.metrics)):
            raise ValueError(f"without truth (hr) there is no {' and no '.join(sorted(bad))}; write 'metrics: [niqe]'")

    @property
    def given(self) -> bool:
        """Whether the low-resolution photos are given."""
        return any(s.lr for s in self.sets)

    @property
    def has_truth(self) -> bool:
        return all(s.hr for s in self.sets)

    @property
    def knows_kernel(self) -> bool:
        """Whether every photo has a true kernel."""
        return all(s.kernels or not s.lr for s in self.sets)

    @property
    def rounds(self) -> bool:
        """Whether low-resolution photos that are made here hold whole levels of 8 bits, but for their noise."""
        return self.round_lr or (self.blur == "uint8" and self.decimation == "corner")

    def multiple(self, scale: int) -> int:
        """What the sides of a sharp photo are a multiple of, after the crop."""
        return math.lcm(scale, 8) if self.crop == "lcm8" else scale

    def border_pixels(self, scale: int) -> int:
        """High-resolution pixels on every side that the score leaves out."""
        return {"s": scale, "s**2": scale**2}.get(self.border, self.border)  # type: ignore[call-overload]

    def published_values(
        self, kernels: Mapping[int, Iterable[str]]
    ) -> Iterator[tuple[PublishedRow, str, dict[str, float]]]:
        """Row, metric, and column -> value. ``kernels`` are the names that every scale has, in their order."""
        for row in self.published:
            names = kernels.get(row.scale, ()) if self.columns == "kernel" else [s.name for s in self.sets]
            for metric, values in (("psnr", row.psnr), ("ssim", row.ssim)):
                if values:
                    yield row, metric, dict(zip(names, values))

    def describe(self) -> str:
        """The protocol in one readable paragraph."""
        parts = [" ".join(self.description.split()).rstrip(".") + "."]
        folders = ", ".join(s.lr or s.hr for s in self.sets)
        if self.given:
            parts.append(f"Low-resolution photos as given ({folders}), on the {self.grid} grid.")
        else:
            parts.append(f"Sharp photos ({folders}), {self._said_crop()}; {self._said_blur()}; {self._said_noise()}.")
        told = "the exact true kernel, the decimation's own filter folded in,"
        if self.decimation == "corner":
            told = "the true kernel"
        if self.centre_kernels:
            told = f"the kernel of its file, its centre of mass moved to the {self.grid} grid,"
        if any(s.told for s in self.settings):
            told = "the kernel " + ", ".join(f"{s.told} at ×{s.scale}" for s in self.settings if s.told)
        if self.knows_kernel:
            parts.append(f"Non-blind methods are told {told} and σ; blind ones nothing.")
        if self.rounds or self.given:
            parts.append("The model takes rounding to whole levels for noise: σ is at least 0.29 with 8 bits.")
        rounding = "rounded to 8 bits" if self.round_result else "clipped and not rounded"
        if self.has_truth:
            space = "RGB" if self.colour == "rgb" else "the Y channel (BT.601, 16–235)"
            border = {"s": "s", "s**2": "s²"}.get(self.border, self.border)  # type: ignore[call-overload]
            parts.append(f"Results are {rounding}; scores over {space} inside a border of {border} pixels.")
        else:
            parts.append(f"There is no truth: results are {rounding} and judged without reference.")
        if foreign := [m for m in self.metrics if m not in OWN]:
            parts.append(f"Of pyiqa: {', '.join(foreign)}, over RGB inside the border.")
        return " ".join(parts)

    def _said_crop(self) -> str:
        return "cropped to a multiple of " + ("lcm(s, 8)" if self.crop == "lcm8" else "s")

    def _said_blur(self) -> str:
        edge = "wrapping around" if self.boundary == "wrap" else "reflected at the border (edge not repeated)"
        precision = "on 8-bit values and truncated to them" if self.blur == "uint8" else "in floating point"
        kernels = []
        for s in self.settings:
            if g := s.gaussians:
                kernels.append(f"×{s.scale} {g.count} Gaussians {g.size}×{g.size} of width {g.widths[0]}–{g.widths[1]}")
            elif s.kernels:
                kernels.append(f"×{s.scale} {', '.join(s.kernels)}")
        if len({k.split(" ", 1)[1] for k in kernels}) == 1:
            kernels = [kernels[0].split(" ", 1)[1]]
        blurred = f"blurred {precision}, {edge} ({'; '.join(kernels)})" if kernels else "no blur"
        keep = "the upper-left pixel of every s×s block kept (corner grid)"
        return f"{blurred}; " + (keep if self.decimation == "corner" else "MATLAB's bicubic imresize (centre grid)")

    def _said_noise(self) -> str:
        rounding = f"low-resolution photos {'' if self.round_lr else 'not '}rounded{' to 8 bits' * self.round_lr}"
        if not any(any(s.sigma_255) for s in self.settings):
            return f"no noise; {rounding}"
        said = [", ".join(f"{v:g}" for v in s.sigma_255) + f" at ×{s.scale}" for s in self.settings]
        return f"Gaussian noise of σ {'; '.join(said)} (of 255; seed {self.seed} for every photo); {rounding}"


def load_protocol(name_or_path: str) -> tuple[str, Protocol]:
    """Name and protocol of a YAML file, or of the bare name of a shipped one in configs/benchmark.

    Raises BlindSRError (ConfigError), one line with the option and where it stands, for what it cannot use.
    """
    path: Path = config.find("benchmark", name_or_path)
    try:
        return path.stem, config.parse(Protocol, config.load(path, "benchmark"), path.stem)
    except BlindSRError as error:
        said = str(error)
        raise config.ConfigError(said if str(path) in said else f"{path}: {said}") from None
