"""`get_dataset` against a real server: whole downloads, what is there, and what goes wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pcsearch.data.catalog import DATASETS
from pcsearch.data.dataset import Archive
from pcsearch.data.download import get_dataset, presence
from pcsearch.data.download.paths import DOWNLOADS
from pcsearch.errors import UserError
from tests.data.datasets.layouts import (
    build_aircraft,
    build_cars,
    build_cars_in_one_folder,
    build_dogs,
    build_flowers102,
    build_nabirds,
)
from tests.data.download.server import Habits, Server
from tests.data.download.small_cub import (
    QUICK,
    Recorded,
    check_whole,
    entry,
    members,
    tar_of,
    tgz,
    tree,
)


def test_a_dataset_is_downloaded_checked_unpacked_and_opened(
    server: Server, tmp_path: Path
) -> None:
    one, seen = entry(server.serve("/a.tgz", Habits(tgz()))), Recorded()
    root = tmp_path / "new" / "root"
    got = get_dataset(one, root, seen, patience=QUICK)
    assert (got.state, got.classes, got.images) == ("fetched", 2, (("train", 6), ("test", 6)))
    assert got.folder == root / "CUB_200_2011"
    assert got.archives[0].fetched_bytes == len(tgz())
    check_whole(root)
    last = {step: (done, total) for step, _, done, total in seen.moves}
    assert set(last) == {"downloading", "checking", "unpacking"}
    assert all(done == total == len(tgz()) for done, total in last.values())
    assert "its md5 is the published one" in seen.notes[0]
    assert server.log[0].headers["accept-encoding"] == "identity"


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    one = entry(server.serve("/a.tgz", Habits(tgz())))
    get_dataset(one, tmp_path, Recorded(), patience=QUICK)
    again = get_dataset(one, tmp_path, Recorded(), patience=QUICK)
    inside = get_dataset(one, tmp_path / "CUB_200_2011", Recorded(), patience=QUICK)
    assert again.state == inside.state == "here already"
    assert inside.folder == tmp_path / "CUB_200_2011"
    assert len(server.log) == 1


@pytest.mark.parametrize("dataset", ["digits", "fieldguide", "images"])
def test_datasets_that_need_nothing(dataset: str, tmp_path: Path) -> None:
    assert get_dataset(DATASETS[dataset], tmp_path, Recorded()).state == "nothing needed"
    assert tree(tmp_path) == set()


def test_archives_are_kept_on_request_and_used_later(server: Server, tmp_path: Path) -> None:
    one = entry(server.serve("/a.tgz", Habits(tgz())))
    got = get_dataset(one, tmp_path, Recorded(), keep_archives=True, patience=QUICK)
    kept = tmp_path / DOWNLOADS / "cub200" / "CUB_200_2011.tgz"
    assert got.kept == (kept,)
    (tmp_path / "CUB_200_2011" / "images.txt").unlink()
    seen = Recorded()
    assert get_dataset(one, tmp_path, seen, patience=QUICK).state == "fetched"
    assert f"{kept} is used" in seen.notes[0]
    check_whole(tmp_path)
    assert len(server.log) == 1


@pytest.mark.parametrize("place", ["", "CUB_200_2011", DOWNLOADS, f"{DOWNLOADS}/cub200"])
def test_an_archive_that_a_browser_fetched_is_used(place: str, tmp_path: Path) -> None:
    path = tmp_path / place / "CUB_200_2011.tgz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tgz())
    got = get_dataset(entry(), tmp_path, Recorded(), patience=QUICK)
    assert got.state == "fetched"
    if place == f"{DOWNLOADS}/cub200":
        check_whole(tmp_path)
    else:  # it is theirs: left alone
        assert got.kept == (path,)
        check_whole(tmp_path, os.path.relpath(path, tmp_path))


def test_a_browsers_unfinished_file_is_left_alone(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "CUB_200_2011.tgz"
    path.write_bytes(tgz()[:5000])
    seen = Recorded()
    get_dataset(entry(server.serve("/a.tgz", Habits(tgz()))), tmp_path, seen, patience=QUICK)
    assert "bytes are expected, it has 5,000): left there" in seen.notes[0]
    check_whole(tmp_path, "CUB_200_2011.tgz")


def test_wrong_bytes_are_removed_and_the_next_mirror_is_asked(
    server: Server, tmp_path: Path
) -> None:
    wrong = bytes(len(tgz()))
    bad, good = server.serve("/bad", Habits(wrong)), server.serve("/good", Habits(tgz()))
    seen = Recorded()
    get_dataset(entry(bad, good), tmp_path, seen, patience=QUICK)
    check_whole(tmp_path)
    assert server.sent("/bad") == [len(wrong)]
    assert "md5" in seen.notes[0]
    assert "trying the next source" in seen.notes[0]


def test_wrong_bytes_everywhere_states_expected_and_found(server: Server, tmp_path: Path) -> None:
    wrong = bytes(len(tgz()))
    one = entry(server.serve("/bad", Habits(wrong)))
    expected = str(one.archives[0].checksum).removeprefix("md5:")
    with pytest.raises(UserError, match=rf"md5 {expected} is expected, it has [0-9a-f]{{32}}\n"):
        get_dataset(one, tmp_path, Recorded(), patience=QUICK)
    assert tree(tmp_path) == set()


def test_missing_on_one_mirror_and_on_all(server: Server, tmp_path: Path) -> None:
    gone, good = server.url + "/gone", server.serve("/good", Habits(tgz()))
    with pytest.raises(UserError) as caught:
        get_dataset(entry(gone, gone + "2"), tmp_path / "a", Recorded(), patience=QUICK)
    for part in ("/gone: the server answers 404 Not Found\n", "/gone2: the server", "put it at"):
        assert part in str(caught.value)
    assert str(tmp_path / "a" / "CUB_200_2011.tgz") in str(caught.value)
    assert len(server.log) == 2, "a missing file is not asked for again"
    get_dataset(entry(gone, good), tmp_path / "b", Recorded(), patience=QUICK)
    check_whole(tmp_path / "b")


def test_a_login_page_in_place_of_the_archive(server: Server, tmp_path: Path) -> None:
    page = b"<!DOCTYPE html><title>Log in</title>"
    typed = server.serve("/typed", Habits(page, headers=(("Content-Type", "text/html"),)))
    untyped = server.serve("/untyped", Habits(page))
    with pytest.raises(UserError, match="the server sent a web page instead of the file"):
        get_dataset(entry(typed), tmp_path, Recorded(), patience=QUICK)
    with pytest.raises(UserError, match=r"the server's file has 36 bytes, the published"):
        get_dataset(entry(untyped), tmp_path, Recorded(), patience=QUICK)
    unknown = entry(untyped, checksum=None, size_bytes=None)
    with pytest.raises(UserError, match=r"neither a tar nor a zip file, but a web page\. It was"):
        get_dataset(unknown, tmp_path, Recorded(), patience=QUICK)
    assert tree(tmp_path) == set()


def test_no_published_checksum_is_said(server: Server, tmp_path: Path) -> None:
    url, seen = server.serve("/a.tgz", Habits(tgz())), Recorded()
    get_dataset(entry(url, checksum=None), tmp_path / "a", seen, patience=QUICK)
    assert "no checksum is published for it; its size could be checked" in seen.notes[0]
    get_dataset(entry(url, checksum=None, size_bytes=None), tmp_path / "b", seen, patience=QUICK)
    assert "nothing could be checked" in seen.notes[1]
    check_whole(tmp_path / "b")


def test_sha256(server: Server, tmp_path: Path) -> None:
    import hashlib

    url = server.serve("/a.tgz", Habits(tgz()))
    right = f"sha256:{hashlib.sha256(tgz()).hexdigest().upper()}"
    get_dataset(entry(url, checksum=right), tmp_path / "a", Recorded(), patience=QUICK)
    with pytest.raises(UserError, match="sha256 0000 is expected"):
        get_dataset(entry(url, checksum="sha256:0000"), tmp_path / "b", Recorded(), patience=QUICK)


def test_an_archive_of_something_else_does_not_open(server: Server, tmp_path: Path) -> None:
    files = {name: content for name, content in members().items() if "classes" not in name}
    content = tar_of(files)
    one = entry(server.serve("/a.tgz", Habits(content)), content=content)
    with pytest.raises(UserError, match=r"was unpacked .*cannot be opened: .*classes\.txt missing"):
        get_dataset(one, tmp_path, Recorded(), patience=QUICK)


def test_a_folder_that_is_not_complete_is_completed(server: Server, tmp_path: Path) -> None:
    """By hand unpacked to a half, and a link to another place."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "images").mkdir(parents=True)
    (elsewhere / "mine.txt").write_text("mine")
    (elsewhere / "images.txt").write_text("half of i")
    root = tmp_path / "root"
    root.mkdir()
    (root / "CUB_200_2011").symlink_to(elsewhere)
    get_dataset(entry(server.serve("/a.tgz", Habits(tgz()))), root, Recorded(), patience=QUICK)
    assert (root / "CUB_200_2011").is_symlink()
    assert (elsewhere / "mine.txt").read_text() == "mine"
    assert tree(elsewhere) == {name[13:] for name in members()} | {"mine.txt"}


