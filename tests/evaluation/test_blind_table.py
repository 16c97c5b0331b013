import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image

from blindsr import checkpoints
from blindsr.evaluation.blind_table import fill_table, markdown
from blindsr.kernels.gaussian import gaussian


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (53, 61, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((122, 106), Image.BICUBIC).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_table_is_filled_and_resumed(photo, small_model, tmp_path):
    model = checkpoints.load(small_model).model
    out = tmp_path / "cells.jsonl"
    kernels = [gaussian(9, 1.0), gaussian(9, 2.0)]
    cells = fill_table(model, [photo], kernels[:1], [2], out, nullcontext)
    more = fill_table(model, [photo], kernels, [2], out, nullcontext)
    assert more[0] == cells[0] and len(more) == 2
    assert len(out.read_text().splitlines()) == 2  # the first cell was not computed again
    assert {"bicubic", "true", "blind 1", "blind 2", "error 1", "error 2", "error bicubic"} <= set(more[0])
    assert {"refined", "error refined"} <= set(more[0])
    with out.open("a") as file:
        file.write('{"half a line')
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)  # other weights: nothing may be taken over
    assert len(fill_table(model, [photo], kernels[:1], [2], out, nullcontext)) == 1
    assert len(out.read_text().splitlines()) >= 3
    table = markdown(more, ["bicubic", "true", "blind 2"])
    assert "**×2**, 1 photos" in table and "k2" in table and f"{more[1]['bicubic']:.2f}" in table
    assert json.loads(out.read_text().splitlines()[0])["photo"] == "a.png"
