"""The PCA basis that turns a kernel into a short code and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from blindsr.atomic import whole_file
from blindsr.interfaces import BlindSRError


def fit_size(k: np.ndarray, size: int, tolerance: float = 1e-3) -> np.ndarray:
    """Zero-pad or crop the kernel ``k`` (h, w), both odd, about its centre to (size, size); sum and dtype stay.

    Raises BlindSRError when more than ``tolerance`` of its absolute mass would be cut off, or it has none.
    """
    h, w = k.shape
    out = np.zeros((size, size), k.dtype)
    rows, cols = min(h, size) // 2, min(w, size) // 2
    inner = k[h // 2 - rows : h // 2 + rows + 1, w // 2 - cols : w // 2 + cols + 1]
    mass = np.abs(k).sum()
    if not mass > 0:
        raise BlindSRError("a kernel of zeros (or NaN) blurs nothing; give one with a positive sum")
    lost = 1 - np.abs(inner).sum() / mass
    if lost > tolerance:
        raise BlindSRError(
            f"a kernel of {h}×{w} does not fit {size}×{size}: {100 * lost:.1f} % of it would be cut off;"
            " use a smaller kernel or a model with a larger one"
        )
    out[size // 2 - rows : size // 2 + rows + 1, size // 2 - cols : size // 2 + cols + 1] = inner
    return out * (k.sum() / inner.sum()) if lost else out


def principal_components(kernels: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Components (m, h·w), mean (h·w) and the share of variance that each component explains (m,), of (n, h, w).

    Covariance solver: the cost is one product of (h·w)² over all kernels, whatever ``m`` is.
    """
    from sklearn.decomposition import PCA

    flat = kernels.reshape(len(kernels), -1)
    if not 1 <= m <= min(flat.shape):
        raise BlindSRError(f"{len(flat)} kernels of {flat.shape[1]} pixels have no {m} components; ask for fewer")
    mean = flat.mean(0, dtype=np.float64)
    # This solver subtracts the mean only from the finished product, which costs float32 its digits.
    pca = PCA(n_components=m, svd_solver="covariance_eigh").fit(flat - mean.astype(flat.dtype))
    components = pca.components_
    # Eigenvectors have no sign of their own: make the largest entry positive, so that a fit can be repeated.
    peaks = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], 1)
    return components * np.sign(peaks), mean, pca.explained_variance_ratio_


class KernelBasis(nn.Module):
    """Principal components of a kernel family: a kernel is ``mean + code @ components``.

    Buffers: ``components`` (m, size²) with orthonormal rows, ``mean`` (size²). The mean is kept: without
    it the first component is spent on it. As in Gu et al., "Blind Super-Resolution with Iterative Kernel
    Correction" (CVPR 2019), where the code has 10 numbers.
    """

    components: Tensor
    mean: Tensor
    record: dict[str, Any]

    def __init__(self, components: Tensor | np.ndarray, mean: Tensor | np.ndarray):
        """Raises BlindSRError when the shapes do not belong together."""
        super().__init__()
        components = torch.as_tensor(components, dtype=torch.float32)
        mean = torch.as_tensor(mean, dtype=torch.float32).reshape(-1)
        size = round(mean.numel() ** 0.5)
        if components.ndim != 2 or components.shape[1] != mean.numel() or size * size != mean.numel() or size % 2 == 0:
            raise BlindSRError(
                f"not a kernel basis: components {tuple(components.shape)} and mean {tuple(mean.shape)} do not"
                " belong to kernels of one odd size; make one with 'blindsr basis'"
            )
        self.size = size
        self.m = components.shape[0]
        self.record = {}
        self.register_buffer("components", components)
        self.register_buffer("mean", mean)

    def encode(self, k: Tensor) -> Tensor:
        """Codes (B, m) of kernels (B, 1, size, size). Raises BlindSRError for kernels of another size."""
        if k.ndim != 4 or k.shape[1:] != (1, self.size, self.size):
            raise BlindSRError(
                f"kernels of shape {tuple(k.shape)} do not fit a basis of {self.size}×{self.size};"
                f" bring them to (B, 1, {self.size}, {self.size}) first (kernels.basis.fit_size)"
            )
        with torch.autocast(k.device.type, enabled=False):  # kernels bear no bfloat16
            return (k.flatten(1) - self.mean) @ self.components.T

    def decode(self, code: Tensor) -> Tensor:
        """Kernels (B, 1, size, size) of codes (B, m): always non-negative with sum 1.

        A code so far off that nothing positive is left gives the mean kernel (a constant, so without
        gradient). Raises BlindSRError for codes of another length.
        """
        if code.ndim != 2 or code.shape[1] != self.m:
            raise BlindSRError(
                f"codes of shape {tuple(code.shape)} do not fit a basis of {self.m} components;"
                " the model and the basis do not belong together"
            )
        with torch.autocast(code.device.type, enabled=False):
            k = (self.mean + code @ self.components).clamp(min=0)
        mass = k.sum(1, keepdim=True)
        fallback = self.mean.clamp(min=0)
        k = torch.where(mass > 1e-6, k / mass.clamp(min=1e-6), fallback / fallback.sum())
        return k.view(-1, 1, self.size, self.size)

    @classmethod
    def fit(cls, kernels: np.ndarray, m: int) -> KernelBasis:
        """The first ``m`` principal components of ``kernels`` (n, h, w), by scikit-learn."""
        components, mean, _ = principal_components(kernels, m)
        return cls(components, mean)

    def truncated(self, m: int) -> KernelBasis:
        """The basis of the first ``m`` components."""
        if not 1 <= m <= self.m:
            raise BlindSRError(f"this basis has {self.m} components, so not {m}; fit a longer one with 'blindsr basis'")
        return KernelBasis(self.components[:m].clone(), self.mean.clone())

    def save(
        self,
        path: str | Path,
        record: Mapping[str, Any] | None = None,
        dtype: Literal["float32", "float16"] = "float32",
    ) -> None:
        """Write ``components`` (as ``dtype``), ``mean`` and ``record`` (how the basis was made, as JSON) to an .npz.

        Raises BlindSRError when the file cannot be written.
        """
        path = Path(path)
        arrays = {"components": self.components.cpu().numpy().astype(dtype), "mean": self.mean.cpu().numpy()}
        try:
            with whole_file(path) as part, open(part, "wb") as file:
                np.savez_compressed(file, record=np.array(json.dumps(dict(record or {}))), **arrays)
        except OSError as error:
            raise BlindSRError(f"{path}: cannot write the basis ({error.strerror or error}); choose another place") from None

    @classmethod
    def load(cls, path: str | Path) -> KernelBasis:
        """Read what :meth:`save` wrote (float16 components are widened); ``record`` becomes an attribute."""
        try:
            with np.load(path, allow_pickle=False) as file:
                basis = cls(file["components"].astype(np.float32), file["mean"].astype(np.float32))
                basis.record = json.loads(str(file["record"])) if "record" in file else {}
        except FileNotFoundError:
            raise BlindSRError(f"{path}: no such kernel basis; make one with 'blindsr basis'") from None
        except BlindSRError as error:
            raise BlindSRError(f"{path}: {error}") from None
        except Exception:
            raise BlindSRError(f"{path}: not a kernel basis (.npz); make one with 'blindsr basis'") from None
        return basis
