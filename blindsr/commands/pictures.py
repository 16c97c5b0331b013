"""Pictures for people: before and after side by side, and a plot of a kernel."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from blindsr import images
from blindsr.kernels.files import gray_levels
from blindsr.ops.resize import bicubic_enlarge

if TYPE_CHECKING:
    from blindsr.interfaces import Grid

LARGEST = 2000  # pixels of a panel's side: a larger photo shows its middle
GAP = 16
PAPER, INK = (255, 255, 255), (32, 32, 32)


def middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """The middle of an (H, W, C) array, at most ``side`` pixels high and wide."""
    top, left = (max(n - side, 0) // 2 for n in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """(H, W[, C]) uint8 or uint16 -> (H, W, 3) uint8; an alpha channel is left out."""
    pixels = images.to_8_bits(pixels if pixels.ndim == 3 else pixels[..., None])
    channels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)
    return np.ascontiguousarray(channels)


class Middle:
    """The middle of a restored photo, and what lies under it: all of a small one, at most ``LARGEST`` pixels a side.

    ``lr`` (h, w, C), uint8 or uint16, is the photo; the restored one comes from top to bottom in bands (b, s·w, S)."""

    def __init__(self, lr: np.ndarray, scale: int):
        self.scale = scale
        self.whole = max(lr.shape[:2]) * scale <= LARGEST
        self.before = as_rgb(middle(lr, LARGEST // scale))
        self._top, self._left = (max(n - LARGEST // scale, 0) // 2 * scale for n in lr.shape[:2])
        self._row = 0
        self._kept: list[np.ndarray] = []

    def put(self, band: np.ndarray) -> None:
        """Take the next rows; what lies outside is let go."""
        height, width = (n * self.scale for n in self.before.shape[:2])
        first, last = (max(edge - self._row, 0) for edge in (self._top, self._top + height))
        self._row += len(band)
        if first < last:
            self._kept.append(as_rgb(band[first:last, self._left : self._left + width]))

    @property
    def after(self) -> np.ndarray:
        """(h, w, 3) uint8"""
        return np.concatenate(self._kept)


def before_and_after(shown: Middle, kernel: np.ndarray | None, grid: Grid, sigma: float | None) -> Image.Image:
    """One picture: the photo enlarged bicubically, restored, and the ``kernel`` (kh, kw), if any. ``sigma`` is in
    [0, 1] and written on the 0–255 scale."""
    scale, after, part = shown.scale, shown.after, "" if shown.whole else " (middle)"
    y = torch.from_numpy(shown.before).permute(2, 0, 1).float()
    enlarged = bicubic_enlarge(y, scale, grid).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()

    height = max(after.shape[0], 128)
    side = min(height, max(after.shape[1] // 2, 128))
    panels = [  # ASCII: the font that Pillow brings has no Greek
        (Image.fromarray(enlarged), f"before (bicubic x{scale}){part}" if scale > 1 else f"before{part}"),
        (Image.fromarray(after), f"after{part}"),
    ]
    if kernel is not None:
        panels.append((kernel_picture(kernel, side), f"kernel, noise {255 * sigma:.1f}"))
    font = ImageFont.load_default(max(12, min(40, height // 20)))
    line = round(font.size * 1.6)
    widths = [max(picture.width, round(font.getlength(text))) for picture, text in panels]
    sheet = Image.new("RGB", (sum(widths) + GAP * (len(panels) + 1), height + line + 2 * GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    x = GAP
    for (picture, text), width in zip(panels, widths):
        draw.text((x, GAP), text, fill=INK, font=font)
        sheet.paste(picture, (x, GAP + line))
        x += width + GAP
    return sheet


def kernel_picture(kernel: np.ndarray, side: int) -> Image.Image:
    """A kernel (h, w) as a picture of about ``side`` pixels: white is its largest tap, every tap a square."""
    factor = max(1, side // max(kernel.shape))
    picture = Image.fromarray(gray_levels(kernel))
    return picture.resize((kernel.shape[1] * factor, kernel.shape[0] * factor), Image.Resampling.NEAREST).convert("RGB")


def kernel_sheet(kernels: np.ndarray) -> Image.Image:
    """Kernels (R, C, h, w) as they lie on the photo, side by side; each is as bright as its own largest tap."""
    rows, columns = kernels.shape[:2]
    pictures = [np.array(kernel_picture(k, 4 * max(k.shape))) for row in kernels for k in row]
    return contact_sheet(pictures, columns)


def kernel_plot(kernel: np.ndarray, title: str) -> bytes:
    """A plot of a kernel (h, w) with axes from its centre and a colour bar, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    h, w = kernel.shape
    edges = (-(w // 2) - 0.5, w - w // 2 - 0.5, h - h // 2 - 0.5, -(h // 2) - 0.5)
    drawn = axes.imshow(kernel, cmap="magma", extent=edges, interpolation="nearest")
    axes.set(title=title, xlabel="pixels of the result", ylabel="pixels of the result")
    figure.colorbar(drawn, ax=axes)
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data)
    return data.getvalue()


def png(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, format="PNG")
    return data.getvalue()


def contact_sheet(pictures: Sequence[np.ndarray], columns: int) -> Image.Image:
    """``pictures`` (h, w, 3) uint8, all of one size, side by side in rows of ``columns``."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    gap = GAP // 4
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), PAPER)
    for i, picture in enumerate(pictures):
        at = (gap + i % columns * (width + gap), gap + i // columns * (height + gap))
        sheet.paste(Image.fromarray(picture), at)
    return sheet
