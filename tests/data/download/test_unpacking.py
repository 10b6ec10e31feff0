"""Archives that are damaged, and archives that mean harm."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.data.download.archive import unpack
from pcsearch.errors import UserError
from tests.data.download.small_cub import tar_of, tgz, tree

FILES = {
    "top.txt": b"top",
    "a/one.txt": b"one" * 2000,
    "a/b/two.bin": np.random.default_rng(1).bytes(50_000),
    "a/ü/naïve name.txt": b"",
}


def silent(done: int, total: int) -> None:
    assert 0 <= done <= total


def zip_of(files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tar_with(*members: tarfile.TarInfo) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return packed.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def unpacked(content: bytes, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "archive"
    archive.write_bytes(content)
    unpack(archive, folder / "out", silent)
    return folder / "out"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zip", "stored"])
def test_every_kind_is_told_by_its_content(mode: str, tmp_path: Path) -> None:
    kinds = {"zip": zipfile.ZIP_DEFLATED, "stored": zipfile.ZIP_STORED}
    content = zip_of(FILES, kinds[mode]) if mode in kinds else tar_of(FILES, mode)
    out = unpacked(content, tmp_path)
    assert {name: (out / name).read_bytes() for name in tree(out)} == FILES


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    for name, content in (("t", tgz()), ("z", zip_of(FILES))):
        seen: list[tuple[int, int]] = []
        (tmp_path / name).write_bytes(content)
        unpack(tmp_path / name, tmp_path / f"{name}-out", lambda d, t, s=seen: s.append((d, t)))
        assert seen == sorted(seen)
        assert seen[-1][0] == seen[-1][1] > 0
        assert len(seen) > 3


LINKS = [
    [member("a", tarfile.SYMTYPE, "/etc"), member("a/passwd")],
    [member("a", tarfile.SYMTYPE, ".."), member("a/up.txt")],
    [member("inside", tarfile.SYMTYPE, "top.txt")],
    [member("hard", tarfile.LNKTYPE, "../../outside")],
    [member("hard", tarfile.LNKTYPE, "/etc/passwd")],
]
DEVICES = [[member("d", kind)] for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)]
PATHS = ["/etc/evil", "../evil", "a/../../evil", "C:/evil", "..\\evil", "\\evil"]


@pytest.mark.parametrize(
    "members", [*LINKS, *DEVICES, *([member(path)] for path in PATHS)], ids=lambda m: m[0].name
)
def test_malicious_tars_write_nothing_outside(
    members: list[tarfile.TarInfo], tmp_path: Path
) -> None:
    (tmp_path / "outside").write_text("before")
    with pytest.raises(UserError, match=r"is not unpacked: its member .* no dataset needs"):
        unpacked(tar_with(*members), tmp_path / "here")
    assert tree(tmp_path) == {"outside", "here/archive"}
    assert (tmp_path / "outside").read_text() == "before"


@pytest.mark.parametrize("path", PATHS)
def test_malicious_zips_write_nothing_at_all(path: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leads out of the folder"):
        unpacked(zip_of({"fine.txt": b"", path: b"evil"}), tmp_path / "here")
    assert tree(tmp_path) == {"here/archive"}


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match="symbolic link"):
        unpacked(packed.getvalue(), tmp_path)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    content = bytearray(zip_of({"a.txt": b"secret"}))
    content[6] |= 1  # the flag in the local header and in the directory
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UserError, match="is encrypted"):
        unpacked(bytes(content), tmp_path)


def test_hard_links_within_are_kept(tmp_path: Path) -> None:
    first = member("a/one")
    first.size = 5
    for _ in ("once", "over what a killed attempt left"):
        out = unpacked(tar_with(first, member("b", tarfile.LNKTYPE, "a/one")), tmp_path)
        assert (out / "b").read_bytes() == bytes(5)


def test_permissions_are_those_of_data(tmp_path: Path) -> None:
    evil = member("run.sh")
    evil.mode = 0o6777
    locked = member("locked.txt")
    locked.mode = 0
    out = unpacked(tar_with(evil, locked), tmp_path)
    assert (out / "run.sh").stat().st_mode & 0o6022 == 0
    assert (out / "locked.txt").stat().st_mode & 0o600 == 0o600


ARCHIVES = {"tar": tar_of(FILES, "w"), "tgz": tar_of(FILES), "zip": zip_of(FILES)}


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_truncated_archives(kind: str, share: float, tmp_path: Path) -> None:
    content = ARCHIVES[kind].rstrip(b"\0") if kind == "tar" else ARCHIVES[kind]
    with pytest.raises(UserError, match=r"damaged or not complete|neither a tar nor a zip"):
        unpacked(content[: int(len(content) * share)], tmp_path)


def test_a_damaged_header_is_not_the_end(tmp_path: Path) -> None:
    """tarfile alone would stop there, and say nothing."""
    content = bytearray(ARCHIVES["tar"])
    content[content.index(b"a/b/two.bin")] ^= 1
    with pytest.raises(UserError, match="header cannot be read"):
        unpacked(bytes(content), tmp_path / "tar")
    with pytest.raises(UserError, match="header cannot be read"):
        unpacked(gzip.compress(bytes(content)), tmp_path / "tgz")


@settings(deadline=None, max_examples=60)
@given(
    where=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
    kind=st.sampled_from(["tgz", "zip"]),
)
def test_one_wrong_byte_never_passes_as_other_content(
    tmp_path_factory: pytest.TempPathFactory, where: float, flip: int, kind: str
) -> None:
    content = bytearray(ARCHIVES[kind])
    content[int(where * len(content))] ^= flip
    try:
        out = unpacked(bytes(content), tmp_path_factory.mktemp("flip"))
    except UserError:
        return
    # Some bytes mean nothing: times, for example. Names in a zip file have no checksum.
    contents = sorted((out / name).read_bytes() for name in tree(out))
    assert contents == sorted(FILES.values())


CLASHES = [("a", "a/b"), ("a/b", "a"), (".",), ("x" * 300,)]


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("names", CLASHES, ids=lambda names: names[0][:3])
def test_names_that_cannot_be_made(names: tuple[str, ...], kind: str, tmp_path: Path) -> None:
    tar = tar_with(*map(member, names))
    with pytest.raises(UserError, match=r"is damaged: its member .* cannot be created"):
        unpacked(tar if kind == "tar" else zip_of(dict.fromkeys(names, b"")), tmp_path)


def tar_stating(**headers: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = member("a")
        info.pax_headers = headers
        tar.addfile(info)
    return packed.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        tar_with(member("b", tarfile.LNKTYPE, "absent")),
        tar_stating(mtime="1e300"),
        tar_stating(**{"GNU.sparse.map": "x", "GNU.sparse.major": "0"}),
    ],
    ids=["link", "time", "sparse"],
)
def test_headers_that_make_no_sense(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is damaged or not complete"):
        unpacked(content, tmp_path)


@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_a_bomb_is_refused_before_it_is_written(kind: str, tmp_path: Path) -> None:
    files = {"bomb": bytes(20_000_000)}
    with pytest.raises(UserError, match=r"declares 20\.0 MB or more, over 100 times its own size"):
        unpacked(tar_of(files) if kind == "tgz" else zip_of(files), tmp_path)
    assert tree(tmp_path) == {"archive"}


def deep_tar() -> bytes:
    return tar_with(member("/".join("a" * 3000)))


def chained_names() -> bytes:
    """Long names of long names, which tarfile follows by recursion."""
    name = member("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    name.size = 10
    block = name.tobuf(tarfile.USTAR_FORMAT) + b"x".ljust(512, b"\0")
    return block * 3000 + tar_with(member("b"))


def large_name() -> bytes:
    name = member("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    name.size = 2**30
    return name.tobuf(tarfile.USTAR_FORMAT) + bytes(2**21)


HARMFUL = {
    "folders": (deep_tar, "is in more than 64 folders"),
    "folders in a zip": (lambda: zip_of({"/".join("a" * 3000): b""}), "more than 64 folders"),
    "folders, compressed": (lambda: gzip.compress(deep_tar()), "more than 64 folders"),
    "names": (chained_names, "is damaged or not complete|neither a tar"),
    "a large name": (large_name, "is damaged or not complete|neither a tar"),
    "zeros without end": (
        lambda: gzip.compress(tar_with(member("b")) + bytes(2**28)),
        "too many zeros",
    ),
    "zeros": (lambda: bytes(2**28), "too many zeros"),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", HARMFUL)
def test_archives_that_would_take_too_much(kind: str, tmp_path: Path) -> None:
    content, message = HARMFUL[kind]
    (tmp_path / "archive").write_bytes(content())
    with pytest.raises(UserError, match=message) as error:
        unpack(tmp_path / "archive", tmp_path / "out", lambda done, total: None)
    assert len(str(error.value)) < 1000
