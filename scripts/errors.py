"""How the scripts beside this one end on bad input: in one line, as the commands do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from blindsr.interfaces import BlindSRError


def run(main: Callable[[], None]) -> None:
    """``main``; what is wrong with the input in one line."""
    try:
        main()
    except BlindSRError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")
