"""What validation saw: one row per batch with the photo, its restoration, the truth and both kernels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blindsr.atomic import whole_file
from blindsr.training.validation import Shown

COLUMNS = ("low resolution", "restored", "sharp", "true kernel", "estimated kernel")


def draw_pictures(path: Path, rows: Sequence[Shown]) -> None:
    """Write the PNG ``path``; its folder is made."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 3.4 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(COLUMNS), squeeze=False)
    for line, row in zip(axes, rows):
        for axis, title, picture in zip(line, COLUMNS, (row.lr, row.sr, row.hr, row.true_kernel, row.kernel)):
            axis.axis("off")
            if picture is None:
                continue
            axis.set_title(f"{row.title} {title}", fontsize=9)
            axis.imshow(picture, cmap=None if picture.ndim == 3 else "magma", interpolation="nearest", vmin=0)
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=90)
