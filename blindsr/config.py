"""Strict YAML -> frozen dataclasses.

Every option is a field of a dataclass with a type and, unless it is required, a default. A key that no
field has is an error that names it, says where it stands and offers the nearest valid one. A field may
carry ``metadata={"parse": function}`` to read its value in its own way (components do: see
:func:`blindsr.registry.parse_component`).
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from blindsr.interfaces import BlindSRError
from blindsr.resources import shipped

T = TypeVar("T")
MERGE = "tag:yaml.org,2002:merge"


class ConfigError(BlindSRError):
    """A configuration that cannot be used."""


class Loader(yaml.SafeLoader):
    """Plain YAML, where a key may stand once: of two, YAML would take the last and say nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != MERGE]
        for i, key in enumerate(keys):
            if any(key.value == other.value for other in keys[:i]):
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
        return super().construct_mapping(node, deep)


def nearest(word: str, choices: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` or the list of choices when nothing is close."""
    choices = sorted(choices)
    close = difflib.get_close_matches(word, choices, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(choices)}"


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def parse(cls: type[T], mapping: Any, where: str) -> T:
    """Build the dataclass ``cls`` from a mapping; ``where`` is the dotted path named in errors."""
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: expected a mapping of options, found {mapping!r}")
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    for key in mapping:
        if key not in known:
            raise ConfigError(f"{where}.{key}: no such option{nearest(str(key), known)}")
    values = {}
    for name, field in known.items():
        required = field.default is MISSING and field.default_factory is MISSING
        if name not in mapping:
            if required:
                raise ConfigError(f"{where}.{name}: this option is required")
            continue
        reader = field.metadata.get("parse")
        here = f"{where}.{name}"
        if reader and mapping[name] is not None:
            values[name] = reader(mapping[name], here)
        elif reader and required:
            raise ConfigError(f"{here}: this option is required, and nothing stands there")
        else:
            values[name] = convert(mapping[name], _hints(cls)[name], here)
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def convert(value: Any, hint: Any, where: str) -> Any:
    """Check ``value`` against a type hint; lists become tuples, ints become floats where floats are wanted."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if is_dataclass(hint):
        return parse(hint, value, where)  # type: ignore[arg-type]
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise ConfigError(f"{where}: {value!r} is not one of {', '.join(map(repr, arguments))}")
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return convert(value, next(a for a in arguments if a is not type(None)), where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}: expected a list, found {value!r}")
        inner = arguments[:1] * len(value) if len(arguments) == 2 and arguments[1] is ... else arguments
        if len(inner) != len(value):
            raise ConfigError(f"{where}: expected {len(inner)} values, found {len(value)}")
        return tuple(convert(v, a, f"{where}[{i}]") for i, (v, a) in enumerate(zip(value, inner)))
    if hint is float and isinstance(value, str):
        try:  # YAML 1.1 reads 1e-4 as a string
            return float(value)
        except ValueError:
            pass
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint in (int, float) and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where}: expected {getattr(hint, '__name__', hint)}, found {value!r}")


def find(kind: str, name_or_path: str) -> Path:
    """The file that ``name_or_path`` means: a path, or the bare name of a shipped one in configs/``kind``."""
    path = Path(name_or_path)
    if path.is_file() or path.suffix or path.name != name_or_path:
        return path
    folder = shipped("configs") / kind
    path = folder / f"{name_or_path}.yaml"
    if not path.exists():
        known = [p.stem for p in folder.glob("*.yaml")]
        raise ConfigError(f"{name_or_path}: no such {kind} configuration{nearest(name_or_path, known)}")
    return path


def load(path: Path, kind: str = "", above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a YAML file; errors name the file and the line. ``extends: other.yaml``, a file beside it, or a shipped one in
    configs/``kind``, stands for all that it does not say itself; ``above`` are the files that extend this one."""
    try:
        mapping = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a YAML file") from None
    except (yaml.YAMLError, ValueError) as error:  # such as 2026-13-45, which looks like a date
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(mapping, dict):
        raise ConfigError(f"{path}: expected a mapping at the top level")
    if "extends" not in mapping:
        return mapping
    base = _base(path, str(mapping.pop("extends")), kind)
    if base.resolve() in [p.resolve() for p in (path, *above)]:
        raise ConfigError(f"{path}: extends {base.name}, which extends it in turn")
    return merged(load(base, kind, (path, *above)), mapping)


def _base(path: Path, name: str, kind: str) -> Path:
    """The file that ``path`` extends by this ``name``: one beside it, else a shipped one."""
    base = path.parent / name
    if base.exists():
        return base
    if not kind or Path(name).name != name:
        raise ConfigError(f"{path}: extends {name}, and {base} is no file")
    try:
        base = find(kind, name.removesuffix(".yaml"))
    except ConfigError as error:
        raise ConfigError(f"{path}: extends {error}") from None
    if base.parent != shipped("configs") / kind:
        raise ConfigError(f"{path}: extends {name}, which is neither beside it nor shipped")
    return base


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, option by option; a component of another ``name`` replaces the whole of the first."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if both and old.get("name") == value.get("name", old.get("name")) else value
    return result


def override(mapping: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Apply ``a.b=value`` assignments, as given with ``--set``; the value is read as YAML."""
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment}: write it as a.b=value")
        *parents, last = dotted.split(".")
        place = mapping
        for parent in parents:
            if isinstance(place.get(parent), str):  # a component by its bare name
                place[parent] = {"name": place[parent]}
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {assignment}: {parent!r} has no options of its own")
        try:
            place[last] = yaml.load(text, Loader)
        except (yaml.YAMLError, ValueError):
            raise ConfigError(f"--set {assignment}: the value is not valid YAML") from None
    return mapping
