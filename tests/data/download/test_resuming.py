"""Downloads that are interrupted: by the server, by the network, and by a signal."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from pcsearch.data.download import get_dataset
from pcsearch.errors import UserError
from tests.data.download.server import Habits, Server
from tests.data.download.small_cub import QUICK, Recorded, check_whole, entry, part_of, tgz

PACKAGE = Path(__file__).resolve().parents[3]
HALF = 150_000


def other_version() -> bytes:
    """As long as the archive, but for every byte different."""
    return bytes(byte ^ 0xFF for byte in tgz())


def interrupted(server: Server, root: Path, first: Habits, **changes: object) -> str:
    """Leave the beginning of an archive in `root`; the address that it is from."""
    url = server.serve("/a.tgz", replace(first, drop_after=HALF), Habits(status=404))
    with pytest.raises(UserError, match=r"kept and will be resumed"):
        get_dataset(entry(url, **changes), root, Recorded(), patience=QUICK)
    assert part_of(root).read_bytes() == first.body[:HALF], "not one byte was lost"
    server.log.clear()
    return url


@pytest.mark.parametrize(
    "version",
    [
        Habits(tgz()),
        Habits(tgz(), etag="", last_modified="Sat, 01 Jan 2022 00:00:00 GMT"),
        Habits(tgz(), etag='W/"weak"', last_modified="Sat, 01 Jan 2022 00:00:00 GMT"),
        Habits(tgz(), etag=""),
        Habits(tgz(), align=4096),
    ],
    ids=["etag", "date", "weak etag", "checksum only", "aligned"],
)
def test_a_later_run_fetches_only_the_rest(version: Habits, server: Server, tmp_path: Path) -> None:
    url = interrupted(server, tmp_path, version)
    server.serve("/a.tgz", version)
    seen = Recorded()
    got = get_dataset(entry(url), tmp_path, seen, patience=QUICK)
    check_whole(tmp_path)
    start = HALF // version.align * version.align
    assert server.ranges("/a.tgz") == [f"bytes={HALF}-"]
    assert server.sent("/a.tgz") == [len(tgz()) - start]
    assert got.archives[0].fetched_bytes == len(tgz()) - start
    assert seen.first("downloading") == start
    asked = server.log[0].headers.get("if-range")
    assert asked == (version.etag if version.etag[:1] == '"' else version.last_modified or None)


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_drops_again_and_again(
    reset: bool, server: Server, tmp_path: Path
) -> None:
    seen = Recorded()
    patience = replace(QUICK, attempts=30) if reset else QUICK
    url = server.serve("/a.tgz", Habits(tgz(), drop_after=50_000, reset=reset))
    get_dataset(entry(url), tmp_path, seen, patience=patience)
    check_whole(tmp_path)
    sent = server.sent("/a.tgz")
    assert len(sent) > QUICK.attempts, "each of them brings something"
    assert sum(sent) == len(tgz()) or reset
    assert "broke off at" in seen.notes[0]


def test_attempts_that_bring_nothing_are_bounded(server: Server, tmp_path: Path) -> None:
    url = server.serve("/a.tgz", Habits(tgz(), drop_after=HALF), Habits(tgz(), drop_after=0))
    with pytest.raises(UserError, match="broke off, 4 times in a row"):
        get_dataset(entry(url), tmp_path, Recorded(), patience=QUICK)
    assert len(server.log) == QUICK.attempts


def test_no_server_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1 refuses the connection, 4 times"):
        get_dataset(entry("http://127.0.0.1:9/a.tgz"), tmp_path, Recorded(), patience=QUICK)
    with pytest.raises(UserError, match=r"nowhere\.invalid cannot be resolved"):
        get_dataset(entry("http://nowhere.invalid/a"), tmp_path, Recorded(), patience=QUICK)
    for url in ("ftp://127.0.0.1/a.tgz", "a.tgz", "http://", "http://.x/a"):
        with pytest.raises(UserError, match="not a valid web address"):
            get_dataset(entry(url), tmp_path, Recorded(), patience=QUICK)


def test_a_server_that_ignores_ranges_sends_all_of_it(server: Server, tmp_path: Path) -> None:
    url = interrupted(server, tmp_path, Habits(tgz()))
    server.serve("/a.tgz", Habits(tgz(), ranges=False))
    seen = Recorded()
    get_dataset(entry(url), tmp_path, seen, patience=QUICK)
    check_whole(tmp_path)
    assert server.sent("/a.tgz") == [len(tgz())]
    assert "from the start" in seen.notes[0]


@pytest.mark.parametrize("obedient", [True, False])
@pytest.mark.parametrize("etag", ['"v2"', ""])
def test_a_file_that_changed_meanwhile_is_fetched_anew(
    obedient: bool, etag: str, server: Server, tmp_path: Path
) -> None:
    url = interrupted(server, tmp_path, Habits(other_version(), etag='"v1"' if etag else ""))
    server.serve("/a.tgz", Habits(tgz(), etag=etag, ignores_if_range=not obedient))
    seen = Recorded()
    get_dataset(entry(url), tmp_path, seen, patience=QUICK)
    check_whole(tmp_path)
    assert server.sent("/a.tgz")[-1] == len(tgz())


def test_a_change_in_the_middle_of_one_run(server: Server, tmp_path: Path) -> None:
    """No checksum: the entity tag alone keeps two versions apart."""
    old = Habits(other_version(), etag='"old"', drop_after=HALF)
    url = server.serve("/a.tgz", old, Habits(tgz(), etag='"new"', ignores_if_range=True))
    get_dataset(entry(url, checksum=None), tmp_path, Recorded(), patience=QUICK)
    check_whole(tmp_path)


def test_without_version_and_checksum_nothing_is_joined(server: Server, tmp_path: Path) -> None:
    url = interrupted(server, tmp_path, Habits(other_version(), etag=""), checksum=None)
    server.serve("/a.tgz", Habits(tgz(), etag=""))
    get_dataset(entry(url, checksum=None), tmp_path, Recorded(), patience=QUICK)
    check_whole(tmp_path)
    assert server.ranges("/a.tgz") == [None]


def test_a_mirror_goes_on_where_another_one_ended(server: Server, tmp_path: Path) -> None:
    first = server.serve("/a.tgz", Habits(tgz(), drop_after=HALF), Habits(status=500))
    second = server.serve("/b.tgz", Habits(tgz(), etag='"theirs"'))
    seen = Recorded()
    get_dataset(entry(first, second), tmp_path, seen, patience=QUICK)
    check_whole(tmp_path)
    assert server.sent("/b.tgz") == [len(tgz()) - HALF]
    assert any("500 Internal Server Error, 4 times in a row" in line for line in seen.notes)


def test_beyond_the_end(server: Server, tmp_path: Path) -> None:
    """The whole file, or more than that, was there before its check."""
    url = server.serve("/a.tgz", Habits(tgz()))
    part = part_of(tmp_path)
    part.parent.mkdir(parents=True)
    known = f'{{"url": "{url}", "etag": "\\"v1\\""}}'
    for content in (tgz(), tgz() + b"more"):
        part.write_bytes(content)
        part.with_name(f"{part.name}.json").write_text(known)
        get_dataset(entry(url), tmp_path, Recorded(), patience=QUICK)
        check_whole(tmp_path)
        (tmp_path / "CUB_200_2011" / "images.txt").unlink()
        part.parent.mkdir(parents=True, exist_ok=True)
    assert [request.status for request in server.log] == [416, 416, 200]


@pytest.mark.parametrize("known", ["", "no json", "[]", '{"url": 3, "other": 1}'])
def test_a_part_without_a_readable_origin_is_not_used(
    known: str, server: Server, tmp_path: Path
) -> None:
    part = part_of(tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"leftover")
    part.with_name(f"{part.name}.json").write_text(known)
    url = server.serve("/a.tgz", Habits(tgz()))
    get_dataset(entry(url), tmp_path, Recorded(), patience=QUICK)
    check_whole(tmp_path)


def test_a_stated_length_that_is_too_long(server: Server, tmp_path: Path) -> None:
    longer = len(tgz()) + 50
    liar = Habits(tgz(), length=longer, ranges=False)
    url = server.serve("/a.tgz", liar)
    with pytest.raises(UserError, match=f"has {longer:,} bytes, the published {len(tgz()):,}"):
        get_dataset(entry(url), tmp_path / "a", Recorded(), patience=QUICK)
    with pytest.raises(UserError, match=r"broke off.*, 4 times|ends it early.*, 4 times"):
        get_dataset(entry(url, size_bytes=None), tmp_path / "b", Recorded(), patience=QUICK)


def test_a_stated_length_that_is_too_short(server: Server, tmp_path: Path) -> None:
    url = server.serve("/a.tgz", Habits(tgz(), length=1000, headers=(("Connection", "close"),)))
    with pytest.raises(UserError, match=r"wrong content, removed: md5"):
        get_dataset(entry(url, size_bytes=None), tmp_path, Recorded(), patience=QUICK)


def test_no_stated_length(server: Server, tmp_path: Path) -> None:
    silent = Habits(tgz(), length=None)
    url = server.serve("/a.tgz", replace(silent, drop_after=HALF), silent)
    get_dataset(entry(url), tmp_path / "a", Recorded(), patience=QUICK)
    check_whole(tmp_path / "a")
    url = server.serve("/b.tgz", replace(silent, body=tgz() + b"more"))
    with pytest.raises(UserError, match=f"more than the {len(tgz()):,} bytes"):
        get_dataset(entry(url), tmp_path / "b", Recorded(), patience=QUICK)


def test_a_server_that_goes_silent(server: Server, tmp_path: Path) -> None:
    url = server.serve("/a.tgz", Habits(tgz(), stall_after=HALF), Habits(tgz()))
    seen = Recorded()
    get_dataset(entry(url), tmp_path, seen, patience=QUICK)
    check_whole(tmp_path)
    assert "127.0.0.1 stopped sending at" in seen.notes[0]


def test_a_busy_server_says_how_long_to_wait(server: Server, tmp_path: Path) -> None:
    busy = Habits(status=503, headers=(("Retry-After", "1"),))
    url = server.serve("/a.tgz", busy, Habits(tgz()))
    seen, began = Recorded(), time.monotonic()
    get_dataset(entry(url), tmp_path, seen, patience=QUICK)
    assert time.monotonic() - began >= 1
    assert "503 Service Unavailable; trying again in 1 s" in seen.notes[0]


def to(target: str, status: int = 302) -> Habits:
    return Habits(status=status, headers=(("Location", target),))


def test_redirections(server: Server, tmp_path: Path) -> None:
    server.serve("/c", Habits(tgz(), drop_after=HALF), Habits(tgz()))
    server.serve("/b", to(server.url + "/c", 307))
    get_dataset(entry(server.serve("/a", to("b"))), tmp_path, Recorded(), patience=QUICK)
    check_whole(tmp_path)
    assert server.sent("/c") == [HALF, len(tgz()) - HALF]
    assert [request.path for request in server.log] == ["/a", "/b", "/c"] * 2


@pytest.mark.parametrize(
    ("target", "says"),
    [("/a", "redirects more than 10 times"), ("file:///etc/passwd", "not safe")],
)
def test_redirections_that_are_not_followed(
    target: str, says: str, server: Server, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says):
        get_dataset(entry(server.serve("/a", to(target))), tmp_path, Recorded(), patience=QUICK)


def test_what_began_encrypted_is_not_led_to_plain_text() -> None:
    from pcsearch.http import SourceError, _redirected

    assert _redirected("http://a.org/x", "https://b.org/y") == "https://b.org/y"
    assert _redirected("https://a.org/x", "/y") == "https://a.org/y"
    with pytest.raises(SourceError, match="from https to http://b"):
        _redirected("https://a.org/x", "http://b.org/y")


def test_an_encoding_that_was_not_asked_for(server: Server, tmp_path: Path) -> None:
    packed = Habits(tgz(), headers=(("Content-Encoding", "x-gzip"),))
    url = server.serve("/a.tgz", packed)
    get_dataset(entry(url), tmp_path, Recorded(), patience=QUICK)  # a .tgz is that by itself
    check_whole(tmp_path)
    with pytest.raises(UserError, match="encoded by x-gzip"):
        get_dataset(entry(url, file="a.zip"), tmp_path / "b", Recorded(), patience=QUICK)


def test_a_range_that_is_not_the_asked_one(server: Server, tmp_path: Path) -> None:
    url = interrupted(server, tmp_path, Habits(tgz()))
    server.serve("/a.tgz", Habits(tgz(), range_offset=9), Habits(tgz()))
    get_dataset(entry(url), tmp_path, Recorded(), patience=QUICK)
    check_whole(tmp_path)
