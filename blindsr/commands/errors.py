"""What the user is told of an error: one line."""

from __future__ import annotations

from blindsr.processes import is_out_of_memory

USER_ERROR, DEFECT, INTERRUPTED = 2, 1, 130
MEMORY = "not enough memory: choose smaller pieces (restore --tile, train data.batch), or close other programs"


def one_line(error: BaseException) -> str:
    """The message of an error on one line; an error of the system names its file."""
    if is_out_of_memory(error):
        return MEMORY
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def is_users(error: BaseException) -> bool:
    """Whether the user can mend it: our own errors, files, memory. All else is a defect of blindsr."""
    from blindsr.interfaces import BlindSRError  # late: it brings torch

    return isinstance(error, (BlindSRError, OSError)) or is_out_of_memory(error)
