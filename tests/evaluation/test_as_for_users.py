"""The benchmark restores photos exactly as ``restore`` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from blindsr import images
from blindsr.evaluation.cases import Case, CaseSpec
from blindsr.evaluation.methods.base import load_model, run_model
from blindsr.inference.facade import BlindSR
from blindsr.kernels.gaussian import gaussian

SAMPLE = Path(__file__).parents[2] / "docs" / "samples" / "harbour.png"


@pytest.mark.parametrize("name", ["tiny", "tiny-real"])
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("kind", ["colour", "gray", "jpeg"])
def test_as_for_users(name: str, told: bool, kind: str) -> None:
    pixels = images.read(SAMPLE).pixels[:60, :72]
    pixels = pixels[..., :1].repeat(3, axis=2) if kind == "gray" else pixels
    photo = images.Photo(pixels, coding_noise=2.25 if kind == "jpeg" else None)
    y = torch.from_numpy(images.to_float(pixels)).permute(2, 0, 1)[None]
    kernel = gaussian(25, 1.4, 1.0, 0.3)
    k, sigma = torch.from_numpy(kernel).float()[None, None], torch.tensor([0.01])
    spec = CaseSpec("set", "photo", None, None, None, 2, 0.0, None)
    case = Case(spec, y, None, k, sigma, "corner", False, (), photo.rounding, kind == "jpeg")
    with torch.inference_mode():
        x = run_model(load_model(name, "cpu"), case, k if told else None)[-1].x
    model = BlindSR.from_pretrained(name, device="cpu", precision="fp32")
    known = {"kernel": kernel, "sigma": 0.01} if told else {}
    image = model.restore(photo, 2, grid="corner", **known).image
    ours = images.from_float(x[0].permute(1, 2, 0).numpy(), np.uint8)
    assert np.abs(ours.astype(int) - image).max() <= 1  # orders of addition
