"""Reading the published USRNet weights (.pth): recognising them, deducing their configuration, renaming their tensors.

Nothing is unpickled: PyTorch's restricted loader reads tensors and plain containers only.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blindsr.interfaces import BlindSRError
from blindsr.restorers.usrnet import USRNetConfig

WRAPPERS = ("params_ema", "params", "state_dict")
BLOCKS = 2  # residual blocks on every scale
SIGNATURE = ("p.m_head.weight", "p.m_body.0.res.0.weight", "p.m_tail.weight", "h.mlp.0.weight", "h.mlp.4.bias")


def read_pth(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth file, out of its wrapper and without ``module.`` prefixes.

    Raises BlindSRError for a file that is not one, or that needs unpickling.
    """
    try:
        with (
            path.open("rb") as file,
            warnings.catch_warnings(),
        ):  # an open file: by its name, torch would hand .safetensors to another loader
            warnings.simplefilter("ignore")  # torch's remarks on pickles; our one line follows
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).lower():
            raise BlindSRError(
                f"{path}: holds pickled objects beside its tensors, which could run code; save its state_dict alone"
            ) from None
        raise BlindSRError(f"{path}: not a readable .pth file; fetch it again") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError):
        raise BlindSRError(f"{path}: not a readable .pth file; fetch it again") from None
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise BlindSRError(f"{path}: holds no state_dict; blindsr reads its own .safetensors files and USRNet's .pth")
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return _tensors(content[wrapper], path)
    return {str(k).removeprefix("module."): v for k, v in content.items() if isinstance(v, Tensor)}


def is_usrnet(state: Mapping[str, Tensor]) -> bool:
    return all(key in state for key in SIGNATURE)


def convert(state: Mapping[str, Tensor]) -> tuple[USRNetConfig, dict[str, Tensor]]:
    """Configuration and tensors, named as those of an ``AlternatingSR`` that consists of the restorer alone."""
    config = usrnet_config(state)
    tensors = usrnet_state(state, depth=len(config.channels) - 1)
    return config, {f"restorer.{name}": tensor for name, tensor in tensors.items()}


def usrnet_config(state: Mapping[str, Tensor]) -> USRNetConfig:
    """The configuration that the shapes of a published state_dict tell (one that :func:`is_usrnet` knows)."""
    channels = [state["p.m_head.weight"].shape[0]]
    while (key := f"p.m_down{len(channels)}.{BLOCKS}.weight") in state:
        channels.append(state[key].shape[0])
    return USRNetConfig(
        n_iterations=state["h.mlp.4.bias"].shape[0] // 2,
        channels=tuple(channels),
        hidden=state["h.mlp.0.weight"].shape[0],
    )


def usrnet_state(state: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Published names and shapes -> those of :class:`blindsr.restorers.usrnet.USRNet`.

    ``depth`` is the number of scales below the first. A name that is not recognised is
    kept, so that the check against the model can report it.
    """

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}.conv{int(match[2]) // 2 + 1}."

    renamed = {}
    for key, value in state.items():
        name = re.sub(r"^(.*)\.res\.([02])\.", block, key)
        name = re.sub(r"^p\.m_down(\d+)\.", lambda m: f"prior.down.{int(m[1]) - 1}.", name)
        name = re.sub(r"^p\.m_up(\d+)\.", lambda m: f"prior.up.{depth - int(m[1])}.", name)
        name = re.sub(r"^p\.m_(head|body|tail)\.", r"prior.\1.", name)
        name = re.sub(r"^h\.mlp\.", "hyper.mlp.", name)
        is_linear = name.startswith("hyper.mlp.") and value.ndim == 4 and value.shape[2:] == (1, 1)
        renamed[name] = value[:, :, 0, 0] if is_linear else value
    return renamed
