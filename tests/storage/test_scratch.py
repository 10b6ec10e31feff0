"""Folders of a process alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pcsearch.storage.scratch import scratch_folder

DIES = """
import os, pathlib, sys
from pcsearch.storage.scratch import scratch_folder
with scratch_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "large").write_text("x")
    os._exit(9)
"""


def test_a_folder_is_removed_at_the_end_and_left_alone_until_then(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "scratch") as one:
        (one / "file").write_text("1")
        with scratch_folder(tmp_path / "scratch") as two:
            assert one != two
        assert not two.exists()
        assert (one / "file").read_text() == "1"
    assert not one.exists()


def test_what_a_killed_process_left_is_swept_up(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", DIES, str(tmp_path)]).returncode == 9
    (left,) = tmp_path.glob("scratch-*")
    other = tmp_path / "somebody-else"
    unlocked = tmp_path / "scratch-of-another-tool"
    for folder in (other, unlocked):
        folder.mkdir()
    with scratch_folder(tmp_path) as mine:
        assert not left.exists()
        assert mine.is_dir()
    assert other.is_dir()
    assert unlocked.is_dir()


def test_what_only_looks_like_a_folder_of_ours_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".lock").write_text("kept")
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "scratch-link").symlink_to(elsewhere)
    with scratch_folder(parent):
        assert (elsewhere / ".lock").read_text() == "kept"


def test_folders_of_another_kind_are_left_alone(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "one-") as one, scratch_folder(tmp_path, "two-") as two:
        assert one.name.startswith("one-")
        assert two.name.startswith("two-")
