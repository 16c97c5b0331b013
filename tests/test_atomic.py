"""Files that appear complete or not at all."""

import os
import re

import pytest

from blindsr.atomic import append_line, claim, read_lines, remove_parts, whole_file, write_whole
from blindsr.interfaces import BlindSRError


def test_what_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, b"before")
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_is_one_line_with_the_cure(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BlindSRError, match=r"cannot be written \(.+\); free some space, or choose another folder") as told:
        write_whole(tmp_path / "file" / "a.txt", b"")
    assert "\n" not in str(told.value) and "None" not in str(told.value)


@pytest.mark.parametrize("name", ["a.txt", "é" * 122 + ".json"])  # of 249 bytes: no room for more
def test_what_a_killed_process_left_is_removed(tmp_path, name):
    path, other = tmp_path / name, tmp_path / "another.txt"
    left = []
    for file in (path, other):
        with pytest.raises(FileNotFoundError), whole_file(file) as part:
            part.touch()
            left.append(part.rename(part.with_name(re.sub(r"\.\w{8}\.part$", ".0123abcd.part", part.name))))
    path.touch()
    remove_parts([path])
    assert sorted(tmp_path.iterdir()) == sorted([path, left[1]])


@pytest.mark.skipif(os.name == "nt", reason="there no open file can be removed")
def test_what_another_process_is_writing_stays(tmp_path):
    path = tmp_path / "a.png"
    part = tmp_path / ".a.png.0123abcd.part"
    with part.open("wb") as file:
        assert claim(file)
        remove_parts([path])
        assert part.exists()
    remove_parts([path])
    assert not part.exists()


def test_lines_after_one_that_was_cut_off(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_line(path, '{"a": 1}')
    with path.open("ab") as file:
        file.write('{"a": "é'.encode()[:-1])
    append_line(path, '{"a": 2}')
    assert read_lines(path) == [{"a": 1}, {"a": 2}]
    assert read_lines(tmp_path / "none") == []
