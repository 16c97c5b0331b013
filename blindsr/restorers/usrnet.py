"""USRNet: non-blind super-resolution by deep unfolding (Zhang, Van Gool, Timofte, CVPR 2020).

Half-quadratic splitting of  min_x ‖y − S K x‖² / 2σ² + λ Φ(x)  alternates, K times::

    z_i = D(x_{i−1}, y, k, s; α_i)      data step, closed form, no weights     (eq. 6–9)
    x_i = P(z_i; β_i)                   prior, a ResUNet denoiser              (eq. 10)
    α, β = H(σ, s)                      hyper-parameters, a small MLP          (eq. 11)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blindsr.interfaces import Restorer
from blindsr.ops.fourier import DataStep
from blindsr.ops.resize import nearest_enlarge
from blindsr.registry import register
from blindsr.restorers.resunet import ResUNet

ALPHA_FLOOR = 1e-6


class HyperNet(nn.Module):
    """H: (sigma, scale) -> alpha and beta of every iteration, both positive."""

    def __init__(self, n_iterations: int, hidden: int):
        super().__init__()
        self.n_iterations = n_iterations
        self.mlp = nn.Sequential(
            nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2 * n_iterations)
        )

    def start_small(self, alpha: float = 0.01, beta: float = 0.05) -> None:
        """First guess: trust the data at first (small alpha), denoise gently."""
        last = self.mlp[-1]
        last.weight.data.mul_(0.1)
        for part, value in ((slice(None, self.n_iterations), alpha), (slice(self.n_iterations, None), beta)):
            last.bias.data[part] = torch.tensor(value).expm1().log()  # the inverse of softplus

    def forward(self, sigma: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """sigma (B,) -> alpha (B, K), beta (B, K)."""
        settings = torch.stack([sigma, torch.full_like(sigma, scale)], dim=1)
        values = F.softplus(self.mlp(settings)) + ALPHA_FLOOR
        return values[:, : self.n_iterations], values[:, self.n_iterations :]


@dataclass(frozen=True)
class USRNetConfig:
    """The defaults are the published full-size model: 17,016,016 parameters."""

    n_iterations: int = 8
    channels: tuple[int, ...] = (64, 128, 256, 512)
    hidden: int = 64


@register("restorer", "usrnet", USRNetConfig)
class USRNet(Restorer):
    """See the module's first lines; tensors and units as in :mod:`blindsr.interfaces`."""

    def __init__(self, config: USRNetConfig = USRNetConfig()):
        super().__init__()
        self.n_iterations = config.n_iterations
        self.prior = ResUNet(in_channels=4, out_channels=3, channels=config.channels)
        self.hyper = HyperNet(config.n_iterations, config.hidden)
        self.prior.start_as_identity()
        self.hyper.start_small()

    def forward(
        self,
        y: Tensor,
        k: Tensor,
        sigma: Tensor,
        scale: int,
        x0: Tensor | None = None,
        iterations: range | None = None,
        shift: float = 0.0,
    ) -> Tensor:
        """Restore ``y`` (B, 3, H, W) blurred circularly by ``k`` (B, 1, h, w) with noise ``sigma`` (B,).

        ``x0`` starts the iteration (None: nearest neighbour); ``iterations`` names the steps to run
        (None: all); ``shift`` moves the kernel. The data step keeps the precision of ``y`` whatever autocast says.
        """
        x = nearest_enlarge(y, scale) if x0 is None else x0
        with torch.autocast(y.device.type, enabled=False):
            data_step = DataStep(k, scale, (x.shape[-2], x.shape[-1]), shift)
            alpha, beta = self.hyper(sigma, scale)
        for i in range(self.n_iterations) if iterations is None else iterations:
            with torch.autocast(y.device.type, enabled=False):
                z = data_step(x, y, alpha[:, i, None, None, None])
                strength = beta[:, i, None, None, None].expand(-1, 1, *z.shape[-2:])
            x = self.prior(torch.cat([z, strength], dim=1)).to(y.dtype)
        return x
