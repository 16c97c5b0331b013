"""The adversarial stage: losses of critic and generator, and the critic itself.

A logit C(·) is high where the discriminator takes a picture for a real one; h(t) = log(1 + exp(−t)) is the cross
entropy of a logit t that should be high. Both losses are means of their terms rather than sums, so that whoever
knows nothing pays log 2 in every one and a weight means the same for either kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blindsr import registry
from blindsr.limits import check_least
from blindsr.training.discriminators.base import Discriminator

Kind = Literal["relativistic", "vanilla", "least_squares"]


@dataclass(frozen=True)
class AdversarialConfig:
    """How a stage with a critic is trained.

    ``discriminator`` is a component of that kind, ``kind`` the pair of losses, ``learning_rate`` that of the
    critic. The generator's loss gains ``weight`` times the adversarial term, ``start`` steps after the critic began
    to learn, and ``perceptual`` times the perceptual loss of the VGG-19 whose weights are in the file ``vgg``;
    where that is empty, ``matching`` times the distance between the discriminator's own features stands in for it.
    """

    discriminator: Any = field(metadata={"parse": registry.parse_component("discriminator")})
    kind: Kind = "relativistic"
    weight: float = 0.1
    perceptual: float = 1.0
    vgg: str = ""
    matching: float = 1.0
    learning_rate: float = 1e-4
    start: int = 0

    def __post_init__(self) -> None:
        check_least(0, weight=self.weight, perceptual=self.perceptual, matching=self.matching, start=self.start)
        if not self.learning_rate > 0:
            raise ValueError("learning_rate must be above 0")


def _high(logits: Tensor) -> Tensor:
    """Mean of h over logits that should be high; in float32, for autocast leaves them in bfloat16."""
    return F.softplus(-logits.float()).mean()


def vanilla_critic(fake: Tensor, real: Tensor) -> Tensor:
    """½ E h(C(real)) + ½ E h(−C(fake)): cross entropy (Goodfellow et al., NeurIPS 2014, equation 1)."""
    return (_high(real) + _high(-fake)) / 2


def vanilla_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """E h(C(fake)), the form that does not saturate (Goodfellow et al., end of section 3); ``real`` has no say."""
    return _high(fake)


def relativistic_critic(fake: Tensor, real: Tensor) -> Tensor:
    """½ E h(C(real) − E C(fake)) + ½ E h(E C(real) − C(fake)): real ones must look more real than the average
    fake, fakes less than the average real one (Jolicoeur-Martineau, ICLR 2019, RaSGAN; ESRGAN, equation 1).
    Averages run over everything, batch and patches."""
    fake, real = fake.float(), real.float()
    return (_high(real - fake.mean()) + _high(real.mean() - fake)) / 2


def relativistic_generator(fake: Tensor, real: Tensor) -> Tensor:
    """The critic's loss with the roles exchanged (ESRGAN, equation 2)."""
    return relativistic_critic(real, fake)


def least_squares_critic(fake: Tensor, real: Tensor) -> Tensor:
    """½ E (C(real) − 1)² + ½ E C(fake)² (Mao et al., ICCV 2017, equation 9: a = 0, b = c = 1)."""
    return ((real.float() - 1).square().mean() + fake.float().square().mean()) / 2


def least_squares_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """E (C(fake) − 1)²; ``real`` has no say."""
    return (fake.float() - 1).square().mean()


LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "relativistic": (relativistic_critic, relativistic_generator),
    "vanilla": (vanilla_critic, vanilla_generator),
    "least_squares": (least_squares_critic, least_squares_generator),
}
"""Kind -> losses of the critic and of the generator, both of the logits of fakes and of real ones."""


def feature_matching(fake_features: Sequence[Tensor], real_features: Sequence[Tensor]) -> Tensor:
    """Mean over the layers of the L1 distance between a discriminator's features of a restored picture and of the
    sharp one (Wang et al., "High-Resolution Image Synthesis …" (pix2pixHD), CVPR 2018, equation 4). The last of each
    are logits, which do not count; the real ones get no gradient."""
    pairs = zip(fake_features[:-1], real_features[:-1])
    return torch.stack([F.l1_loss(fake.float(), real.detach().float()) for fake, real in pairs]).mean()


@contextmanager
def still(module: nn.Module) -> Iterator[None]:
    """Within it the parameters collect no gradient and the power iteration of spectral norm makes no step."""
    learning = [p for p in module.parameters() if p.requires_grad]
    training = module.training
    for parameter in learning:
        parameter.requires_grad_(False)
    module.eval()
    try:
        yield
    finally:
        module.train(training)
        for parameter in learning:
            parameter.requires_grad_(True)


class Critic(nn.Module):
    """A discriminator with its pair of losses, one of :data:`LOSSES`.

    Calling it gives the critic's own loss; wrap it in DistributedDataParallel for that, and call :meth:`judge` of
    the module inside. Fakes and real pictures are (B, 3, H, W) in [0, 1], as many of the one as of the other.
    """

    def __init__(self, discriminator: Discriminator, kind: Kind = "relativistic"):
        super().__init__()
        self.discriminator = discriminator
        self.kind = kind

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """The critic's loss, without gradient to the fakes. One pass for both, as DistributedDataParallel and the
        buffers of spectral norm want it."""
        logits = self.discriminator(torch.cat([fake.detach().to(real.dtype), real]))
        return LOSSES[self.kind][0](*logits.split([len(fake), len(real)]))

    def judge(self, fake: Tensor, real: Tensor, matching: bool = False) -> dict[str, Tensor]:
        """The generator's terms, unweighted: ``adversarial`` and, where ``matching`` is asked for, the
        :func:`feature_matching` of that name. The discriminator stays as it is and collects no gradient."""
        with still(self.discriminator):
            of_fake = self.discriminator.features(fake)
            with torch.no_grad():
                of_real = self.discriminator.features(real)
        terms = {"adversarial": LOSSES[self.kind][1](of_fake[-1], of_real[-1])}
        if matching:
            terms["matching"] = feature_matching(of_fake, of_real)
        return terms
