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
from blindsr.limits import check_least
from blindsr.ops.fourier import DataStep
from blindsr.ops.resize import nearest_enlarge
from blindsr.registry import register
from blindsr.restorers.doubtful import Changes, Doubting, gate
from blindsr.restorers.resunet import ResUNet

ALPHA_FLOOR = 1e-6
SMALL_SIGMA = 0.1 / 255  # on the logarithmic scale of noise levels, what is nearly none
SMALL_DOUBT = 0.02  # the networks see doubts on a logarithmic scale from here: what is nearly sure is not quite sure


class HyperNet(nn.Module):
    """H: (sigma, scale), or (sigma, scale, doubt), -> alpha and beta of every iteration, all positive.

    As published it takes σ in [0, 1] as it is and its answers go through softplus. Noise levels below 1 of 255 are then
    all one to it, and an α of 0.001 hardly moves. ``logarithmic`` is for both: log(1 + σ/σ₀) goes in, exp comes out."""

    def __init__(self, n_iterations: int, hidden: int, settings: int = 2, logarithmic: bool = False):
        super().__init__()
        self.n_iterations, self.logarithmic = n_iterations, logarithmic
        self.mlp = nn.Sequential(
            nn.Linear(settings, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * n_iterations),
        )

    def start_small(self, alpha: float = 0.01, beta: float = 0.05) -> None:
        """First guess: trust the data at first (small alpha), denoise gently."""
        last = self.mlp[-1]
        last.weight.data.mul_(0.1)
        for part, value in ((slice(None, self.n_iterations), alpha), (slice(self.n_iterations, None), beta)):
            value = torch.tensor(value)
            last.bias.data[part] = value.log() if self.logarithmic else value.expm1().log()  # the inverse of softplus

    def forward(self, settings: Tensor) -> Tensor:
        """settings (B, 2 or 3) -> (B, 2 K): alpha of every iteration, then beta."""
        if not self.logarithmic:
            return F.softplus(self.mlp(settings)) + ALPHA_FLOOR
        sigma, others = settings[:, :1], settings[:, 1:]
        return self.mlp(torch.cat([torch.log1p(sigma / SMALL_SIGMA) / 4, others], dim=1)).exp() + ALPHA_FLOOR


@dataclass(frozen=True)
class USRNetConfig:
    """The defaults are the published full-size model: 17,016,016 parameters. With ``fold`` 2 the prior works on blocks of
    2×2 pixels (:mod:`blindsr.restorers.resunet`). ``logarithmic``: the scales of H (:class:`HyperNet`).

    With a ``doubt_rank`` above 0 the restorer is also told how wrong its kernel may be: one more input of H and one
    more channel of the prior, and changes of that rank for the weights of both (:mod:`blindsr.restorers.doubtful`).
    A network that must serve true and estimated kernels with the same weights loses sharpness with the true ones."""

    n_iterations: int = 8
    channels: tuple[int, ...] = (64, 128, 256, 512)
    hidden: int = 64
    doubt_rank: int = 0
    fold: int = 1
    logarithmic: bool = False

    def __post_init__(self) -> None:
        check_least(1, n_iterations=self.n_iterations, hidden=self.hidden, fold=self.fold)
        if not self.channels or min(self.channels) < 1:
            raise ValueError("channels must name one number or more, each of at least 1")
        if self.channels[0] < 3 * self.fold**2:
            raise ValueError(f"fold {self.fold} needs at least {3 * self.fold**2} channels in the first layer")
        check_least(0, doubt_rank=self.doubt_rank)


@register("restorer", "usrnet", USRNetConfig)
class USRNet(Restorer):
    """See the module's first lines; tensors and units as in :mod:`blindsr.interfaces`."""

    def __init__(self, config: USRNetConfig = USRNetConfig()):
        super().__init__()
        self.n_iterations = config.n_iterations
        self.doubts = config.doubt_rank > 0
        self.prior = ResUNet(4 + self.doubts, 3, config.channels, fold=config.fold)
        self.multiple = self.prior.multiple
        self.hyper = HyperNet(config.n_iterations, config.hidden, 2 + self.doubts, config.logarithmic)
        self.prior.start_as_identity()
        self.hyper.start_small()
        if self.doubts:  # whoever is never told a doubt learns nothing of it: it must not stay a random influence
            nn.init.zeros_(self.prior.head.weight[:, 4 * config.fold**2 :])
            nn.init.zeros_(self.hyper.mlp[0].weight[:, 2:])
            self.prior_changes = Changes(self.prior, config.doubt_rank)
            self.hyper_changes = Changes(self.hyper, config.doubt_rank)

    def forward(
        self,
        y: Tensor,
        k: Tensor,
        sigma: Tensor,
        scale: int,
        x0: Tensor | None = None,
        iterations: range | None = None,
        shift: float = 0.0,
        doubt: Tensor | None = None,
    ) -> Tensor:
        """Restore ``y`` (B, 3, H, W) blurred circularly by ``k`` (B, 1, h, w) with noise ``sigma`` (B,).

        ``x0`` starts the iteration (None: nearest neighbour); ``iterations`` names the steps to run
        (None: all); ``shift`` moves the kernel; ``doubt`` (B,) counts where the configuration has it. The data
        step keeps the precision of ``y`` whatever autocast says.
        """
        x = nearest_enlarge(y, scale) if x0 is None else x0
        with torch.autocast(y.device.type, enabled=False):
            data_step = DataStep(k, scale, (x.shape[-2], x.shape[-1]), shift)
            settings = self.settings(sigma, torch.full_like(sigma, scale), doubt)
            alpha, beta = self.hyper_parameters(settings, doubt).chunk(2, dim=1)
            prior = self.prior
            if self.doubts and doubt is not None:
                prior = Doubting(prior, self.prior_changes, gate(doubt))
        for i in range(self.n_iterations) if iterations is None else iterations:
            with torch.autocast(y.device.type, enabled=False):
                z = data_step(x, y, alpha[:, i, None, None, None])
                told = torch.cat([beta[:, i, None], settings[:, 2:]], dim=1)
                maps = told[..., None, None].expand(-1, -1, *z.shape[-2:])
            x = prior(torch.cat([z, maps], dim=1)).to(y.dtype)
        return x

    def settings(self, sigma: Tensor, scale: Tensor, doubt: Tensor | None = None) -> Tensor:
        """What H is told, (B, 2 or 3): noise levels, scales and, where the configuration has it, doubts on their
        logarithmic scale; (B,) each."""
        told = [sigma, scale]
        if self.doubts:
            told.append(torch.zeros_like(sigma) if doubt is None else torch.log1p(doubt / SMALL_DOUBT) / 4)
        return torch.stack(told, dim=1)

    def hyper_parameters(self, settings: Tensor, doubt: Tensor | None = None) -> Tensor:
        """alpha and beta of every iteration, (B, 2 K), as H answers where its weights change with the ``doubt``."""
        hyper = self.hyper
        if self.doubts and doubt is not None:
            hyper = Doubting(hyper, self.hyper_changes, gate(doubt))
        return hyper(settings)
