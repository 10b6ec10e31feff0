"""The journal as a file: what it may be, a full disk, and half a line taken back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.search.journal.journal_file import FileJournal, read_events, sealed


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [a_pipe, a_folder, a_link_to_a_device, a_link_to_itself])
def test_what_is_no_file_is_neither_read_nor_written(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "journal.jsonl"
    make(path)
    with pytest.raises(UserError, match="cannot be read"):
        list(read_events(path))
    with pytest.raises(OSError, match=r"journal\.jsonl"):
        FileJournal(path)


def test_no_journal_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"torn")
    link = tmp_path / "journal.jsonl"
    link.symlink_to(outside)
    with pytest.raises(OSError, match="is a link"):
        FileJournal(link)
    outside.unlink()
    with pytest.raises(OSError, match="is a link"):
        FileJournal(link)
    assert not outside.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command to make a small disk with")
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_no_half_event(small_disk: Path) -> None:
    path = small_disk / "journal.jsonl"
    rest = small_disk / "rest"
    rest.write_bytes(bytes(40_000))
    appended = 0
    with FileJournal(path) as journal:
        with pytest.raises(OSError, match="No space left"):  # noqa: PT012
            while True:
                journal.append({"event": "a", "text": "x" * 1000, "number": appended})
                appended += 1
        assert numbers(path) == list(range(appended))
        with pytest.raises(OSError, match="No space left"):
            journal.append({"event": "a", "text": "x" * 20_000})
        assert numbers(path) == list(range(appended))
        rest.unlink()
        journal.append({"event": "a", "text": "x" * 20_000, "number": appended})
    assert numbers(path) == list(range(appended + 1))


def numbers(path: Path) -> list[int]:
    """Of whole lines and nothing else."""
    assert path.read_bytes().endswith(b"\n")
    return [json.loads(line)["number"] for line in path.read_text().splitlines()]


LIMITED = """
import resource, signal, sys
from pathlib import Path
from pcsearch.search.journal.journal_file import FileJournal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
journal = FileJournal(path)
journal.append({"event": "a", "number": 0})
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    journal.append({"event": "a", "text": "x" * 500})
except OSError as error:
    print(error.filename == str(path), path.stat().st_size)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append({"event": "a", "number": 1})
"""


def test_a_line_that_was_written_in_part_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    command = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"True {len(sealed({'event': 'a', 'number': 0}, '')[0])}\n"
    assert numbers(path) == [0, 1]


UNCUT = """
import resource, signal, sys
from pathlib import Path
from pcsearch.search.journal.journal_file import FileJournal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = FileJournal(Path(sys.argv[1]))
journal.append({"event": "a", "number": 0})
journal.close()
for _ in range(2):
    try:
        journal.append({"event": "a", "number": 1})
    except OSError as error:
        print(error.strerror)
"""


def test_nothing_follows_what_could_not_be_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    command = [sys.executable, "-c", UNCUT, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "Bad file descriptor",
        "ends in half an event, so no more is written",
    ]
    assert numbers(path) == [0]
