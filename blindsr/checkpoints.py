"""A model in one file: weights, kernel basis and resolved configuration, as safetensors.

The file's metadata holds three strings: ``format`` (``blindsr-1``), ``config`` and ``card``, the last two
as JSON. Every tensor stands under its name in the model's ``state_dict``, the basis too. Nothing is ever
unpickled. Published files (.pth) of USRNet and RRDBNet are read as well: :mod:`blindsr.published`.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from blindsr import published, registry, resources
from blindsr.alternating import AlternatingConfig, AlternatingSR
from blindsr.atomic import whole_file
from blindsr.config import nearest, parse
from blindsr.interfaces import BlindSRError
from blindsr.kernels.basis import KernelBasis

FORMAT = "blindsr-1"
SUFFIX = ".safetensors"


class CheckpointError(BlindSRError):
    """A weights file that cannot be used."""


@dataclass(frozen=True)
class Checkpoint:
    """A loaded ``model`` in evaluation mode, on the CPU in float32; its ``name`` (the shipped one, or the
    file's without suffix) and its ``card`` (what the maker noted: data, steps, numbers)."""

    model: AlternatingSR
    name: str
    card: dict[str, Any]


def shipped_names() -> list[str]:
    """Names of the weights that come with the package."""
    try:
        return sorted(path.stem for path in resources.shipped("weights").glob(f"*{SUFFIX}"))
    except FileNotFoundError:
        return []


# -- writing ---------------------------------------------------------------------------------------------


def save(
    path: str | os.PathLike[str], model: AlternatingSR, card: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Write ``model`` with its ``card`` (JSON-ready values), floating tensors as ``dtype`` (float16 or float32);
    vectors stay float32: they are few, and statistics among them do not bear rounding.

    The file appears complete or not at all; an existing one is replaced. Raises CheckpointError for weights
    that are not finite (or too large for float16) and when the folder or the disk refuses.
    """
    path = Path(path)
    tensors = {}
    for name, tensor in model.state_dict().items():
        name = name.replace("_orig_mod.", "")  # a compiled part
        rounds = tensor.is_floating_point() and tensor.ndim > 1
        value = tensor.detach().to("cpu", dtype if rounds else tensor.dtype)
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{path}: not written, {name} holds NaN or infinite values as {value.dtype}")
        tensors[name] = value.contiguous().clone()  # safetensors refuses shared memory
    metadata = {
        "format": FORMAT,
        "config": json.dumps(registry.as_mapping(model.config)),
        "card": json.dumps(dict(card), ensure_ascii=False),
    }
    try:
        with whole_file(path) as part:
            part.write_bytes(safetensors.torch.save(tensors, metadata))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from None


def fingerprint(model: AlternatingSR) -> str:
    """Eight hexadecimal digits that tell one model from another: its weights, and the options that it departs from the
    defaults in (of options to come it has the defaults)."""
    digest = zlib.crc32(json.dumps(registry.as_mapping(model.config, defaults=False), sort_keys=True).encode())
    for tensor in model.state_dict().values():
        digest = zlib.crc32(tensor.cpu().contiguous().numpy().tobytes(), digest)
    return f"{digest:08x}"


# -- reading ---------------------------------------------------------------------------------------------


def load(name_or_path: str | os.PathLike[str]) -> Checkpoint:
    """Read a shipped model by its bare name, one of our .safetensors files, or a published .pth.

    A published model has no estimator and no basis: a USRNet is non-blind, an RRDBNet (ESRGAN, BSRNet, BSRGAN)
    restores without a kernel. Raises CheckpointError, one line with
    the file and the cure, for a file that is missing, of another kind, of a newer format, with a pickle in
    it, with tensors that do not fit its configuration, or with weights that are not finite.
    """
    path = _find(name_or_path)
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if head[8:] == b"{":
        return _load_own(path)
    if head.startswith((b"PK", b"\x80")):
        return _load_published(path)
    what = "not a weights file" if head else "the file is empty"
    raise CheckpointError(f"{path}: {what}; give a shipped name, a .safetensors file of blindsr or a published .pth")


def _find(name_or_path: str | os.PathLike[str]) -> Path:
    path, names = Path(name_or_path), shipped_names()
    if str(name_or_path) in names:
        return resources.shipped("weights") / f"{name_or_path}{SUFFIX}"
    if path.is_dir():
        raise CheckpointError(f"{path}: this is a folder; name a weights file in it")
    if not path.exists():
        known = f"; the shipped names are {', '.join(names)}" if names else "; no weights are shipped"
        if path.suffix == "" and path.name == str(name_or_path) and names:
            known = nearest(path.name, names)
        raise CheckpointError(f"{path}: no such weights file{known}")
    return path


def _load_own(path: Path) -> Checkpoint:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
    except (safetensors.SafetensorError, OSError, ValueError):
        raise CheckpointError(f"{path}: not a readable safetensors file, or cut short; fetch it again") from None
    try:
        config = parse(AlternatingConfig, json.loads(metadata["config"]), "model")
        card = json.loads(metadata["card"])
    except (KeyError, json.JSONDecodeError):
        raise CheckpointError(f"{path}: its configuration is damaged; fetch it again") from None
    except BlindSRError as error:
        raise CheckpointError(f"{path}: this version of blindsr does not know its configuration ({error})") from None
    return Checkpoint(_assemble(config, tensors, path), path.stem, card)


def _check_format(path: Path, metadata: Mapping[str, str]) -> None:
    found = metadata.get("format", "")
    if found == FORMAT:
        return
    if found.startswith("blindsr-"):
        raise CheckpointError(f"{path}: its format is {found}, this version reads {FORMAT}; upgrade blindsr")
    raise CheckpointError(f"{path}: a safetensors file, but not of blindsr; give one that 'blindsr train' wrote")


def _load_published(path: Path) -> Checkpoint:
    state = published.read_pth(path)
    layout = published.layout_of(state)
    if layout is None:
        known = f"of published .pth files only those of {published.KNOWN} are read"
        raise CheckpointError(f"{path}: not a USRNet or RRDBNet; {known}")
    try:
        config, tensors = layout.convert(state)
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{path}: resembles {layout.name}, but has another layout ({error})") from None
    model = _assemble(AlternatingConfig(restorer=config, loops=1), tensors, path)
    return Checkpoint(model, path.stem, {"origin": layout.origin})


def _assemble(config: AlternatingConfig, tensors: Mapping[str, Tensor], path: Path) -> AlternatingSR:
    """The model of ``config`` with ``tensors`` in it, every one checked."""
    try:
        basis = None
        if "basis.components" in tensors and "basis.mean" in tensors:
            basis = KernelBasis(tensors["basis.components"].float(), tensors["basis.mean"].float())
        with torch.random.fork_rng(devices=[]):  # the initial weights are not used; the caller's draws stay the same
            model = AlternatingSR(config, basis)
    except BlindSRError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (ValueError, RuntimeError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path}: its configuration makes no model ({' '.join(str(error).split())})") from None
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name not in tensors:
            raise CheckpointError(f"{path}: does not fit its configuration: {name} is missing; fetch it again")
        if tensors[name].shape != tensor.shape:
            shapes = f"{tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
            raise CheckpointError(f"{path}: does not fit its configuration: {name} is {shapes}; fetch it again")
    for name, tensor in tensors.items():
        if name not in expected:
            raise CheckpointError(f"{path}: does not fit its configuration: {name} is unexpected; fetch it again")
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {name} holds NaN or infinite values; take an earlier checkpoint")
    model.load_state_dict(dict(tensors))
    return model.eval()
