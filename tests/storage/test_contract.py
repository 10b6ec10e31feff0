"""What every storage does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.storage import Storage, check_storage, open_storage
from tests.storage.names import BAD_NAMES

ODD = "checkpoints/λ N+1 (x)=%20?#&'/a0000-e00001.pt"


def test_what_was_written_is_read(storage: Storage) -> None:
    storage.write("a/b/c.bin", b"\x00one\xff")
    assert storage.read("a/b/c.bin") == b"\x00one\xff"
    storage.write("a/b/c.bin", b"")
    assert storage.read("a/b/c.bin") == b""
    assert storage.exists("a/b/c.bin")


def test_what_is_not_there_is_not_found(storage: Storage, tmp_path: Path) -> None:
    storage.write("a/bc", b"x")
    for name in ("a/b", "a", "a/bc/d", "z"):
        assert not storage.exists(name)
        with pytest.raises(FileNotFoundError, match=name):
            storage.read(name)
        with pytest.raises(FileNotFoundError, match=name):
            storage.download(name, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert storage.list("z") == []
    storage.remove("z", "a/b")
    storage.remove_all("z")
    assert storage.list() == ["a/bc"]


def test_names_may_hold_what_folders_are_called(storage: Storage) -> None:
    storage.write(ODD, b"1")
    assert storage.read(ODD) == b"1"
    assert storage.list("checkpoints") == [ODD]
    storage.remove(ODD)
    assert storage.list() == []


def test_lists_are_of_folders_and_sorted(storage: Storage) -> None:
    names = ["b/2", "b/10", "a", "b/c/d", "ba/x", "B", "é", "b-/y"]
    for name in names:
        storage.write(name, b"")
    assert storage.list() == sorted(names)
    assert storage.list("b") == ["b/10", "b/2", "b/c/d"]
    assert storage.list("b/c") == ["b/c/d"]
    storage.remove_all("b")
    assert storage.list() == sorted({*names} - {"b/2", "b/10", "b/c/d"})
    storage.remove("a", "é", "nothing")
    assert storage.list() == ["B", "b-/y", "ba/x"]


def test_files_go_up_and_down(storage: Storage, tmp_path: Path) -> None:
    here, there = tmp_path / "here.bin", tmp_path / "new" / "there.bin"
    content = bytes(range(256)) * 70_000  # 18 MB: sent and fetched in parts
    here.write_bytes(content)
    storage.upload("big/file", here)
    there.parent.mkdir()
    there.write_bytes(b"old")
    storage.download("big/file", there)
    assert there.read_bytes() == content
    assert [path.name for path in there.parent.iterdir()] == ["there.bin"]
    with pytest.raises(FileNotFoundError):
        storage.upload("big/none", tmp_path / "none")
    assert storage.list() == ["big/file"]


def test_creation_is_exclusive(storage: Storage) -> None:
    assert storage.create("lock/1", b"first")
    assert not storage.create("lock/1", b"second")
    assert not storage.create("lock/1", b"first")  # equal content is no claim
    assert storage.read("lock/1") == b"first"
    storage.remove("lock/1")
    assert storage.create("lock/1", b"third")
    storage.write("written", b"")
    assert not storage.create("written", b"x")


def test_of_many_who_create_one_succeeds(storage: Storage) -> None:
    together = threading.Barrier(8)

    def create(number: int) -> bool:
        together.wait()
        return storage.create(f"lock/{number // 8}", b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, range(40)))
    for lock in range(5):
        winners = [number for number in range(8 * lock, 8 * lock + 8) if made[number]]
        assert len(winners) == 1
        assert storage.read(f"lock/{lock}") == b"%d" % winners[0]


def test_readers_see_the_old_content_or_the_new(storage: Storage) -> None:
    contents = [bytes([letter]) * 200_000 for letter in b"ab"]
    storage.write("x", contents[0])
    seen = []
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [storage.write("x", contents[n % 2]) for n in range(30)])
        while not writing.done():
            seen.append(storage.read("x"))
            assert storage.list() == ["x"]
        writing.result()
    assert seen
    assert set(seen) <= set(contents)


def test_no_operation_takes_a_bad_name(storage: Storage, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"x")
    storage.write("kept", b"")
    operations: list[Callable[[str], object]] = [
        storage.read,
        storage.exists,
        storage.remove,
        storage.remove_all,
        lambda name: storage.write(name, b"x"),
        lambda name: storage.create(name, b"x"),
        lambda name: storage.download(name, local),
        lambda name: storage.upload(name, local),
        lambda name: storage.list(name or "/"),
        lambda name: storage.remove("kept", name),
    ]
    for name in BAD_NAMES:
        for operation in operations:
            with pytest.raises(UserError, match="cannot be the name of a stored file"):
                operation(name)
    assert storage.list() == ["kept"]
    assert local.read_bytes() == b"x"


def test_a_storage_is_opened_again_by_its_address(storage: Storage) -> None:
    storage.write("a/b", b"1")
    again = open_storage(storage.url)
    assert again.url == storage.url
    assert again.read("a/b") == b"1"


def test_a_look_at_a_storage_leaves_nothing(storage: Storage) -> None:
    check_storage(storage)
    assert storage.list() == []


def test_folders_are_storages_of_their_own(storage: Storage) -> None:
    assert storage.folders() == []
    storage.below("one").write("journal/1", b"1")
    storage.write("two/recipe.yaml", b"2")
    storage.write("loose", b"")
    assert storage.folders() == ["one", "two"]
    one = storage.below("one")
    assert one.url == f"{storage.url}/one"
    assert one.list() == ["journal/1"]
    assert one.folders() == ["journal"]
    assert storage.read("one/journal/1") == b"1"
    with pytest.raises(UserError):
        storage.below("../other")


def test_a_folder_tells_when_it_was_last_written(storage: Storage) -> None:
    assert storage.modified("journal") is None
    storage.write("journalist/1", b"")
    assert storage.modified("journal") is None
    before = time.time()
    storage.write("journal/1", b"")
    written = storage.modified("journal")
    assert written is not None
    assert abs(written - before) < 60
