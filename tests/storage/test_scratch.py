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
    other.mkdir()
    with scratch_folder(tmp_path) as mine:
        assert not left.exists()
        assert mine.is_dir()
    assert other.is_dir()
