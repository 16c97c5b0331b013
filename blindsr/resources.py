"""Where the shipped files stand: in the installed package, or at the top of a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Kind = Literal["configs", "pca", "weights"]


def shipped(kind: Kind) -> Path:
    """The folder of shipped ``configs`` (YAML), ``pca`` (kernel bases) or ``weights``.

    A wheel holds all three inside the package; a checkout keeps ``configs`` and ``pca`` at its top.
    Raises FileNotFoundError when neither is there: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"blindsr is installed without its {kind} folder; install it again")
