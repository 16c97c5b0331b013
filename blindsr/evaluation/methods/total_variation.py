"""Total variation with the true kernel: what can be had without any learning.

    min_x  ½ ‖y − S K x‖² + λ TV(x),    TV(x) = Σ |∇x|, of every channel

by ADMM (Boyd et al., Foundations and Trends in Machine Learning 3(1), 2011, section 3.1.1)::

    z ← argmin ‖y − S K z‖² + ρ ‖z − (x − u)‖²        the data step, closed form
    x ← argmin ρ/2 ‖x − (z + u)‖² + λ TV(x)           denoising, by Chambolle's dual projection
    u ← u + z − x
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from blindsr.alternating import AlternatingSR
from blindsr.evaluation.cases import Case
from blindsr.evaluation.methods.base import Method, Result
from blindsr.inference.boundary import pad
from blindsr.inference.surroundings import surround
from blindsr.limits import check_least
from blindsr.ops.fourier import DataStep
from blindsr.ops.resize import nearest_enlarge
from blindsr.registry import register


@dataclass(frozen=True)
class TotalVariationConfig:
    """``weight`` is λ of a photo without noise; to it ``per_sigma`` · σ is added, σ in [0, 1]. ``rho`` couples the two
    steps and changes the speed, not the answer; ``iterations`` of ADMM, each of ``inner`` dual steps."""

    weight: float = 1e-4
    per_sigma: float = 0.1
    rho: float = 0.02
    iterations: int = 30
    inner: int = 5

    def __post_init__(self) -> None:
        check_least(1e-9, weight=self.weight, rho=self.rho)
        check_least(0, per_sigma=self.per_sigma)
        check_least(1, iterations=self.iterations, inner=self.inner)


@register("method", "total_variation", TotalVariationConfig)
class TotalVariation(Method):
    needs_kernel = True

    def restore(self, case: Case, model: AlternatingSR | None) -> list[Result]:
        size = (case.k.shape[-2], case.k.shape[-1])
        padded = pad(case.y, case.scale, size, "circular" if case.circular else "reflect")
        padded = surround(padded, case.k, case.sigma, case.scale)
        return [Result(padded.crop(self.solve(padded.y, case.k, case.scale, float(case.sigma)), case.scale))]

    def solve(self, y: Tensor, k: Tensor, scale: int, sigma: float) -> Tensor:
        """``y`` (B, C, H, W), blurred circularly by ``k`` (1, 1, h, w): x (B, C, s·H, s·W)."""
        c = self.config
        threshold = (c.weight + c.per_sigma * sigma) / c.rho
        x = nearest_enlarge(y, scale)
        step = DataStep(k, scale, (x.shape[-2], x.shape[-1]))
        alpha, u, p = y.new_full((1, 1, 1, 1), c.rho), torch.zeros_like(x), None
        for _ in range(c.iterations):
            z = step(x - u, y, alpha)
            x, p = denoise(z + u, threshold, c.inner, p)
            u = u + z - x
        return x


def denoise(g: Tensor, threshold: float, iterations: int, p: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``argmin_x ½ ‖x − g‖² + threshold · TV(x)`` of g (B, C, H, W), and its dual (2, B, C, H, W) to go on from.

    Chambolle, "An algorithm for total variation minimization", Journal of Mathematical Imaging and Vision 20, 2004,
    equation 9, with the step 1/4 that he found to converge. Nothing flows over the border.
    """
    p = g.new_zeros(2, *g.shape) if p is None else p
    for _ in range(iterations):
        slope = gradient(divergence(p) - g / threshold)
        p = (p + slope / 4) / (1 + slope.square().sum(0).sqrt() / 4)
    return g - threshold * divergence(p), p


def gradient(x: Tensor) -> Tensor:
    """Forward differences down and right, 0 beyond the border: (2, B, C, H, W)."""
    return torch.stack([F.pad(x.diff(dim=-2), (0, 0, 0, 1)), F.pad(x.diff(dim=-1), (0, 1))])


def divergence(p: Tensor) -> Tensor:
    """Minus the adjoint of :func:`gradient`."""
    down, right = F.pad(p[0][..., :-1, :], (0, 0, 1, 1)), F.pad(p[1][..., :-1], (1, 1))
    return down.diff(dim=-2) + right.diff(dim=-1)
