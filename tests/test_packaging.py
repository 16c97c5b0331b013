"""A wheel holds everything that the commands need, and nothing of the checkout is needed to run it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import blindsr
from blindsr.resources import shipped

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("blindsr", "configs", "pca", "pyproject.toml", "setup.py", "README.md", "LICENSE")


PACKAGED = (".py", ".safetensors", ".npz", ".html", ".css", ".js")


def source_files(folder: Path, *suffixes: str) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix in suffixes}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy of the sources, with the setuptools at hand."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, source)
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def test_the_wheel_holds_every_module_and_shipped_file(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    expected = {f"blindsr/{name}" for name in source_files(ROOT / "blindsr", *PACKAGED)}
    expected |= {f"blindsr/configs/{name}" for name in source_files(ROOT / "configs", ".yaml", ".md")}
    expected |= {f"blindsr/pca/{name}" for name in source_files(ROOT / "pca", ".npz", ".md")}
    assert expected - names == set()
    assert not any(name.startswith(("tests/", "configs/", "pca/", "scripts/")) for name in names)


def test_the_wheel_works_away_from_the_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, 'site'); import blindsr; from blindsr.resources import shipped;"
        "print(blindsr.__file__, *(shipped(kind) for kind in ('configs', 'pca', 'weights')), sep='\\n')"
    )
    answer = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert answer and all((tmp_path / line).resolve().is_relative_to(tmp_path / "site" / "blindsr") for line in answer)


@pytest.mark.parametrize("kind", ["configs", "pca", "weights"])
def test_shipped_folders_exist_here_too(kind: str) -> None:
    assert shipped(kind).is_dir()


def test_the_version_is_the_packages(wheel: zipfile.ZipFile) -> None:
    assert any(name.startswith(f"blindsr-{blindsr.__version__}.dist-info/") for name in wheel.namelist())


def test_every_dependency_is_pinned() -> None:
    """constraints.txt pins each direct dependency, so that a fresh installation is the tested one."""
    project = (ROOT / "pyproject.toml").read_text()
    (dependencies,) = re.findall(r"^dependencies = \[$(.*?)^\]$", project, flags=re.DOTALL | re.MULTILINE)
    (test,) = re.findall(r"^test = \[(.*)\]$", project, flags=re.MULTILINE)
    wanted = set(re.findall(r'"([A-Za-z][\w-]*)', dependencies.split("#")[0] + test))
    wanted |= set(re.findall(r'^ *"([A-Za-z][\w-]*)', dependencies, flags=re.MULTILINE))
    pinned = dict(re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))
    assert len(wanted) > 10 and wanted - pinned.keys() == set()
    assert pinned["torch"] == "2.13.0"


def start(script: str, folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of a script under a path that needs quoting, with another Python to build from."""
    shutil.copytree(ROOT / "scripts", folder / "a [new] copy" / "scripts")
    command = ["bash", str(folder / "a [new] copy" / "scripts" / script)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": python}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("script", ["run.sh", "test.sh"])
@pytest.mark.parametrize(
    ("python", "words"),
    [
        (None, "was not found: install Python 3.10"),
        ('if [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi', "Python 3.9.2 is too old"),
        ('case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac', "apt-get install python3-venv"),
    ],
)
def test_a_machine_without_python_is_told_so(script: str, python: str | None, words: str, tmp_path: Path) -> None:
    stand_in = tmp_path / "python3"
    if python is not None:
        stand_in.write_text(f"#!/bin/sh\n{python}\n")
        stand_in.chmod(0o755)
    answer = start(script, tmp_path, str(stand_in))
    assert answer.returncode == 2 and answer.stdout == ""
    assert words in answer.stderr and len(answer.stderr.splitlines()) == 1
