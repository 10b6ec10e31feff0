"""A folder as a storage: links, pipes, other people's files, processes that are killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pcsearch.errors import PcsearchError, UserError
from pcsearch.storage.local import LocalStorage


def test_nothing_goes_through_symbolic_links(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "run"
    outside.mkdir()
    (outside / "secret").write_bytes(b"s")
    root.mkdir()
    (root / "checkpoints").symlink_to(outside)
    (root / "summary.json").symlink_to(outside / "secret")
    (root / "ring").symlink_to(root / "ring")
    storage = LocalStorage(root)
    for name in ("checkpoints/x", "checkpoints/secret", "summary.json", "ring", "ring/x"):
        with pytest.raises(UserError, match="symbolic link"):
            storage.write(name, b"x")
        with pytest.raises(UserError, match="symbolic link"):
            storage.create(name, b"x")
        with pytest.raises(UserError, match="symbolic link"):
            storage.read(name)
        with pytest.raises(UserError, match="symbolic link"):
            storage.remove(name)
    with pytest.raises(UserError, match="symbolic link"):
        storage.remove_all("checkpoints")
    assert storage.list() == []
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"s"


def test_a_run_may_itself_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    storage = LocalStorage(tmp_path / "run")
    storage.write("a/b", b"x")
    assert storage.list() == ["a/b"]
    assert (tmp_path / "disk" / "a" / "b").read_bytes() == b"x"


def test_a_pipe_or_a_folder_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    storage = LocalStorage(tmp_path)
    for name in ("pipe", "folder"):
        assert not storage.exists(name)
        with pytest.raises(FileNotFoundError):
            storage.read(name)
    assert storage.list() == []


def test_files_of_others_are_left_out_of_lists(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("a", b"")
    (tmp_path / ".nfs0001").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x").touch()
    (tmp_path / "bad\nname").touch()
    assert storage.list() == ["a"]


def test_what_the_disk_refuses_is_told(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("file", b"x")
    with pytest.raises(PcsearchError, match=r"file/below cannot be used: .+"):
        storage.write("file/below", b"x")
    with pytest.raises(PcsearchError, match=r"file/below cannot be used: .+"):
        storage.create("file/below", b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(PcsearchError, match=r"folder cannot be used: .+"):
        storage.write("folder", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


_FULL = """
import resource, signal, sys
from pathlib import Path
from pcsearch.errors import PcsearchError
from pcsearch.storage.local import LocalStorage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
storage = LocalStorage(Path(sys.argv[1]))
for put in (storage.write, storage.create):
    try:
        put("x", bytes(5000))
    except PcsearchError as error:
        print(error)
"""


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("x", b"old")
    command = [sys.executable, "-c", _FULL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("cannot be used: File too large") == 2
    assert storage.read("x") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


_WRITER = """
import itertools, sys
from pathlib import Path
from pcsearch.storage.local import LocalStorage
storage = LocalStorage(Path(sys.argv[1]))
for number in itertools.count():
    storage.write("x", bytes([97 + number % 26]) * 3_000_000)
    assert storage.create(f"made/{number:08d}", b"m" * 100_000)
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_whole_files(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    for rounds in range(3):
        storage.remove_all("made")
        command = [sys.executable, "-c", _WRITER, str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            for _ in range(3 + rounds):
                assert process.stdout.readline()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        content = storage.read("x")
        assert content == content[:1] * 3_000_000
        made = storage.list("made")
        assert len(made) >= 3 + rounds
        assert {storage.read(name) for name in made} == {b"m" * 100_000}
