"""The layers of pyproject.toml hold, and what must stay light stays light."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache', '--no-logo'])"
HEAVY = "{'torch', 'matplotlib', 'cv2', 'scipy', 'sklearn', 'PIL', 'tifffile', 'blindsr.demo'}"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", LINT], cwd=folder, capture_output=True, text=True)


def test_every_import_goes_downwards() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("ops/upwards.py", "from blindsr.restorers import usrnet"),
        ("restorers/sideways.py", "import blindsr.estimators.dan"),
        ("astray.py", ""),  # a module that no layer names
    ],
)
def test_the_contract_notices(module: str, line: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "blindsr", tmp_path / "blindsr", ignore=shutil.ignore_patterns("__pycache__", "weights"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "blindsr" / module).write_text(line + "\n")
    result = lint(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert Path(module).stem in result.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import blindsr; blindsr.__version__",
        "from blindsr.cli import main; main(['--help'])",
        "from blindsr.cli import main; main(['--version'])",
        "from blindsr.cli import main; main(['restore', '--help'])",
        "from blindsr.cli import main; main(['restore', 'photo.jpg', '--scale', '5'])",
    ],
)
def test_light_starts(code: str) -> None:
    """Neither torch nor a picture library is imported before there is something to do."""
    check = f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\nprint(sorted({HEAVY} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
