"""The folder for the files of Ray's launcher on this machine, which only this user can enter."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path

from pcsearch.cluster.session.security import check_parents
from pcsearch.errors import UserError
from pcsearch.io import home_folder


def launcher_folder() -> Path:
    """The path; does not make the folder. A user's own `ray attach` finds it by RAY_TMPDIR."""
    return home_folder() / ".ray" / "pcsearch"


@contextlib.contextmanager
def private_launcher() -> Iterator[None]:
    """Keep Ray's launcher, here and in subprocesses, from reading another user's files.

    Anybody who knows a cluster's file can predict where the launcher (2.60) reads:

    - TMPDIR/ray-config-HASH: the whole configuration, with commands to run on this machine.
    - /tmp/ray/cluster-NAME.state: the address to log in to.
    - /tmp/ray_ssh_HASH: open SSH connections.

    Raises:
        UserError: there is no folder that only this user can enter.
    """
    try:
        folder = launcher_folder()
        folder.mkdir(parents=True, exist_ok=True)
        check_parents(folder)
        folder.chmod(0o700)
        _own_connections()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"the launcher's files need a folder that only you can enter ({error}); set HOME to a "
            "folder of yours, or remove what is in the way"
        ) from error
    before = {key: os.environ.get(key) for key in ("RAY_TMPDIR", "TMPDIR")}
    cached = tempfile.tempdir
    os.environ.update(dict.fromkeys(before, str(folder)))
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = cached
        for key, value in before.items():
            os.environ.pop(key)
            if value is not None:
                os.environ[key] = value


def _own_connections() -> None:
    """Make the folder of SSH's shared connections, which Ray's launcher always puts in /tmp."""
    folder = Path(f"/tmp/ray_ssh_{hashlib.sha256(getuser().encode()).hexdigest()[:10]}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(0, f"{folder} belongs to another user")
    folder.chmod(0o700)
