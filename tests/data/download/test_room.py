"""Disks that are full, read-only or elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pcsearch.data.download import get_dataset, presence
from pcsearch.errors import UserError
from tests.data.download.server import Habits, Server
from tests.data.download.small_cub import QUICK, Recorded, entry, members, part_of, tgz, tree


@pytest.fixture
def other_disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("2m")


def test_a_link_to_another_disk(server: Server, other_disk: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "CUB_200_2011").symlink_to(other_disk)
    get_dataset(entry(server.serve("/a.tgz", Habits(tgz()))), root, Recorded(), patience=QUICK)
    assert tree(other_disk) == {name[13:] for name in members()}


def test_too_little_room_is_found_first(server: Server, other_disk: Path) -> None:
    url = server.serve("/a.tgz", Habits(tgz()))
    with pytest.raises(UserError, match=r"about 8\.4 MB needed \(4\.0 MB to down"):
        get_dataset(entry(url, size_bytes=4_000_000), other_disk, Recorded(), patience=QUICK)
    assert server.log == []
    url = server.serve("/b", Habits(bytes(4_000_000)))
    unknown = entry(url, size_bytes=None, checksum=None)
    with pytest.raises(UserError, match="not enough room"):
        get_dataset(unknown, other_disk, Recorded(), patience=QUICK)
    assert presence(entry(), other_disk).part_bytes == 0


def test_a_disk_that_fills_up_keeps_what_there_is(server: Server, other_disk: Path) -> None:
    url = server.serve("/a.tgz", Habits(tgz()))
    ballast = other_disk / "ballast"

    class Filling(Recorded):
        def moved(self, step: str, file: str, done_bytes: int, total_bytes: int | None) -> None:
            if done_bytes > 100_000 and not ballast.exists():
                with ballast.open("wb", buffering=0) as mine:
                    while mine.write(b"x" * 4096) == 4096:
                        pass

    with pytest.raises(UserError, match=r"the disk is full\. The downloaded bytes are kept"):
        get_dataset(entry(url), other_disk, Filling(), patience=QUICK)
    kept = part_of(other_disk).stat().st_size
    assert kept > 100_000
    ballast.unlink()
    seen = Recorded()
    get_dataset(entry(url), other_disk, seen, patience=QUICK)
    assert seen.first("downloading") == kept
    assert server.sent("/a.tgz")[1] == len(tgz()) - kept


def test_a_root_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    url = server.serve("/a.tgz", Habits(tgz()))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/root cannot be written: Not a directory .*--root"):
        get_dataset(entry(url), tmp_path / "file" / "root", Recorded(), patience=QUICK)
    assert server.log == []
