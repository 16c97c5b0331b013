"""Cases: one photo under one blur and one noise level, made as the protocol says or read from files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch
from torch import Tensor

from blindsr import images
from blindsr.evaluation.formula import degrade, true_kernel
from blindsr.evaluation.protocol import Protocol
from blindsr.interfaces import BlindSRError, Grid
from blindsr.kernels.files import parse_kernel
from blindsr.ops.fourier import grid_shift


def case_name(image: str, scale: int, kernel: str, sigma_255: float) -> str:
    """``IMAGE_xSCALE_KERNEL_sSIGMA``: the name of a case's pictures, and of result files of other programs."""
    return f"{image}_x{scale}_{kernel}_s{sigma_255:g}"


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
        return case_name(self.image, self.scale, self.kernel_name, self.sigma_255)


@dataclass(frozen=True)
class Case:
    """What a method gets. ``y`` (1, 3, h, w) float32; ``x`` (1, 3, s·h, s·w), the truth, or None; ``k`` (1, 1, kh, kw),
    the kernel to tell a model on the corner grid (it holds the offset of a centre grid), or None; ``sigma`` (1,) in
    [0, 1]; ``others`` are the other kernels of the protocol; ``circular`` says that the blur wrapped around; ``rounding``
    is the noise level, in [0, 1], of what was rounded to whole levels, or ``coded`` with loss, as JPEG is."""

    spec: CaseSpec
    y: Tensor
    x: Tensor | None
    k: Tensor | None
    sigma: Tensor
    grid: Grid
    circular: bool
    others: tuple[Tensor, ...] = ()
    rounding: float = 0.0
    coded: bool = False
    note: str = field(default="", compare=False)

    @property
    def scale(self) -> int:
        return self.spec.scale

    def to(self, device: torch.device) -> Case:
        moved = {name: v.to(device) for name, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved, others=tuple(k.to(device) for k in self.others))


def case_of(x: Tensor, y: Tensor, k: Tensor, sigma: Tensor, scale: int, rounding: float = 0.0) -> Case:
    """A case of tensors that are at hand: ``y`` was blurred circularly by ``k``, on the corner grid."""
    spec = CaseSpec("", "", None, None, None, scale, 255 * float(sigma), None)
    return Case(spec, y, x, k, sigma, "corner", circular=True, rounding=rounding)


def make_case(spec: CaseSpec, protocol: Protocol) -> Case:
    """Read the files of a case and degrade them as the protocol says.

    Gray photos are repeated to three channels and an alpha channel is left out, and the ``note`` of the case says so;
    16-bit photos count by their own range. Raises BlindSRError, with the file, for what cannot be read and for sizes
    that do not fit the scale.
    """
    hr, note = _read(spec.hr)
    if spec.lr is not None:
        return _given_case(spec, protocol, hr, note)
    assert hr is not None and spec.kernel is not None
    try:
        made = degrade(hr.pixels, spec.kernel.array, spec.scale, spec.sigma_255, protocol)
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
        images.rounding_noise(np.uint8) if protocol.rounds else 0.0,
        note=note,
    )


def _given_case(spec: CaseSpec, protocol: Protocol, hr: images.Photo | None, note: str) -> Case:
    lr, note_lr = _read(spec.lr)
    assert lr is not None
    lr = images.with_history(lr)
    if hr is not None and any(a != spec.scale * b for a, b in zip(hr.pixels.shape[:2], lr.pixels.shape[:2])):
        sizes = " and ".join(f"{p.pixels.shape[1]}×{p.pixels.shape[0]}" for p in (lr, hr))
        raise BlindSRError(f"{spec.lr}: {sizes} ({spec.hr.name}) do not differ by the factor {spec.scale}; "
                           "give pairs that belong together")  # fmt: skip
    k = None
    if spec.kernel_file is not None:
        k = parse_kernel(str(spec.kernel_file), spec.scale)
        k = k[::-1, ::-1] if protocol.flip_kernels else k
        k = _kernel(_centred(k, grid_shift(protocol.grid, spec.scale)) if protocol.centre_kernels else k)
    y, x = _image(images.to_float(lr.pixels)), None if hr is None else _image(images.to_float(hr.pixels))
    notes = "; ".join(filter(None, (note, note_lr)))
    return Case(spec, y, x, k, torch.zeros(1), protocol.grid, False, (), lr.rounding, lr.coded, notes)


def _centred(k: np.ndarray, shift: float) -> np.ndarray:
    """``k`` (h, w) moved so that its centre of mass lies ``shift`` pixels down and right of its centre, with as many
    zeros around it first as the move needs."""
    middle = [n // 2 + shift for n in k.shape]
    moves = np.subtract(middle, scipy.ndimage.center_of_mass(k))
    padded = np.pad(k, int(np.ceil(np.abs(moves).max())) + 1)
    return np.fft.ifft2(scipy.ndimage.fourier_shift(np.fft.fft2(padded), moves)).real


def _read(path: Path | None) -> tuple[images.Photo | None, str]:
    """A photo (H, W, 3) without alpha, and a note on what was done to have it."""
    if path is None:
        return None, ""
    photo, notes = images.read(path), []
    if photo.alpha is not None:
        notes.append(f"{path.name} has an alpha channel: left out")
    if photo.pixels.shape[2] == 1:
        notes.append(f"{path.name} is gray: repeated to three channels")
    pixels = photo.pixels.repeat(3 // photo.pixels.shape[2], axis=2)
    return replace(photo, pixels=pixels, alpha=None), "; ".join(notes)


def _image(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32))[None]


def _kernel(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))[None, None]
