"""A picture written by a thread of its own while the next bands are being restored."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from blindsr import images

_END = object()


class _GivenUp(Exception):
    """Ends the writing of a picture that is not to be."""


class BandSink:
    """Takes the bands of a picture of ``shape`` (H, W, S), and writes ``path`` as they come; profile and EXIF are those
    of ``like``. Making one raises ImageError where the file may not be written. Exactly one of :meth:`close` and
    :meth:`give_up` ends it."""

    def __init__(self, path: Path, shape: tuple[int, int, int], like: images.Photo, overwrite: bool):
        dtype = like.pixels.dtype
        images.check_writable(path, shape, dtype, overwrite)
        self._queue: queue.Queue = queue.Queue(maxsize=2)
        self._error: BaseException | None = None
        arguments = (path, self._bands(), shape, dtype, like.icc, like.exif, overwrite)
        self._thread = threading.Thread(target=self._write, args=arguments, daemon=True)
        self._thread.start()

    def put(self, band: np.ndarray) -> None:
        """Hand over the next rows (h, W, S). Raises what has gone wrong in writing."""
        while self._thread.is_alive():
            try:
                return self._queue.put(band, timeout=0.2)
            except queue.Full:
                continue
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Wait until the file is there; raises what went wrong."""
        self.put(_END)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def give_up(self) -> None:
        """Leave no file."""
        try:
            self.put(_GivenUp())
        except Exception:
            pass  # it has failed already, and left none
        self._thread.join()

    def _bands(self) -> Iterator[np.ndarray]:
        while (band := self._queue.get()) is not _END:
            if isinstance(band, _GivenUp):
                raise band
            yield band

    def _write(self, *arguments) -> None:
        try:
            images.write_bands(*arguments)
        except BaseException as error:
            self._error = error
