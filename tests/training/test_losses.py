"""The loss, beside sums by hand."""

from __future__ import annotations

import pytest
import torch

from blindsr.interfaces import Batch, Iterate, Restoration
from blindsr.training.losses import CUT, image_loss, restoration_loss
from blindsr.training.settings import LossConfig


def pair(*decibels: float) -> tuple[Iterate, Batch]:
    """Restorations of that PSNR, and what is true."""
    sharp = torch.rand(len(decibels), 3, 16, 16, generator=torch.Generator().manual_seed(0))
    sign = torch.where(sharp > 0.5, -1.0, 1.0)
    error = torch.tensor([10 ** (-d / 20) for d in decibels])[:, None, None, None]
    x = (sharp + error * sign).requires_grad_()
    return Iterate(x, None, None, None), Batch(sharp, sharp, None, None, 1)


def test_the_loss_is_what_psnr_falls_short_of_seventy():
    loss = image_loss(*pair(20.0, 35.0), LossConfig(image=0, psnr=1))
    assert loss.item() == pytest.approx((50 + 35) / 2, abs=0.01)


def test_both_terms_add_up():
    iterate, batch = pair(30.0, 40.0)
    alone = [image_loss(iterate, batch, LossConfig(image=a, psnr=b)) for a, b in ((2, 0), (0, 0.01), (2, 0.01))]
    torch.testing.assert_close(alone[0] + alone[1], alone[2])


def test_what_is_nearly_right_counts_as_much_and_nothing_beyond():
    """A tenth less of the error is worth the same at 20 and at 50 dB; what is right has a gradient of 0, not NaN."""
    iterate, batch = pair(20.0, 50.0, 200.0)
    image_loss(iterate, batch, LossConfig(image=0, psnr=1)).backward()
    gain = (iterate.x.grad * (iterate.x - batch.x)).sum((1, 2, 3)).detach()
    assert gain[1] / gain[0] == pytest.approx(0.99, abs=0.01)
    assert gain[2].abs() < 1e-3 and iterate.x.grad.isfinite().all()


def test_the_whole_loss():
    x, true = torch.zeros(1, 3, 30, 30), torch.zeros(1, 1, 3, 3)
    true[..., 1, 1] = 0.5

    def loop(image: float, error: float, sigma: float, doubt: float) -> Iterate:
        kernel = true.clone()
        kernel[..., 0, 0] = 0.5 * error
        return Iterate(x + image, kernel.requires_grad_(), torch.zeros(1, 2), torch.tensor([sigma]), torch.tensor([doubt]))

    weights = LossConfig(image=1, kernel=2, sigma=3, doubt=4, earlier=0.5, earlier_image=0.25)
    loops = loop(0.2, 0.6, 0.3, 0.1), loop(0.1, 0.2, 0.15, 0.5)
    loss = restoration_loss(Restoration(loops), Batch(x, x, true, torch.tensor([0.1]), 1), weights)
    earlier = 0.25 * 0.2 + 0.5 * (2 * 0.6 + 3 * 0.2 + 4 * 0.5)
    assert loss.item() == pytest.approx(earlier + 0.1 + 2 * 0.2 + 3 * 0.05 + 4 * 0.3)
    loss.backward()  # what the doubt is compared with is a number: it does not draw the kernel towards it
    assert loops[1].kernel.grad[0, 0, 0, 0].item() == pytest.approx(2 / 0.5)


@pytest.mark.parametrize(("rows", "counts"), [(CUT, False), (CUT + 1, True)])
def test_the_border_of_what_was_cut_out_does_not_count(rows, counts):
    """Where the true kernel is known the blur was circular, and it does."""
    sharp, k = torch.zeros(1, 3, 40, 40), torch.ones(1, 1, 1, 1)
    spoilt = sharp.clone()
    spoilt[..., :rows, :] = 1
    assert (image_loss(Iterate(spoilt, k, None, None), Batch(sharp, sharp, None, None, 1), LossConfig()) > 0) == counts
    assert image_loss(Iterate(spoilt, k, None, None), Batch(sharp, sharp, k, None, 1), LossConfig()) > 0


def test_pictures_count_by_either_term():
    assert LossConfig(image=0, psnr=0.1).judges_pictures and LossConfig().judges_pictures
    assert not LossConfig(image=0).judges_pictures
