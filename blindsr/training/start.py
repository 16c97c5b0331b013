"""How a run begins: starting weights from earlier stages."""

from __future__ import annotations

import sys
from pathlib import Path

from blindsr import checkpoints
from blindsr.alternating import AlternatingSR
from blindsr.interfaces import BlindSRError
from blindsr.training.settings import PARTS


def start_from(model: AlternatingSR, files: tuple[str, ...]) -> set[str]:
    """Take the starting weights of every part that a checkpoint in ``files`` has *trained*; later files win.

    A stage's file also holds the parts that did not learn in it, as they were drawn at random. ``FILE:part`` takes one
    part alone: ``tiny:restorer`` for a model whose kernels are not those of `tiny`. Returns the names of the parts taken.

    Raises BlindSRError for a file that does not exist, serves nothing, or whose parts have another shape.
    """
    all_taken: set[str] = set()
    for words in files:
        file, _, only = words.rpartition(":")
        if not file or only not in PARTS:
            file, only = words, ""
        if not Path(file).exists() and file not in checkpoints.shipped_names():
            cure = "train that stage first, name another file, or start without: --set 'start_from=[]'"
            raise BlindSRError(f"start_from: {file} does not exist; {cure}")
        checkpoint = checkpoints.load(file)
        given, taken = checkpoint.model, []
        for name in checkpoint.card.get("trained", PARTS):
            ours, theirs = getattr(model, name), getattr(given, name)
            if ours is None or theirs is None or only not in ("", name):
                continue
            try:
                ours.load_state_dict(theirs.state_dict())
            except RuntimeError:
                cure = f"to take one part alone: --set 'start_from=[{file}:PART]', of {', '.join(PARTS)}"
                raise BlindSRError(f"{file}: its {name} has another shape than this configuration's; {cure}") from None
            taken.append(name)
        if not taken:
            raise BlindSRError(f"{words}: has no part that this configuration could start from")
        all_taken.update(taken)
        print(f"starting weights of {', '.join(taken)} from {file}", file=sys.stderr)
    return all_taken
