"""What every discriminator is."""

from __future__ import annotations

from torch import Tensor, nn


class Discriminator(nn.Module):
    """Looks at pictures (B, 3, H, W) in [0, 1] and answers logits (B, 1, h, w), one a patch or a pixel: high
    where it takes the picture for a real one."""

    smallest: int
    """Least side of a picture, in pixels."""

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The activations on the way, each (B, C, h, w), and the logits as the last of them."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The logits (B, 1, h, w)."""
        return self.features(x)[-1]
