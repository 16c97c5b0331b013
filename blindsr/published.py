"""Reading published weights (.pth): recognising them, deducing their configuration, renaming their tensors.

Two layouts are known: USRNet's (USRGAN has it too) and that of RRDBNet in ESRGAN, BSRNet and BSRGAN.

Nothing is unpickled: PyTorch's restricted loader reads tensors and plain containers only.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blindsr.interfaces import BlindSRError
from blindsr.restorers.rrdbnet import RRDBNetConfig
from blindsr.restorers.usrnet import USRNetConfig

WRAPPERS = ("params_ema", "params", "state_dict")
BLOCKS = 2  # residual blocks on every scale
KNOWN = "USRNet (USRGAN) and RRDBNet (ESRGAN, BSRNet, BSRGAN)"


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
    except Exception:  # damaged files fail in many ways
        raise BlindSRError(f"{path}: not a readable .pth file; fetch it again") from None
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise BlindSRError(f"{path}: holds no state_dict; blindsr reads its own .safetensors and the .pth of {KNOWN}")
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return _tensors(content[wrapper], path)
    return {str(k).removeprefix("module."): v for k, v in content.items() if isinstance(v, Tensor)}


@dataclass(frozen=True)
class Layout:
    """A published network: the ``signature`` is keys that no other has, ``config`` what the shapes of a state_dict
    tell, and ``tensors`` the state_dict with the names and shapes of our restorer of that configuration.

    Both raise KeyError, IndexError or ValueError for a state_dict that resembles the layout, but is of another.
    """

    name: str
    origin: str
    signature: tuple[str, ...]
    config: Callable[[Mapping[str, Tensor]], Any]
    tensors: Callable[[Mapping[str, Tensor], Any], Mapping[str, Tensor]]

    def convert(self, state: Mapping[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
        """Configuration and tensors, named as those of an ``AlternatingSR`` that consists of the restorer alone."""
        config = self.config(state)
        return config, {f"restorer.{name}": tensor for name, tensor in self.tensors(state, config).items()}


def layout_of(state: Mapping[str, Tensor]) -> Layout | None:
    """The layout of a published state_dict; None where it is none of those known."""
    return next((layout for layout in LAYOUTS if all(key in state for key in layout.signature)), None)


def usrnet_config(state: Mapping[str, Tensor]) -> USRNetConfig:
    """The configuration that the shapes of a published state_dict tell."""
    channels = [state["p.m_head.weight"].shape[0]]
    while (key := f"p.m_down{len(channels)}.{BLOCKS}.weight") in state:
        channels.append(state[key].shape[0])
    return USRNetConfig(
        n_iterations=state["h.mlp.4.bias"].shape[0] // 2,
        channels=tuple(channels),
        hidden=state["h.mlp.0.weight"].shape[0],
    )


def usrnet_state(state: Mapping[str, Tensor], config: USRNetConfig) -> dict[str, Tensor]:
    """Published names and shapes -> those of :class:`blindsr.restorers.usrnet.USRNet`.

    A name that is not recognised is kept, so that the check against the model can report it.
    """
    depth = len(config.channels) - 1  # scales below the first

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


def rrdbnet_config(state: Mapping[str, Tensor]) -> RRDBNetConfig:
    """The configuration that the names and shapes of a published state_dict tell."""
    blocks = {int(match[1]) for key in state if (match := re.match(r"RRDB_trunk\.(\d+)\.", key))}
    return RRDBNetConfig(
        channels=state["conv_first.weight"].shape[0],
        blocks=len(blocks),
        growth=state["RRDB_trunk.0.RDB1.conv1.weight"].shape[0],
        scale=4 if "upconv2.weight" in state else 2,
    )


LAYOUTS = (
    Layout(
        name="USRNet",
        origin="published USRNet weights, non-blind",
        signature=("p.m_head.weight", "p.m_body.0.res.0.weight", "p.m_tail.weight", "h.mlp.0.weight", "h.mlp.4.bias"),
        config=usrnet_config,
        tensors=usrnet_state,
    ),
    Layout(
        name="RRDBNet",
        origin="published RRDBNet weights, restores without a kernel",
        signature=("conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight", "HRconv.weight", "conv_last.weight"),
        config=rrdbnet_config,
        tensors=lambda state, config: state,  # ours is named alike
    ),
)
