"""Train a model from a configuration."""

from __future__ import annotations

import argparse
from pathlib import Path

from blindsr.commands.errors import USER_ERROR

DESCRIPTION = """\
Train a model as a configuration says. Checkpoints, log and loss curves go to the run's folder; the same command,
started again, goes on from the last checkpoint."""

EXAMPLES = """\
shipped configurations (docs/training.md says what each does):
  usrnet_tiny, usrnet_full      the restorer, told the kernel
  estimator                     the first estimate alone
  tiny, tiny_recorded           restorer and correction together, then from recorded estimates
  joint, joint_motion           all three together, with smaller kernels
  joint_real                    for photos from cameras
  usrgan, bsrnet, bsrgan        adversarial stages, and the published layouts

examples:
  blindsr train usrnet_tiny --set 'data.folders=[photos]'
  blindsr train configs/train/usrnet_tiny.yaml --set seed=2 --set data.batch=8 --out runs/second
  blindsr train joint --check
  torchrun --nproc-per-node=2 -m blindsr train usrnet_tiny"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or the bare name of a shipped configuration")
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", dest="overrides", help="change one option; repeatable"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME)")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="go on from the last checkpoint, if any (the default)")
    start.add_argument("--fresh", action="store_true", help="start anew, whatever the folder holds")
    start.add_argument(
        "--check", action="store_true", help="see in under two minutes whether one batch can be learned; keeps nothing"
    )


def run(arguments: argparse.Namespace) -> int:
    from blindsr.commands.batch import check_folder
    from blindsr.interfaces import BlindSRError
    from blindsr.training import run as train

    if arguments.check:
        if arguments.out:
            raise BlindSRError("--check keeps nothing; leave --out out")
        return check(arguments)
    if arguments.out:
        check_folder(arguments.out)
    folder = train(arguments.config, overrides=arguments.overrides, out=arguments.out, fresh=arguments.fresh)
    print(f"the model and its curves are in {folder.resolve()}")
    return 0


def check(arguments: argparse.Namespace) -> int:
    from blindsr.training import load_config
    from blindsr.training.check import check

    passed, said = check(load_config(arguments.config, arguments.overrides))
    print(f"{'PASS' if passed else 'FAIL'}: {said}")
    return 0 if passed else USER_ERROR
