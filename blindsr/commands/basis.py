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
  blindsr basis gaussian_21 --out pca        the shipped configuration, to pca/gaussian_21.npz"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or the bare name of a shipped configuration")
    parser.add_argument("--out", type=Path, metavar="FILE|DIR", help="the .npz file, or its folder (default: here)")


def run(arguments: argparse.Namespace) -> int:
    from blindsr.kernels.basis_fit import fit_basis

    fit_basis(arguments.config, arguments.out)
    return 0
