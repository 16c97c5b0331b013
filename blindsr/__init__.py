"""Blind super-resolution: a photo of unknown blur in, a sharper, larger one out, with its blur kernel and noise.

    import blindsr
    r = blindsr.restore("photo.jpg", scale=4)
    r.save("photo_x4.png")                         # also r.image, r.kernel, r.sigma

Importing this is fast: torch is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from blindsr.images import Photo
    from blindsr.inference.facade import BlindSR, Restored

__version__ = "0.1.0"
__all__ = ["BlindSR", "BlindSRError", "__version__", "restore"]


def restore(
    source: str | Path | np.ndarray | Photo,
    scale: int = 4,
    model: str | Path = "tiny-real",
    *,
    device: str | None = None,
    precision: str = "auto",
    **options: Any,
) -> Restored:
    """Restore one photo; to restore several, keep a :class:`BlindSR` and its model.

    ``source`` is a file, an (H, W[, C]) uint8 or uint16 array (RGB) or an ``images.Photo``; ``scale`` is 1, 2,
    3 or 4. ``model`` is a shipped name (tiny-real for photos, tiny for data made by the
    classical formula) or a weights file. ``device`` and ``precision`` go to
    :meth:`BlindSR.from_pretrained`, the other options (``kernel``, ``sigma`` in [0, 1], ``grid``,
    ``boundary``, ``tile``, …) to :meth:`BlindSR.restore`. Raises :class:`BlindSRError` for what the
    user can mend.
    """
    from blindsr.inference.facade import BlindSR

    return BlindSR.from_pretrained(model, device=device, precision=precision).restore(source, scale, **options)


def __getattr__(name: str) -> Any:
    if name == "BlindSR":
        from blindsr.inference.facade import BlindSR

        return BlindSR
    if name == "BlindSRError":
        from blindsr.interfaces import BlindSRError

        return BlindSRError
    raise AttributeError(f"module 'blindsr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
