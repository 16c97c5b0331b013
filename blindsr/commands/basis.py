"""Fit a PCA basis of blur kernels from a configuration."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Draw kernels as a configuration says, fit their principal components, and write them as .npz: the basis in whose
coefficients an estimator says what it found. The file records generator, seed, size, components and the
variance that they keep."""

EXAMPLES = """\
example:
  blindsr basis gaussian_21 --out mine       the shipped configuration, to mine/gaussian_21.npz"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or the bare name of a shipped configuration")
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="FILE|DIR", help="the .npz file, or its folder (default: here)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a basis that exists")


def run(arguments: argparse.Namespace) -> int:
    from blindsr.commands.batch import check_folder
    from blindsr.kernels.basis_fit import fit_basis

    out: Path = arguments.out
    check_folder(out.parent if out.suffix and not out.is_dir() else out)
    fit_basis(arguments.config, out, overwrite=arguments.overwrite)
    return 0
