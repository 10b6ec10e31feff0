"""Where Ray's files may lie: room, length of the path, and who could put theirs in the place."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcsearch.cluster.session.security import session_folder
from pcsearch.errors import UserError

NOBODY = 65534


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """TMPDIR, in a folder that others can enter, unlike pytest's."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with tempfile.TemporaryDirectory(prefix="pcs-") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("TMPDIR", f"{folder}/tmp")
        (Path(folder) / "tmp").mkdir(mode=0o700)
        yield Path(folder) / "tmp"


def refusal() -> str:
    with pytest.raises(UserError) as refused, session_folder():
        pass
    return str(refused.value)


def as_root() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder to another user")


def test_nobody_else_can_enter_it_whatever_ray_does_inside(base: Path) -> None:
    with session_folder() as folder:
        folder.mkdir()
        folder.chmod(0o777)  # as Ray does
        (private,) = base.iterdir()
        assert folder.parent == private
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert private.stat().st_uid == os.getuid()
    assert list(base.iterdir()) == []


def test_a_folder_that_is_missing_is_made(base: Path) -> None:
    base.rmdir()
    with session_folder() as folder:
        assert folder.is_relative_to(base)


def test_rays_own_variable_comes_first(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(base.parent / "other"))
    with session_folder() as folder:
        assert folder.is_relative_to(base.parent / "other")


def test_a_full_disk(disk_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(disk_of("2m")))
    told = refusal()
    assert "No space left on device" in told
    assert "set TMPDIR to" in told


def test_a_file_in_its_place(base: Path) -> None:
    base.rmdir()
    base.write_text("")
    assert f"{base}: Ray's sockets and logs cannot be kept here" in refusal()


def test_a_path_that_is_too_long(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", f"{base}/{'x' * 60}")
    assert "bytes too long for Ray's sockets" in refusal()


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o733])
@pytest.mark.parametrize("above", [False, True])
def test_others_could_rename_what_lies_in_it(base: Path, mode: int, above: bool) -> None:
    (base.parent if above else base).chmod(mode)
    assert "other users may replace what lies in" in refusal()
    assert list(base.iterdir()) == []


def test_the_sticky_bit_keeps_them_from_it(base: Path) -> None:
    base.chmod(0o1777)
    with session_folder():
        pass


def test_a_group_of_others_could_rename_what_lies_in_it(base: Path) -> None:
    as_root()
    os.chown(base, 0, NOBODY)
    base.chmod(0o770)
    assert "other users may replace what lies in" in refusal()


@pytest.mark.parametrize("above", [False, True])
def test_it_belongs_to_another_user(base: Path, above: bool) -> None:
    as_root()
    os.chown(base.parent if above else base, NOBODY, NOBODY)
    assert "belongs to another user" in refusal()


def test_a_link_leads_where_another_user_rules(base: Path) -> None:
    as_root()
    theirs = base.parent / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, NOBODY, NOBODY)
    base.rmdir()
    base.symlink_to(theirs)
    assert "belongs to another user" in refusal()


def test_what_others_prepared_under_its_name_is_left_alone(base: Path) -> None:
    """A folder of another user, and a link of theirs to one of ours."""
    as_root()
    base.chmod(0o1777)
    ours, theirs = base / "precious", base / "pcsearch-ray-theirs"
    for folder in (ours, theirs):
        folder.mkdir(mode=0o700)
        (folder / ".lock").touch()
    os.chown(theirs, NOBODY, NOBODY)
    link = base / "pcsearch-ray-link"
    link.symlink_to(ours)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    own_link = base / "pcsearch-ray-ours"
    own_link.symlink_to(ours)
    with session_folder():
        pass
    assert (theirs / ".lock").exists()
    assert (ours / ".lock").exists()