def by_hand(*archives: Archive) -> object:
    return replace(
        entry(), by_hand="Ask for it at https://example.org/form.", archives=tuple(archives)
    )


def test_by_hand_says_what_to_put_where(server: Server, tmp_path: Path) -> None:
    files = members()
    first = tar_of({name: files[name] for name in files if "images/" in name}, "w")
    second = tar_of({name: files[name] for name in files if "images/" not in name})
    devkit = Archive("devkit.tgz", (server.serve("/devkit", Habits(second)),), len(second))
    one = by_hand(Archive("images.tar", (), len(first)), devkit)
    with pytest.raises(UserError) as caught:
        get_dataset(one, tmp_path, Recorded(), patience=QUICK)  # type: ignore[arg-type]
    for part in ("https://example.org/form.", f"at {tmp_path / 'images.tar'}\n", "get cub200"):
        assert part in str(caught.value)
    assert server.log == [], "nothing is fetched that may be in vain"
    (tmp_path / "images.tar").write_bytes(first)
    got = get_dataset(one, tmp_path, Recorded(), patience=QUICK)  # type: ignore[arg-type]
    assert got.state == "fetched"
    assert got.kept == (tmp_path / "images.tar",)
    check_whole(tmp_path, "images.tar")


def test_by_hand_without_archives(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be fetched by hand: Ask for it at https://ex"):
        get_dataset(by_hand(), tmp_path, Recorded(), patience=QUICK)  # type: ignore[arg-type]


def test_several_archives_and_a_file_that_is_not_one(server: Server, tmp_path: Path) -> None:
    files = members()
    images = {
        name.removeprefix("CUB_200_2011/"): files[name] for name in files if "images/" in name
    }
    rest = {name: files[name] for name in files if "images/" not in name and "classes" not in name}
    archives = (
        Archive(
            "i.tar", (server.serve("/i", Habits(tar_of(images, "w"))),), None, None, "CUB_200_2011"
        ),
        Archive("rest.tar.xz", (server.serve("/r", Habits(tar_of(rest, "w:xz"))),)),
        Archive(
            "classes.txt",
            (server.serve("/c", Habits(files["CUB_200_2011/classes.txt"])),),
            unpack_in="CUB_200_2011",
            unpack=False,
        ),
    )
    get_dataset(replace(entry(), archives=archives), tmp_path, Recorded(), patience=QUICK)
    check_whole(tmp_path)


def test_a_file_that_lies_where_it_is_used_stays_there(server: Server, tmp_path: Path) -> None:
    files = members()
    rest = {name: files[name] for name in files if "classes" not in name}
    table = files["CUB_200_2011/classes.txt"]
    archives = (
        Archive("rest.tgz", (server.serve("/r", Habits(tar_of(rest))),)),
        Archive("classes.txt", (), len(table), unpack_in="CUB_200_2011", unpack=False),
    )
    place = tmp_path / "CUB_200_2011" / "classes.txt"
    place.parent.mkdir()
    place.write_bytes(table)
    before = place.stat().st_ino
    got = get_dataset(replace(entry(), archives=archives), tmp_path, Recorded(), patience=QUICK)
    check_whole(tmp_path)
    assert place.stat().st_ino == before
    assert got.kept == ()


def test_presence_is_a_glance(server: Server, tmp_path: Path) -> None:
    assert presence(DATASETS["digits"], tmp_path).folder is None
    before = presence(entry(), tmp_path)
    assert (before.there, before.folder) == (False, tmp_path / "CUB_200_2011")
    get_dataset(entry(server.serve("/a.tgz", Habits(tgz()))), tmp_path, Recorded(), patience=QUICK)
    assert presence(entry(), tmp_path).there
    assert presence(entry(), tmp_path / "CUB_200_2011").there


@pytest.mark.parametrize(
    ("dataset", "file", "where"),
    [
        ("imagenet", "ILSVRC2012/train/n01440764/1.JPEG", "ILSVRC2012"),
        ("imagenet_dogs", "ILSVRC/Data/CLS-LOC/train/n01440764/1.JPEG", "ILSVRC"),
        ("imagenet_random", "train/n01440764/1.JPEG", ""),
        ("imagenet", "train/n01440764.tar", ""),
        ("cifar10", "cifar-10-batches-bin/test_batch.bin", "cifar-10-batches-bin"),
        ("cifar100", "cifar-100-binary/test.bin", "cifar-100-binary"),
        ("imagenet", "train/gull/1.jpg", None),
        ("cub200", "images/1.jpg", None),
        ("cifar10", "test_batch", None),
    ],
)
def test_presence_knows_the_folders_that_readers_take(
    dataset: str, file: str, where: str | None, tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    found = presence(DATASETS[dataset], tmp_path)
    entry_folder = tmp_path / DATASETS[dataset].folder
    assert found.there == (where is not None)
    assert found.folder == (entry_folder if where is None else tmp_path / where)


@pytest.mark.parametrize("build", [build_cars, build_cars_in_one_folder, build_aircraft,
                                   build_nabirds, build_flowers102, build_dogs])  # fmt: skip
def test_presence_of_a_datasets_own_folder_under_another_name(
    build: Callable[[Path], Path], tmp_path: Path
) -> None:
    (tmp_path / "made").mkdir()
    own = build(tmp_path / "made").rename(tmp_path / "my-copy")
    dataset = build.__name__.removeprefix("build_").partition("_")[0]
    there = [name for name, one in DATASETS.items() if one.folder and presence(one, own).there]
    assert there == [dataset]
    assert presence(DATASETS[dataset], own).folder == own


def test_someone_elses_file_in_the_root_stays(server: Server, tmp_path: Path) -> None:
    """The archive of CUB-200-2011 brings an attributes.txt beside the dataset's folder."""
    content = tar_of(members() | {"attributes.txt": b"theirs", "notes/new.txt": b"new"})
    (tmp_path / "attributes.txt").write_text("mine")
    (tmp_path / "notes").mkdir()
    (tmp_path / "CUB_200_2011").mkdir()
    (tmp_path / "CUB_200_2011" / "images.txt").write_text("half of it")
    url = server.serve("/a.tgz", Habits(content))
    get_dataset(entry(url, content=content), tmp_path, Recorded(), patience=QUICK)
    check_whole(tmp_path, "attributes.txt", "notes/new.txt")
    assert (tmp_path / "attributes.txt").read_text() == "mine"


def test_a_damaged_archive_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    """What was unpacked of it would mix with the right archive's files."""
    wrong = tar_of({"CUB_200_2011/stray.txt": b"x", **members()})[:-1000]
    mine = tmp_path / "CUB_200_2011.tgz"
    mine.write_bytes(wrong)
    one = entry(server.serve("/a.tgz", Habits(tgz())), size_bytes=None, checksum=None)
    with pytest.raises(UserError, match="is damaged or not complete"):
        get_dataset(one, tmp_path, Recorded(), patience=QUICK)
    assert tree(tmp_path) == {"CUB_200_2011.tgz"}
    mine.unlink()
    get_dataset(one, tmp_path, Recorded(), patience=QUICK)
    check_whole(tmp_path)
