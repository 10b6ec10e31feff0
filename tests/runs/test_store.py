"""A run folder's beginning and end, where things are in the way."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.runs.folder import RunFolder, held, new_run, resume_command


def test_what_was_half_written_goes_with_the_end(tmp_path: Path) -> None:
    with new_run(tmp_path, "run", "name: x", {}) as folder:
        kept = folder.weights / "a.safetensors"
        kept.touch()
        for place in (folder.path, folder.data, folder.weights):
            (place / ".file.123.tmp").touch()
        folder.finish({}, whole=False)
        assert len(list(folder.path.rglob(".*.tmp"))) == 3
        folder.finish({}, whole=True)
    assert list(folder.path.rglob(".*.tmp")) == []
    assert kept.exists()
    assert not folder.checkpoints.exists()


@pytest.mark.timeout(20)
def test_a_named_pipe_in_place_of_checkpoints_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with new_run(tmp_path, "run", "name: x", {}) as folder:
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
        os.mkfifo(folder.checkpoints)
        folder.finish({}, whole=True)
        assert (folder.path / "summary.json").is_file()


@pytest.mark.parametrize(
    ("run", "cluster", "typed"),
    [
        (Path("runs/first"), None, "pcsearch resume runs/first"),
        (Path("runs/a b"), "10.0.0.1:6379", "pcsearch resume 'runs/a b' --address 10.0.0.1:6379"),
        ("s3://bucket/runs/x", "auto", "pcsearch resume s3://bucket/runs/x --address auto"),
    ],
)
def test_what_to_type_to_go_on(run: Path | str, cluster: str | None, typed: str) -> None:
    assert resume_command(run, cluster) == typed


def test_a_folder_that_cannot_be_written_is_told_and_let_go(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "driver.json").mkdir()
    with pytest.raises(UserError, match="cannot be written"), held(folder):
        pass
    (tmp_path / "driver.json").rmdir()
    with held(folder):
        assert folder.is_locked()
    assert not folder.is_locked()


def test_readers_do_not_take_each_other_for_a_driver(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with held(folder):
        pass
    (tmp_path / "driver.lock").touch()
    with (tmp_path / "driver.lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not folder.is_locked()
