"""The formula played forward as a protocol says: a sharp photo in, the low-resolution photo of a table out."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
import scipy.signal
import torch

from blindsr import images
from blindsr.evaluation.protocol import Protocol
from blindsr.interfaces import BlindSRError, Degraded
from blindsr.kernels.bicubic import bicubic_kernel
from blindsr.ops.filtering import blur
from blindsr.ops.resize import bicubic_shrink


def degrade(hr: np.ndarray, kernel: np.ndarray, scale: int, sigma_255: float, protocol: Protocol) -> Degraded:
    """The low-resolution photo that ``protocol`` makes of ``hr`` (H, W, 3) uint8 or uint16.

    ``kernel`` (h, w) is the blur before the decimation. In the answer ``kernel`` explains all of it, the filter of
    a bicubic decimation folded in, so that ``(x ⊗ k)↓s`` is the photo; ``hr`` is cropped; ``sigma`` is in [0, 1].
    Raises BlindSRError for a photo smaller than the kernel or the crop, and for negative taps on 8-bit values.
    """
    multiple = protocol.multiple(scale)
    height, width = (n // multiple * multiple for n in hr.shape[:2])
    folded = true_kernel(kernel, scale, protocol)
    if not height * width or max(folded.shape) > min(height, width):
        sides = f"{hr.shape[1]}×{hr.shape[0]}"
        raise BlindSRError(f"a photo of {sides} is too small for ×{scale} and the {folded.shape[0]}×{folded.shape[1]} "
                           "kernel of this protocol; use larger photos")  # fmt: skip
    hr = hr[:height, :width]
    if protocol.blur == "uint8":
        blurred = _blur_levels(hr, kernel, protocol.boundary)
    else:
        blurred = _blur_float(_as_float64(hr), kernel, protocol.boundary)
    if protocol.decimation == "corner":
        lr = blurred[::scale, ::scale]
    else:
        lr = bicubic_shrink(torch.from_numpy(_as_float64(blurred).transpose(2, 0, 1).copy()), scale)
        lr = lr.numpy().transpose(1, 2, 0)
    lr = _as_float64(lr).astype(np.float32)
    if sigma_255:
        noise = np.random.RandomState(protocol.seed).normal(0, sigma_255 / 255, lr.shape)
        lr = (lr + noise).astype(np.float32)
    if protocol.round_lr:
        lr = images.to_float(images.from_float(lr, np.uint8))
    record = {"scale": scale, "sigma_255": sigma_255, "seed": protocol.seed}
    return Degraded(lr, _as_float64(hr).astype(np.float32), folded, sigma_255 / 255, protocol.grid, record)


def true_kernel(kernel: np.ndarray, scale: int, protocol: Protocol) -> np.ndarray:
    """``kernel`` (h, w), convolved with the filter that a bicubic decimation amounts to: (h + 24, w + 24)."""
    if protocol.decimation == "corner":
        return kernel
    return scipy.signal.convolve2d(kernel, bicubic_kernel(scale))


def _as_float64(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype.kind == "f" else pixels / float(np.iinfo(pixels.dtype).max)


def _blur_levels(hr: np.ndarray, kernel: np.ndarray, boundary: str) -> np.ndarray:
    """On whole levels of 8 bits; the output is of the same type, which cuts the fraction off."""
    if kernel.min() < 0:
        raise BlindSRError("a kernel with negative taps cannot blur 8-bit values: choose 'blur: float'")
    mode = {"wrap": "wrap", "reflect": "mirror"}[boundary]
    return scipy.ndimage.convolve(images.to_8_bits(hr), kernel[..., None], mode=mode)


def _blur_float(hr: np.ndarray, kernel: np.ndarray, boundary: str) -> np.ndarray:
    if kernel.size == 1:
        return hr
    x = torch.from_numpy(np.ascontiguousarray(hr.transpose(2, 0, 1)))[None]
    k = torch.from_numpy(np.array(kernel, np.float64))[None, None]
    return blur(x, k, "circular" if boundary == "wrap" else "reflect")[0].numpy().transpose(1, 2, 0)
