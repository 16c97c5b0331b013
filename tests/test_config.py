"""Strict configuration: every mistake is named, with its place and the nearest right word."""

from dataclasses import dataclass
from typing import Literal

import pytest

from blindsr import registry
from blindsr.config import ConfigError, find, load, merged, override, parse
from blindsr.restorers.usrnet import USRNetConfig
from blindsr.training.settings import DataConfig


@dataclass(frozen=True)
class Inner:
    width: float = 1.0
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = Inner()
    kind: Literal["a", "b"] = "a"
    pair: tuple[float, float] = (0.0, 1.0)
    maybe: int | None = None
    flag: bool = False


def test_values_arrive():
    given = {
        "name": "n",
        "inner": {"width": 2, "sizes": [3]},
        "kind": "b",
        "pair": [1, "2e-3"],
        "maybe": 4,
        "flag": True,
    }
    assert parse(Outer, given, "file") == Outer("n", Inner(2.0, (3,)), "b", (1.0, 0.002), 4, True)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"name": "n", "inner": {"widht": 2}}, r"file\.inner\.widht: no such option; did you mean 'width'"),
        ({}, r"file\.name: this option is required"),
        ({"name": 3}, r"file\.name: expected str, found 3"),
        ({"name": "n", "kind": "c"}, r"file\.kind: 'c' is not one of 'a', 'b'"),
        ({"name": "n", "pair": [1]}, r"file\.pair: expected 2 values, found 1"),
        ({"name": "n", "inner": {"sizes": [1, "x"]}}, r"file\.inner\.sizes\[1\]: expected int"),
        ({"name": "n", "maybe": True}, r"file\.maybe: expected int"),
        ({"name": "n", "flag": 1}, r"file\.flag: expected bool"),
        ({"name": "n", "inner": 3}, r"file\.inner: expected a mapping"),
    ],
)
def test_mistakes_are_named(given, message):
    with pytest.raises(ConfigError, match=message):
        parse(Outer, given, "file")


def test_components_by_name():
    parser = registry.parse_component("restorer")
    assert parser("usrnet", "x") == USRNetConfig()
    assert parser({"name": "usrnet", "hidden": 3}, "x") == USRNetConfig(hidden=3)
    with pytest.raises(ConfigError, match=r"x\.name: no restorer is called 'usrnt'; did you mean 'usrnet'"):
        parser({"name": "usrnt"}, "x")
    with pytest.raises(ConfigError, match=r"x\.hiden: no such option; did you mean 'hidden'"):
        parser({"name": "usrnet", "hiden": 3}, "x")


def test_round_trip():
    config = USRNetConfig(channels=(8, 16))
    assert registry.parse_component("restorer")(registry.as_mapping(config), "x") == config


def test_overrides():
    assert override({"a": {"b": 1}}, ["a.b=2", "c.d=[1, x]"]) == {"a": {"b": 2}, "c": {"d": [1, "x"]}}
    assert override({"a": "x"}, ["a.b=2"]) == {"a": {"name": "x", "b": 2}}  # a component by its bare name
    for bad in ("a.b", "a.b.c=1", "a=[1", "a=2026-13-45"):
        with pytest.raises(ConfigError, match="--set"):
            override({"a": {"b": 1}}, [bad])


def test_files(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        load(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    for text in ("a: [1", "- 1", "\x00", "a: 2026-13-45"):
        bad.write_text(text)
        with pytest.raises(ConfigError, match=r"bad\.yaml"):
            load(bad)


def test_a_key_that_stands_twice(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("name: n\ninner:\n  width: 1\n  width: 2\n")
    with pytest.raises(ConfigError, match="'width' stands twice.*line 4"):
        load(path)
    path.write_text("base: &base {width: 1, flag: true}\nother: {<<: *base, width: 2}\n")  # YAML's own way to override
    assert load(path)["other"] == {"width": 2, "flag": True}


def test_a_folder_called_like_a_configuration_hides_none(tmp_path, monkeypatch):
    (tmp_path / "usrnet_tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load(find("train", "usrnet_tiny"))["train"] == ["restorer"]


def test_one_file_extends_another(tmp_path):
    (tmp_path / "base.yaml").write_text("a: 1\nb: {c: 2, d: {e: 3}}\nk: {name: x, size: 5}\nl: [1, 2]\n")
    (tmp_path / "middle.yaml").write_text("extends: base.yaml\nb: {d: {e: 4}}\nk: {size: 7}\n")
    (tmp_path / "top.yaml").write_text("extends: middle.yaml\na: 5\nl: [3]\nk: {name: y}\n")
    assert load(tmp_path / "middle.yaml")["k"] == {"name": "x", "size": 7}
    top = load(tmp_path / "top.yaml")
    assert top == {"a": 5, "b": {"c": 2, "d": {"e": 4}}, "k": {"name": "y"}, "l": [3]}
    assert merged({"a": None}, {"a": {"b": 1}}) == {"a": {"b": 1}}


def test_a_shipped_file_is_extended_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("extends: usrnet_tiny.yaml\nseed: 7\n")
    assert load(tmp_path / "mine.yaml", "train") == load(find("train", "usrnet_tiny"), "train") | {"seed": 7}
    (tmp_path / "usrnet_tiny.yaml").write_text("seed: 8\nema: 0.5\n")  # one beside it comes first
    assert load(tmp_path / "mine.yaml", "train") == {"seed": 7, "ema": 0.5}
    (tmp_path / "mine.yaml").write_text("extends: usrnet_tin\n")
    with pytest.raises(ConfigError, match="mine.yaml: extends usrnet_tin: .*did you mean 'usrnet_tiny'"):
        load(tmp_path / "mine.yaml", "train")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yml").write_text("seed: 99\n")
    (tmp_path / "below").mkdir()
    for name, words in (("own.yml", "neither beside it nor shipped"), ("bases/own.yaml", "below/bases/own.yaml is no file")):
        (tmp_path / "below" / "mine.yaml").write_text(f"extends: {name}\n")
        with pytest.raises(ConfigError, match=words):
            load(tmp_path / "below" / "mine.yaml", "train")


def test_files_that_extend_each_other(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match="in turn"):
        load(tmp_path / "a.yaml")
    (tmp_path / "c.yaml").write_text("extends: none.yaml\n")
    with pytest.raises(ConfigError, match="c.yaml: extends none.yaml, and .*none.yaml is no file"):
        load(tmp_path / "c.yaml")


def test_a_component_that_is_left_blank():
    for value in (None, {"name": "classical", "kernels": None}):
        with pytest.raises(ConfigError, match="this option is required, and nothing stands there|kernels"):
            parse(DataConfig, {"folders": ["photos"], "degradation": value}, "data")
    with pytest.raises(ConfigError, match="channels must name"):
        registry.parse_component("restorer")({"name": "usrnet", "channels": []}, "model.restorer")
