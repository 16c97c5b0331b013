"""Name -> (configuration, class), for every kind of component.

A component registers itself::

    @register("restorer", "usrnet", USRNetConfig)
    class USRNet(Restorer): ...

and a configuration file names it: ``{name: usrnet, channels: [16, 32, 64, 64]}``. Every module of
the kind's package is imported on first use, so that a new component is one new file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from blindsr.config import ConfigError, nearest, parse

PACKAGES = {
    "restorer": "blindsr.restorers",
    "estimator": "blindsr.estimators",
    "kernels": "blindsr.kernels",
    "degradation": "blindsr.degradation",
    "operation": "blindsr.degradation",
    "discriminator": "blindsr.training.discriminators",
    "method": "blindsr.evaluation.methods",
}

_components: dict[tuple[str, str], tuple[type, type]] = {}

C = TypeVar("C", bound=type)


def register(kind: str, name: str, config: type) -> Callable[[C], C]:
    """Class decorator: make the class known as ``name`` among the components of ``kind``.

    ``config`` is its frozen dataclass; the class is called with one instance of it.
    """

    def decorate(component: C) -> C:
        if (kind, name) in _components:
            raise ValueError(f"two components of kind {kind} are called {name}")
        _components[kind, name] = (config, component)
        config._component = (kind, name)  # type: ignore[attr-defined]
        return component

    return decorate


@cache
def _import_all(kind: str) -> None:
    package = importlib.import_module(PACKAGES[kind])
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def names(kind: str) -> list[str]:
    """All known names of a kind, sorted."""
    _import_all(kind)
    return sorted(name for k, name in _components if k == kind)


def parse_component(kind: str) -> Callable[[Any, str], Any]:
    """A parser for a configuration field that names a component: ``{name: …, option: …}`` or a bare name."""

    def parser(value: Any, where: str) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping) or "name" not in value:
            raise ConfigError(f"{where}: needs a {kind}, as '{{name: …}}'; known are {', '.join(names(kind))}")
        options = dict(value)
        name = options.pop("name")
        if name not in names(kind):
            raise ConfigError(f"{where}.name: no {kind} is called {name!r}{nearest(str(name), names(kind))}")
        return parse(_components[kind, name][0], options, where)

    return parser


def build(config: Any) -> Any:
    """The component that a parsed configuration describes."""
    return _components[type(config)._component][1](config)


def name_of(config: Any) -> str:
    """The name under which the component of a parsed configuration is registered."""
    return type(config)._component[1]


@cache
def default(kind: str, name: str) -> Any:
    """The component of that name with default options; one object for all who ask."""
    return build(parse_component(kind)(name, kind))


def as_mapping(config: Any, defaults: bool = True) -> dict[str, Any]:
    """The inverse of parsing, components named; with every default written out, or without any."""
    own = getattr(type(config), "_component", None)
    mapping: dict[str, Any] = {"name": own[1]} if own else {}
    for key, field in config.__dataclass_fields__.items():
        value = getattr(config, key)
        if not defaults and value == field.default:
            continue
        if hasattr(value, "__dataclass_fields__"):
            value = as_mapping(value, defaults)
        elif isinstance(value, tuple):
            value = [as_mapping(v, defaults) if hasattr(v, "__dataclass_fields__") else v for v in value]
        mapping[key] = value
    return mapping
