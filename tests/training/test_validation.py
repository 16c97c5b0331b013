"""What validation judges of a picture."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from blindsr import checkpoints
from blindsr.interfaces import Batch
from blindsr.training.losses import CUT
from blindsr.training.validation import validate


@pytest.mark.parametrize(("row", "judged"), [(CUT - 1, False), (CUT, True)])
def test_the_border_of_what_was_cut_out_is_not_judged(row, judged, small_model):
    """Where the true kernel is not known the blur was not circular; with one, the border is that of s² pixels."""
    model = checkpoints.load(small_model).model
    y, x = (torch.rand(1, 3, n, n, generator=torch.Generator().manual_seed(0)) for n in (24, 48))
    other = x.clone()
    other[..., row, :] = 1 - other[..., row, :]
    unknown = Batch(x, y, None, None, 2)
    known = replace(unknown, k=torch.ones(1, 1, 1, 1), sigma=torch.zeros(1))
    for batch, differs in ((unknown, judged), (known, True)):
        before, after = (validate(model, [b], nullcontext)[0] for b in (batch, replace(batch, x=other)))
        for name in (name for name in before if "psnr" in name):
            assert (before[name] != after[name]) == differs, name
