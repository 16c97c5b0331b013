"""Cases: one photo under one blur and one noise level, made as the protocol says or read from files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy.ndimage
import scipy.signal
import torch
from torch import Tensor

from blindsr import images
from blindsr.evaluation.protocol import ImageSet, Protocol, Setting
from blindsr.interfaces import BlindSRError, Degraded, Grid
from blindsr.kernels.bicubic import bicubic_kernel
from blindsr.kernels.files import SUFFIXES, parse_kernel
from blindsr.kernels.gaussian import gaussian
from blindsr.ops.filtering import blur
from blindsr.ops.resize import bicubic_shrink


@dataclass(frozen=True)
class Kernel:
    """A blur kernel (h, w) and its name; ``told`` is what the model is told instead of the exact one, if anything."""

    name: str
    array: np.ndarray
    told: np.ndarray | None = None


@dataclass(frozen=True)
class CaseSpec:
    """Where a case comes from: the files, and what is done to them. ``kernel`` is None where files give or lack it."""

    set_name: str
    image: str
    hr: Path | None
    lr: Path | None
    kernel_file: Path | None
    scale: int
    sigma_255: float
    kernel: Kernel | None
    others: tuple[Kernel, ...] = ()
    aliases: tuple[str, ...] = ()
    pictured: bool = False

    @property
    def kernel_name(self) -> str:
        if self.kernel is not None:
            return self.kernel.name
        return "given" if self.kernel_file else "unknown"

    @property
    def name(self) -> str:
        """``IMAGE_xSCALE_KERNEL_sSIGMA``: the name of its pictures, and of result files of other programs."""
        return f"{self.image}_x{self.scale}_{self.kernel_name}_s{self.sigma_255:g}"


@dataclass(frozen=True)
class Case:
    """What a method gets. ``y`` (1, 3, h, w) float32; ``x`` (1, 3, s·h, s·w), the truth, or None; ``k`` (1, 1, kh, kw),
    the kernel to tell a model on the corner grid (it holds the offset of a centre grid), or None; ``sigma`` (1,) in
    [0, 1]; ``others`` are the other kernels of the protocol; ``circular`` says that the blur wrapped around."""

    spec: CaseSpec
    y: Tensor
    x: Tensor | None
    k: Tensor | None
    sigma: Tensor
    grid: Grid
    circular: bool
    others: tuple[Tensor, ...] = ()
    note: str = field(default="", compare=False)

    @property
    def scale(self) -> int:
        return self.spec.scale

    def to(self, device: torch.device) -> Case:
        moved = {name: v.to(device) for name, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved, others=tuple(k.to(device) for k in self.others))


# -- the formula, played forward -----------------------------------------------------------------------------


def degrade(hr: np.ndarray, kernel: np.ndarray, scale: int, sigma_255: float, protocol: Protocol) -> Degraded:
    """The low-resolution photo that ``protocol`` makes of ``hr`` (H, W, 3) uint8 or uint16.

    ``kernel`` (h, w) is the blur before the decimation. In the answer ``kernel`` explains all of it, the filter of
    a bicubic decimation folded in, so that ``(x ⊗ k)↓s`` is the photo; ``hr`` is cropped; ``sigma`` is in [0, 1].
    Raises BlindSRError for a photo smaller than the kernel or the crop, and for negative taps on 8-bit values.
    """
    multiple = protocol.multiple(scale)
    height, width = (n // multiple * multiple for n in hr.shape[:2])
    folded = true_kernel(kernel, scale, protocol)
    if not height * width or max(folded.shape) > min(height, width):
        sides = f"{hr.shape[1]}×{hr.shape[0]}"
        raise BlindSRError(f"a photo of {sides} is too small for ×{scale} and the {folded.shape[0]}×{folded.shape[1]} "
                           "kernel of this protocol; use larger photos")  # fmt: skip
    hr = hr[:height, :width]
    if protocol.blur == "uint8":
        blurred = _blur_levels(hr, kernel, protocol.boundary)
    else:
        blurred = _blur_float(_as_float64(hr), kernel, protocol.boundary)
    if protocol.decimation == "corner":
        lr = blurred[::scale, ::scale]
    else:
        lr = bicubic_shrink(torch.from_numpy(_as_float64(blurred).transpose(2, 0, 1).copy()), scale)
        lr = lr.numpy().transpose(1, 2, 0)
    lr = _as_float64(lr).astype(np.float32)
    if sigma_255:
        noise = np.random.RandomState(protocol.seed).normal(0, sigma_255 / 255, lr.shape)
        lr = (lr + noise).astype(np.float32)
    if protocol.round_lr:
        lr = images.to_float(images.from_float(lr, np.uint8))
    record = {"scale": scale, "sigma_255": sigma_255, "seed": protocol.seed}
    return Degraded(lr, _as_float64(hr).astype(np.float32), folded, sigma_255 / 255, protocol.grid, record)


def true_kernel(kernel: np.ndarray, scale: int, protocol: Protocol) -> np.ndarray:
    """``kernel`` (h, w), convolved with the filter that a bicubic decimation amounts to: (h + 24, w + 24)."""
    if protocol.decimation == "corner":
        return kernel
    return scipy.signal.convolve2d(kernel, bicubic_kernel(scale))


def _as_float64(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype.kind == "f" else pixels / float(np.iinfo(pixels.dtype).max)


def _blur_levels(hr: np.ndarray, kernel: np.ndarray, boundary: str) -> np.ndarray:
    """On whole levels of 8 bits; the output is of the same type, which cuts the fraction off."""
    if kernel.min() < 0:
        raise BlindSRError("a kernel with negative taps cannot blur 8-bit values: choose 'blur: float'")
    if hr.dtype == np.uint16:
        hr = np.rint(hr / 257).astype(np.uint8)
    mode = {"wrap": "wrap", "reflect": "mirror"}[boundary]
    return scipy.ndimage.convolve(hr, kernel[..., None], mode=mode)


def _blur_float(hr: np.ndarray, kernel: np.ndarray, boundary: str) -> np.ndarray:
    if kernel.size == 1:
        return hr
    x = torch.from_numpy(np.ascontiguousarray(hr.transpose(2, 0, 1)))[None]
    k = torch.from_numpy(np.array(kernel, np.float64))[None, None]
    return blur(x, k, "circular" if boundary == "wrap" else "reflect")[0].numpy().transpose(1, 2, 0)


# -- kernels of a setting ------------------------------------------------------------------------------------


def kernels_of(setting: Setting, data: Path) -> list[Kernel]:
    """The kernels of one scale; a single Dirac called ``none`` where there is no blur before the decimation.

    Raises BlindSRError for files and words that give none, and for two of one name.
    """
    told = parse_kernel(str(data / setting.told), setting.scale) if setting.told else None
    found = [(name, parse_kernel(text, setting.scale)) for name, text in _named(setting.kernels, data)]
    if row := setting.gaussians:
        widths = np.linspace(*row.widths, row.count)
        found += [(f"g{width:.2f}", gaussian(row.size, float(width))) for width in widths]
    kernels = [Kernel(name, array, told) for name, array in found or [("none", np.ones((1, 1)))]]
    names = [k.name for k in kernels]
    if double := {name for name in names if names.count(name) > 1}:
        raise BlindSRError(f"two kernels are called {double.pop()}; list each once")
    return kernels


def _named(entries: Sequence[str], data: Path) -> list[tuple[str, str]]:
    """Name of every kernel, and the text that the command line would know it by."""
    named = []
    for entry in entries:
        file, _, numbers = entry.partition("#")
        if Path(file).suffix.lower() not in SUFFIXES:
            named.append((re.sub(r"[^\w.-]+", "", entry), entry))
            continue
        paths = sorted(data.glob(file)) if "*" in file else [data / file]
        if not paths:
            raise BlindSRError(f"{data / file}: no kernel file of that name; check --data")
        first, _, last = numbers.partition("-")
        for path in paths:
            picked = range(int(first), int(last or first) + 1) if numbers else []
            named += [(f"k{n}", f"{path}#{n}") for n in picked] or [(path.stem, str(path))]
    return named


# -- files ---------------------------------------------------------------------------------------------------


def list_specs(
    protocol: Protocol, data: Path, limit: int | None = None, sets: Sequence[str] | None = None
) -> list[CaseSpec]:
    """Every case: the first ``limit`` photos of each of the ``sets`` (None: all), × scale × kernel × σ.

    Raises BlindSRError for a missing or empty folder, an unknown set, and files without their counterpart.
    """
    known = [s.name for s in protocol.sets]
    if unknown := set(sets or ()) - set(known):
        raise BlindSRError(f"no set is called {unknown.pop()!r} in this protocol; it has {', '.join(known)}")
    chosen = [s for s in protocol.sets if not sets or s.name in sets]
    specs = []
    for setting in protocol.settings:
        kernels = None if protocol.given else kernels_of(setting, data)
        for image_set in chosen:
            photos = _photos(image_set, data, setting.scale, known)
            for number, (name, (hr, lr, kernel_file)) in enumerate(list(photos.items())[:limit]):
                image = name if len(protocol.sets) == 1 else f"{image_set.name}-{name}"
                common = (image_set.name, image, hr, lr, kernel_file, setting.scale)
                first = number < protocol.pictures
                if kernels is None:
                    aliases = (f"{image}_x{setting.scale}", image)
                    specs.append(CaseSpec(*common, 0.0, None, aliases=aliases, pictured=first))
                    continue
                alone = len(kernels) == len(setting.sigma_255) == 1
                aliases = (f"{image}_x{setting.scale}", image) if alone else ()
                for sigma in setting.sigma_255:
                    for kernel in kernels:
                        others = tuple(k for k in kernels if k is not kernel)
                        shown = first and kernel.name in (protocol.pictured_kernels or (kernel.name,))
                        specs.append(CaseSpec(*common, sigma, kernel, others, aliases, shown))
    return specs


def _photos(
    image_set: ImageSet, data: Path, scale: int, known: Sequence[str]
) -> dict[str, tuple[Path | None, Path | None, Path | None]]:
    """Name -> (hr, lr, kernel file), in the order of the names."""

    def files(folder: str, suffixes: tuple[str, ...] | None) -> dict[str, Path]:
        path = data / folder.replace("{scale}", str(scale))
        if not path.is_dir():
            pick = f", or choose among the sets ({', '.join(known)}) with --set" if len(known) > 1 else ""
            raise BlindSRError(f"{path}: no such folder; give the folder that holds {folder} as --data{pick}")
        found = images.find([path]) if suffixes is None else sorted(p for p in path.iterdir() if p.suffix in suffixes)
        named: dict[str, Path] = {}
        for file in found:
            stem = file.stem
            for word in image_set.ignore:
                stem = stem.replace(word, "")
            if stem in named:
                raise BlindSRError(f"{file}: belongs to the same photo as {named[stem].name}; keep one of them")
            named[stem] = file
        return named

    hr = files(image_set.hr, None) if image_set.hr else None
    lr = files(image_set.lr, None) if image_set.lr else None
    kernels = files(image_set.kernels, SUFFIXES) if image_set.kernels else None
    if lr is None:
        return {name: (path, None, None) for name, path in hr.items()}

    def partner(files: Mapping[str, Path] | None, name: str, what: str, folder: str) -> Path | None:
        if files is not None and name not in files:
            raise BlindSRError(f"{lr[name]}: its {what} is missing in {data / folder.replace('{scale}', str(scale))}; "
                               "add it, or move the photo away")  # fmt: skip
        return None if files is None else files[name]

    order = sorted(lr, key=lambda name: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", name)])
    return {
        n: (partner(hr, n, "truth", image_set.hr), lr[n], partner(kernels, n, "kernel", image_set.kernels))
        for n in order
    }


def make_case(spec: CaseSpec, protocol: Protocol) -> Case:
    """Read the files of a case and degrade them as the protocol says.

    Gray photos are repeated to three channels, and the ``note`` of the case says so; 16-bit ones count by their own
    range. Raises BlindSRError, with the file, for what cannot be read and for sizes that do not fit the scale.
    """
    hr, gray = _read(spec.hr)
    if spec.lr is not None:
        return _given_case(spec, protocol, hr, gray)
    assert hr is not None and spec.kernel is not None
    try:
        made = degrade(hr, spec.kernel.array, spec.scale, spec.sigma_255, protocol)
    except BlindSRError as error:
        raise BlindSRError(f"{spec.hr}: {error}") from None
    told = made.kernel if spec.kernel.told is None else spec.kernel.told
    others = [true_kernel(other.array, spec.scale, protocol) for other in spec.others]
    return Case(
        spec,
        _image(made.lr),
        _image(made.hr),
        _kernel(told),
        torch.full((1,), made.sigma),
        protocol.grid,
        protocol.boundary == "wrap",
        tuple(map(_kernel, others)),
        note=gray,
    )


def _given_case(spec: CaseSpec, protocol: Protocol, hr: np.ndarray | None, gray: str) -> Case:
    lr, gray_lr = _read(spec.lr)
    if hr is not None and any(a != spec.scale * b for a, b in zip(hr.shape[:2], lr.shape[:2])):
        sizes = f"{lr.shape[1]}×{lr.shape[0]} and {hr.shape[1]}×{hr.shape[0]}"
        raise BlindSRError(f"{spec.lr}: {sizes} ({spec.hr.name}) do not differ by the factor {spec.scale}; "
                           "give pairs that belong together")  # fmt: skip
    k = None
    if spec.kernel_file is not None:
        k = parse_kernel(str(spec.kernel_file), spec.scale)
        k = _kernel(k[::-1, ::-1].copy() if protocol.flip_kernels else k)
    x = None if hr is None else _image(images.to_float(hr))
    return Case(spec, _image(images.to_float(lr)), x, k, torch.zeros(1), protocol.grid, False, note=gray or gray_lr)


def _read(path: Path | None) -> tuple[np.ndarray | None, str]:
    """Pixels (H, W, 3), and a note where they were gray."""
    if path is None:
        return None, ""
    pixels = images.read(path).pixels
    if pixels.shape[2] == 3:
        return pixels, ""
    return pixels.repeat(3, axis=2), f"{path.name} is gray: repeated to three channels"


def _image(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32))[None]


def _kernel(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))[None, None]
