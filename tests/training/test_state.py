"""What a run leaves in its folder, and what it clears away there."""

from blindsr.training.state import clear, keep, save_state
from blindsr.training.trainer import Trainer

STALE = [".state.pt.0a1b2c3d.part", ".calm.pt.0a1b2c3d.part", ".model.safetensors.0a1b2c3d.part",
         ".log.jsonl.0a1b2c3d.part", ".curves.png.0a1b2c3d.part", "pictures/.000200.png.0a1b2c3d.part"]  # fmt: skip
OTHERS = [".state.pt.part", "state.pt.0a1b2c3d.part", ".notes.txt.0a1b2c3d.part", "pictures/.mine.png.0a1b2c3d.part",
          "sub/.state.pt.0a1b2c3d.part"]  # fmt: skip


def test_what_a_killed_run_left_half_written_is_removed_and_nothing_else(photos, toy, tmp_path):
    for name in (*STALE, *OTHERS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    Trainer(toy(photos, "usrnet_tiny"), tmp_path)
    assert not [name for name in STALE if (tmp_path / name).exists()]
    assert all((tmp_path / name).exists() for name in OTHERS)


def test_clearing_needs_no_folder(tmp_path):
    clear(tmp_path / "none")


def test_what_is_kept_outlives_its_successor(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no hard links here")

    for links in (True, False):
        if not links:
            monkeypatch.setattr("os.link", refuse)
        save_state(tmp_path / "state.pt", {"step": 1})
        before = (tmp_path / "state.pt").read_bytes()
        keep(tmp_path / "state.pt", tmp_path / "calm.pt")
        save_state(tmp_path / "state.pt", {"step": 2})
        assert (tmp_path / "calm.pt").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["calm.pt", "state.pt"]
