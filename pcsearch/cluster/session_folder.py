"""A folder for the sockets and logs of a Ray that is started here, which nobody else can enter."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pcsearch.errors import UserError
from pcsearch.storage.scratch import scratch_folder

SESSION_NAME = "session"
"""Ray's own name, with a time and a process in it, would take 42 bytes of a socket's path."""

_PREFIX = "pcsearch-ray-"
_LONGEST = Path("ray", SESSION_NAME, "sockets", "plasma_store")
_PATH_BYTES = 103 if sys.platform == "darwin" else 107  # of an AF_UNIX socket
_ROOM_BYTES = 16 * 2**20
"""Ray writes 0.2 MB of logs while it starts, and more with every worker and hour."""


@contextmanager
def session_folder() -> Iterator[Path]:
    """What to give Ray as its temporary folder; removed at the end.

    Ray makes its folder and all below it 0777 (`try_make_directory_shared`, 2.60): another user of
    the machine could put a socket in the place of the raylet's. So it lies in one of 0700. Folders
    of this user whose processes were killed are removed first.

    Raises:
        UserError: the machine's temporary folder is full, cannot be written, has too long a path,
            or another user could put something else in the place of what lies there.
    """
    variable, base = _temporary_folder()
    with ExitStack() as held:
        try:
            base = base.resolve()  # a link on the way may be another user's
            check_parents(base)
            private = held.enter_context(scratch_folder(base, _PREFIX))
            _check_room(private / "room")
        except OSError as error:
            raise UserError(
                f"{base}: Ray's sockets and logs cannot be kept here ({error.strerror or error}); "
                f"set {variable} to a folder of yours with a short path and "
                f"{_ROOM_BYTES / 1e6:.0f} MB of room"
            ) from error
        if (too_many := len(os.fsencode(private / _LONGEST)) - _PATH_BYTES) > 0:
            raise UserError(
                f"{base} is too long a path for Ray's sockets, by {too_many} bytes; "
                f"set {variable} to a shorter one"
            )
        yield private / _LONGEST.parts[0]


def _temporary_folder() -> tuple[str, Path]:
    """The variable that names it, and the folder: the same that Ray takes."""
    if "RAY_TMPDIR" in os.environ:
        return "RAY_TMPDIR", Path(os.environ["RAY_TMPDIR"]).absolute()
    if sys.platform == "darwin":  # whose TMPDIR is too long for sockets
        return "RAY_TMPDIR", Path("/tmp")
    return "TMPDIR", Path(os.environ.get("TMPDIR") or "/tmp").absolute()


def check_parents(base: Path) -> None:
    """OSError if another user may rename a folder on the way, and put one of theirs there."""
    there = base.resolve()
    for folder in (there, *there.parents):
        if not folder.exists():
            continue  # it will be made
        found = folder.stat()
        if found.st_uid not in _trusted():
            raise PermissionError(0, f"{folder} belongs to another user")
        others = stat.S_IWOTH if _is_own_group(found.st_gid) else stat.S_IWOTH | stat.S_IWGRP
        if found.st_mode & others and not found.st_mode & stat.S_ISVTX:
            raise PermissionError(0, f"other users may replace what lies in {folder}")


def _trusted() -> set[int]:
    """This user, root, and in a user namespace the number that stands for the root outside."""
    users = {0, os.getuid()}
    try:
        mapped = Path("/proc/self/uid_map").read_text().split()
        if mapped != ["0", "0", str(2**32 - 1)]:
            users.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    except (OSError, ValueError):
        pass  # a system without user namespaces
    return users


def _is_own_group(group: int) -> bool:
    """Whether this is the group of this user alone that many systems make with an account."""
    import grp
    import pwd

    try:
        user, found = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_name == user and set(found.gr_mem) <= {user}


def _check_room(file: Path) -> None:
    """OSError unless so many bytes can be written; a quota counts, which free space does not."""
    with file.open("xb") as probe:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(probe.fileno(), 0, _ROOM_BYTES)
            else:
                probe.write(bytes(_ROOM_BYTES))
                probe.flush()
        finally:
            file.unlink()
