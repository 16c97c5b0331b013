"""What a benchmark is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from blindsr import registry
from blindsr.evaluation.protocol import Protocol
from blindsr.interfaces import BlindSRError


@dataclass(frozen=True)
class Order:
    """What a benchmark is asked for. ``methods`` are parsed configurations; ``precision`` is fp32 or bf16 (of the
    networks); ``limit`` takes the first photos of each set, ``sets``, ``scales`` and ``sigmas_255`` some of them, None all;
    ``command`` was typed."""

    name: str
    protocol: Protocol
    data: Path
    out: Path
    model: str
    methods: tuple[Any, ...]
    limit: int | None = None
    sets: tuple[str, ...] | None = None
    scales: tuple[int, ...] | None = None
    sigmas_255: tuple[float, ...] | None = None
    device: str | None = None
    precision: str = "fp32"
    command: str = ""


def parse_method(text: str) -> Any:
    """The configuration of a method: a name, ``NAME:PATH`` for one with a path, or ``{name: …, option: …}``."""
    value: Any = text
    if text.startswith("{"):
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise BlindSRError(f"method {text}: not valid YAML; write it as '{{name: …, option: …}}'") from None
    elif ":" in text:
        name, _, path = text.partition(":")
        value = {"name": name, "path": path}
    return registry.parse_component("method")(value, f"method {text}")
