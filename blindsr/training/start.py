"""How a run begins: starting weights from earlier stages, and which of them rest."""

from __future__ import annotations

import sys
from pathlib import Path

from blindsr import checkpoints
from blindsr.alternating import AlternatingSR
from blindsr.config import nearest
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
            if name == "restorer":
                check_scales(given, model, file)
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


def check_scales(given: AlternatingSR, model: AlternatingSR, file: str) -> None:
    """Raise BlindSRError for hyper-parameters on another scale: their weights would fit, and mean something else."""
    theirs, ours = (getattr(m.config.restorer, "logarithmic", False) for m in (given, model))
    if theirs != ours:
        cure = f"--set model.restorer.logarithmic={str(theirs).lower()}"
        if ours:
            cure += f", or first scripts/logarithmic_hyper.py {file} OUT"
        raise BlindSRError(f"{file}: its hyper-parameters are {'' if theirs else 'not '}on a logarithmic scale; {cure}")


def let_rest(model: AlternatingSR, prefixes: tuple[str, ...]) -> None:
    """Weights whose names begin with one of ``prefixes`` do not learn.

    Raises BlindSRError for a prefix that no weight has, and where nothing is left to learn."""
    weights = dict(model.named_parameters())
    for prefix in prefixes:
        named = [weight for name, weight in weights.items() if f"{name}.".startswith(f"{prefix}.")]
        if not named:
            parts = {".".join(name.split(".")[:2]) for name in weights}
            raise BlindSRError(f"rest: no weight is called {prefix!r}{nearest(prefix, parts)}")
        for weight in named:
            weight.requires_grad_(False)
    if not any(weight.requires_grad for weight in weights.values()):
        raise BlindSRError("rest: nothing is left to learn; name fewer weights")
