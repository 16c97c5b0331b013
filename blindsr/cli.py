"""The command line: parse, call, print.

Exit codes: 0 done, 2 something the user can mend (one line on standard error says what), 130 stopped by
Ctrl-C or SIGTERM. A traceback (exit code 1) is a defect of blindsr.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence

from blindsr import __version__
from blindsr.commands import basis, benchmark, degrade, estimate, pack, restore, train
from blindsr.commands.arguments import Parser
from blindsr.commands.errors import INTERRUPTED, USER_ERROR, is_users, one_line

COMMANDS = {
    "restore": restore,
    "estimate": estimate,
    "degrade": degrade,
    "basis": basis,
    "pack": pack,
    "train": train,
    "benchmark": benchmark,
}

DESCRIPTION = """\
Restore photos whose blur is unknown: a sharper, larger photo, the blur kernel that was found, and the noise level."""

EXAMPLES = """\
examples:
  blindsr restore photo.jpg                      results/photo_x4.png, and what was found in results/photo_x4.json
  blindsr restore photos/ --scale 2 --compare    a whole folder, with pictures of before, after and the kernel
  blindsr restore photo.png --kernel gaussian:1.6 --model tiny
                                                 the blur is known: a Gaussian of width 1.6 (non-blind)
  blindsr estimate photo.jpg --scale 2           the kernel and the noise level alone
  blindsr degrade photos/ --scale 4 --patch 72 --draws 10
                                                 training pairs that look like real photos
  blindsr basis gaussian_21                      fit a PCA basis of blur kernels
  blindsr pack photos/                           keep photos so that training reads patches quickly
  blindsr train usrnet_tiny                      train a model
  blindsr benchmark usrnet_table1 --data data    a table of the field, with its protocol

'blindsr COMMAND --help' explains each command. Noise levels are on the 0-255 scale."""


def parser() -> Parser:
    top = Parser(prog="blindsr", description=DESCRIPTION, epilog=EXAMPLES)
    top.add_argument("--version", action="version", version=f"blindsr {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").splitlines()[0].rstrip(".")
        sub = commands.add_parser(
            name, help=summary[0].lower() + summary[1:], description=command.DESCRIPTION, epilog=command.EXAMPLES
        )
        command.configure(sub)
        sub.set_defaults(run=command.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = parser().parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that are not UTF-8
    # What a cluster sends when time is up ends a run as Ctrl-C does. (Only the main thread may say so.)
    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if here else None
    try:
        return parsed.run(parsed)
    except KeyboardInterrupt:
        print("blindsr: stopped; results that were finished are kept", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not is_users(error):
            raise
        print(f"blindsr: {one_line(error)}", file=sys.stderr)
        return USER_ERROR
    finally:
        if here:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
