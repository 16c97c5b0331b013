"""Training photos from folders and stores: one behaviour, whatever they come from."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from blindsr import images
from blindsr.interfaces import BlindSRError
from blindsr.training import packed
from blindsr.training import photos as module
from blindsr.training.photos import ImageFiles, Photos, open_photos

SHAPES = {"a.png": (300, 270, 3), "b.png": (70, 150, 3), "deep.tif": (150, 131, 3), "gray.png": (140, 90, 1)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Photos of 8 and 16 bits, a gray one and a broken one."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for name, shape in SHAPES.items():
        dtype = np.uint16 if name == "deep.tif" else np.uint8
        images.write(path / name, images.Photo(rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)))
    (path / "broken.png").write_bytes(b"not a photo")
    return path


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory) -> Path:
    """The same photos, in three shards."""
    path = tmp_path_factory.mktemp("store") / "photos.pack"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(packed, "SHARD_BYTES", 140_000)
        packer = packed.Packer(path)
        assert packer.add(images.find([folder]), lambda source, error: None, images.MAX_PIXELS) == len(SHAPES)
    assert len(list(path.iterdir())) == 3
    return path


@pytest.fixture(params=["folder", "store"])
def photos(request) -> Photos:
    """The readable photos, of either kind."""
    return open_photos([str(request.getfixturevalue(request.param))], ["broken*"])


def test_names_sizes_and_pixels(photos, folder):
    assert [photos.name(i) for i in range(len(photos))] == list(SHAPES)
    for i, (name, shape) in enumerate(SHAPES.items()):
        expected = images.read(folder / name).pixels
        assert photos.size(i) == shape[:2] and photos.pixels(i).dtype == expected.dtype
        np.testing.assert_array_equal(photos.pixels(i), np.broadcast_to(expected, (*shape[:2], 3)))


def test_a_patch_is_a_crop(photos):
    rng = np.random.default_rng(1)
    for i in range(len(photos)):
        height, width = photos.size(i)
        for side in (1, 17, 70):
            for top, left in (
                (0, 0),
                (height - side, width - side),
                rng.integers((height - side + 1, width - side + 1)),
            ):
                expected = photos.pixels(i)[top : top + side, left : left + side]
                np.testing.assert_array_equal(photos.patch(i, int(top), int(left), side), expected)


def test_subsets(photos):
    few = photos.subset([3, 1])
    assert len(few) == 2 and [few.name(i) for i in range(2)] == ["gray.png", "b.png"]
    np.testing.assert_array_equal(few.pixels(0), photos.pixels(3))
    assert few.subset([1]).name(0) == "b.png"


def test_sources_are_joined_and_patterns_left_out(folder, store):
    shard = sorted(store.iterdir())[1]
    both = open_photos([str(folder), str(shard), str(folder)], ["broken*", "a.*"])
    names = [both.name(i) for i in range(len(both))]
    inside = [entry.name for entry in packed.read_index(shard)]
    assert names == ["b.png", "deep.tif", "gray.png", *inside, "b.png", "deep.tif", "gray.png"]


@pytest.mark.parametrize("question", [lambda p: p.pixels(2), lambda p: p.size(2), lambda p: p.patch(2, 0, 0, 8)])
def test_an_unreadable_file_is_named_once(folder, question):
    said: list[str] = []
    photos = open_photos([str(folder)], report=said.append)
    assert photos.name(2) == "broken.png"
    assert question(photos) is None and photos.pixels(2) is None and photos.size(2) is None
    assert len(said) == 1 and "broken.png" in said[0] and photos.pixels(0) is not None


def test_damage_within_a_store_is_named_once(store, tmp_path):
    said: list[str] = []
    shard = tmp_path / "one.h5"
    data = bytearray(sorted(store.iterdir())[0].read_bytes())
    data[5000:60_000] = bytes(55_000)  # in the first photo: noise, of 243 kB
    shard.write_bytes(data)
    photos = open_photos([str(shard)], report=said.append)
    assert photos.pixels(0) is None and photos.patch(0, 0, 0, 8) is None
    assert len(said) == 1 and "one.h5: damaged at a.png" in said[0]


def test_memory_is_bounded(folder, monkeypatch):
    monkeypatch.setattr(module, "CACHE_BYTES", 100_000)  # of which b.png takes 31 500, a.png more
    files = ImageFiles([folder / "a.png", folder / "b.png"])
    read = []
    monkeypatch.setattr(images, "read", lambda path, real=images.read: read.append(path.name) or real(path))
    for _ in range(2):
        files.size(0)
        files.patch(0, 0, 0, 16)
        files.pixels(1)
    assert read == ["a.png", "b.png", "a.png"]


def test_mistakes_are_one_line_with_the_cure(folder, store, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no photo")
    (tmp_path / "nothing.h5").write_bytes(b"")
    shard = sorted(store.iterdir())[0]
    (tmp_path / "cut.h5").write_bytes(shard.read_bytes()[:-1000])
    import h5py

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    for version, name in ((1, "hollow.hdf5"), (2, "newer.h5")):
        with h5py.File(tmp_path / name, "w") as file:
            file.attrs.update({"format": packed.FORMAT, "version": version})
            file["index"] = np.frombuffer(b"[]", np.uint8)
    for name, message in {
        "none": "no such folder or store; set data.folders",
        "empty": "holds no photos; set data.folders",
        "notes": "holds no photos; set data.folders",
        "notes/a.txt": "holds no photos; set data.folders",
        "nothing.h5": "cut off, damaged.*run 'blindsr pack' again",
        "cut.h5": "cut off, damaged.*run 'blindsr pack' again",
        "other.h5": "no store of photos; make one with 'blindsr pack'",
        "hollow.hdf5": "holds no photos",
        "newer.h5": "version 2.*pack the photos anew",
    }.items():
        with pytest.raises(BlindSRError, match=f"{name}: .*{message}") as caught:
            open_photos([str(folder), str(tmp_path / name)], [])
        assert "\n" not in str(caught.value)


def test_a_store_without_h5py_says_what_to_install(folder, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert len(open_photos([str(folder)])) == 5
    with pytest.raises(BlindSRError, match=r"pip install 'blindsr\[pack\]'"):
        open_photos([str(store)])


class Patches(Dataset):
    """Sixteen patches; module level, for processes that are spawned."""

    def __init__(self, photos: Photos):
        self.photos = photos

    def __len__(self) -> int:
        return 16

    def __getitem__(self, n: int) -> np.ndarray:
        return self.photos.patch(n % len(self.photos), n, 3 * n % 7, 24).astype(np.int32)


@pytest.mark.parametrize("start", [s for s in ("fork", "spawn") if s in multiprocessing.get_all_start_methods()])
def test_loader_processes_read_the_same(photos, start):
    patches = Patches(photos)
    expected = [patches[n] for n in range(16)]  # the files are open when the processes start
    if start == "spawn":  # the loader would have to find this module: what it does is to pickle
        again = Patches(pickle.loads(pickle.dumps(photos)))
        assert len(pickle.dumps(photos)) < 20_000  # no pixels travel
        assert all(np.array_equal(again[n], patch) for n, patch in enumerate(expected))
        return
    loader = DataLoader(patches, batch_size=None, num_workers=2, multiprocessing_context=start)
    for _ in range(2):
        for patch, known in zip(loader, expected, strict=True):
            np.testing.assert_array_equal(patch.numpy(), known)
    np.testing.assert_array_equal(patches[5], expected[5])  # and the parent's files still work


def test_few_files_are_open_at_a_time(store, monkeypatch):
    monkeypatch.setattr(packed, "MAX_OPEN", 1)
    photos = open_photos([str(store)])
    for i in (0, 3, 1, 2, 0):
        assert photos.pixels(i) is not None
    (source,) = {source for source, _ in photos._entries}
    assert len(source._files) == 1
