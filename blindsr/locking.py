"""Folders that one process at a time may write to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from blindsr.interfaces import BlindSRError


@contextmanager
def only_writer(folder: Path, cure: str) -> Iterator[None]:
    """Hold the folder (made when missing) against other processes that ask for it in this way; the system lets go of it
    when the process ends, however it ends. Raises BlindSRError, with the ``cure``, where another one holds it."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BlindSRError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from None
    file = folder / ".lock"
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BlindSRError(f"{folder}: another process is writing to it; {cure}") from None
    except (OSError, NotImplementedError):  # a file system without locks: as if nobody else were there
        pass
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows removes no open file
                file.unlink()
            lock.release()
