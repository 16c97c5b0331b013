"""Samples and validation batches: what they depend on, and who is left out."""

import shutil

import pytest
import torch
from PIL import Image

from blindsr import images
from blindsr.atomic import read_lines
from blindsr.interfaces import BlindSRError
from blindsr.training import data
from blindsr.training import photos as photo_files
from blindsr.training.data import BatchSource, split, stream, validation_batches
from blindsr.training.photos import open_photos
from blindsr.training.trainer import Trainer

MIXED = (
    "data.degradation={name: mixed, weights: [1, 1], parts: [bsrgan, {name: classical, kernels: "
    "{name: gaussian, size: 25}}]}"
)


def test_shuffled_samples_are_mixed_in(photos, tmp_path, toy):
    """They have no kernel, lie on another grid, and teach the restorer nevertheless."""
    sizes = ("data.scales=[1, 2]", "data.patch=32", "data.context=40", "data.validation_patch=36")
    trainer = Trainer(toy(photos, "tiny", MIXED, *sizes, "schedule.iterations=6"), tmp_path / "a")
    batches = [trainer.source.batch(step) for step in range(12)]
    shuffled = [b for b in batches if b.k is None]
    assert 2 <= len(shuffled) <= 10
    for b in shuffled:
        assert b.grid == "centre" and b.sigma is None and b.context is None
        assert b.x.shape == (2, 3, 32, 32) and b.y.shape == (2, 3, 32 // b.scale, 32 // b.scale)
    trainer.run()
    assert trainer.skipped == 0
    report = [e for e in read_lines(tmp_path / "a" / "log.jsonl") if "validation" in e][-1]["validation"]
    assert {"x2 unknown psnr blind 2", "x2 psnr true kernel", "x2 kernel error 2"} <= set(report)
    assert not any("unknown kernel" in name for name in report)
    with pytest.raises(BlindSRError, match="needs true kernels"):
        Trainer(toy(photos, "usrnet_tiny", MIXED, *sizes), tmp_path / "b")
    with pytest.raises(BlindSRError, match="training estimator alone needs true kernels"):
        Trainer(toy(photos, "tiny", MIXED, *sizes, "train=[estimator]"), tmp_path / "c")


def test_samples_depend_on_seed_and_step_alone(photos, tmp_path, toy):
    source = Trainer(toy(photos), tmp_path).source
    a, b, c = source.batch(7), source.batch(7), source.batch(8)
    assert torch.equal(a.y, b.y) and torch.equal(a.k, b.k)
    assert a.scale != c.scale or not torch.equal(a.x, c.x)


def test_unreadable_photos_are_named_and_skipped(photos, tmp_path, toy):
    said = []
    config = toy(photos, "tiny", "data.exclude=[]").data
    source = BatchSource(config, open_photos(config.folders, (), said.append), 0)
    for step in range(6):
        source.batch(step)
    assert len(said) == 1 and "broken.png" in said[0]


def test_samples_do_not_depend_on_when_a_photo_was_found_unreadable(photos, tmp_path, toy):
    """Nor does a run that goes on, or another number of loaders, then see others."""
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    whole = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(whole[: len(whole) // 2])  # its size can be read

    def source(said: list[str]) -> BatchSource:
        config = toy(folder, "usrnet_tiny").data
        return BatchSource(config, open_photos(config.folders, config.exclude, said.append), 0)

    said: list[str] = []
    first = source(said)
    batches = [first.batch(step).x for step in range(6)]
    assert len(said) == 1 and "1.png" in said[0]
    later = source([])
    assert all(torch.equal(first.batch(step).x, batches[step]) for step in range(6))
    assert all(torch.equal(later.batch(step).x, batches[step]) for step in (5, 4, 3, 2, 1, 0))


def test_few_photos_that_are_large_enough_are_found(toy, tmp_path, monkeypatch):
    """Chance alone would miss them now and then; and what is too small is decoded once."""
    for i in range(40):
        Image.new("RGB", (40, 40)).save(tmp_path / f"{i}.png")
    Image.new("RGB", (300, 300)).save(tmp_path / "large.png")
    monkeypatch.setattr(photo_files, "CACHE_BYTES", 0)
    opened = []
    read = images.read
    monkeypatch.setattr(images, "read", lambda path: opened.append(path.name) or read(path))
    monkeypatch.setattr(data, "TRIES", 1)
    config = toy(tmp_path, "usrnet_tiny", "data.batch=1", "data.patch=48").data
    source = BatchSource(config, open_photos(config.folders), 0)
    assert all(source.batch(step).x.shape[-1] == 48 for step in range(30))
    assert max(opened.count(f"{i}.png") for i in range(40)) == 1


def test_loader_processes_change_nothing(photos, tmp_path, toy):
    ends = []
    for workers in (0, 2):
        trainer = Trainer(toy(photos, "usrnet_tiny", f"data.workers={workers}"), tmp_path / str(workers))
        trainer.run()
        ends.append(trainer.model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ends[0].values(), ends[1].values()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a GPU")
def test_what_is_made_ahead_may_be_pinned(photos, toy):
    config = toy(photos, "tiny").data
    batches = stream(BatchSource(config, split(config)[0], 0), 0, 1, pin=True)
    batch = next(batches)
    batches.close()
    assert all(t.is_pinned() for t in (batch.x, batch.y, batch.k, batch.sigma, batch.context))


def test_a_scale_that_stands_twice_is_drawn_twice_as_often_and_validated_once(photos, toy):
    config = toy(photos, "usrnet_tiny", "data.scales=[2, 3, 3]", "data.batch=1").data
    training, held = split(config)
    assert [b.scale for b in validation_batches(config, held)] == [2, 3]
    source = BatchSource(config, training, 0)
    threes = sum(source.batch(step).scale == 3 for step in range(90))
    assert threes == pytest.approx(60, abs=14)


def test_photos_too_small_for_validation_are_told_once(photos, toy, tmp_path):
    """Some of them are large enough without the margin of a shuffled degradation."""
    for name, side in (("large", 260), ("small", 40), ("tiny", 20)):
        Image.new("RGB", (side, side), "gray").save(tmp_path / f"{name}.png")
    config = toy(photos, "tiny", MIXED, "data.scales=[2, 3]", "data.patch=32", "data.validation_patch=36").data
    said: list[str] = []
    batches = validation_batches(config, open_photos([str(tmp_path)]), said.append)
    counted = {(b.k is None, b.scale): len(b.x) for b in batches}
    assert counted == {(True, 2): 1, (True, 3): 1, (False, 2): 2, (False, 3): 2}
    (line,) = said
    assert "36 to" in line and "small.png, tiny.png" in line and "large" not in line and "\n" not in line
