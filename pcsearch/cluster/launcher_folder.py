"""Where Ray's launcher keeps its files on this machine: a folder that only this user can enter."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path

from pcsearch.cluster.session.access import check_parents
from pcsearch.errors import UserError


def launcher_folder() -> Path:
    """Not made by this; a user's own `ray attach` finds it by RAY_TMPDIR."""
    return Path.home() / ".ray" / "pcsearch"


@contextlib.contextmanager
def private_launcher() -> Iterator[None]:
    """Let Ray's launcher, here and in subprocesses, read no file that another user has prepared.

    As of 2.60 it takes a whole cluster's configuration, commands to run on this machine included,
    from TMPDIR/ray-config-HASH, the address to log in to from /tmp/ray/cluster-NAME.state, and
    open connections from /tmp/ray_ssh_HASH. Whoever knows a cluster's file knows these names.

    Raises:
        UserError: there is no place that only this user can enter.
    """
    try:
        folder = launcher_folder()
        folder.mkdir(parents=True, exist_ok=True)
        check_parents(folder)
        folder.chmod(0o700)
        _own_connections()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"the launcher's files cannot be kept where only you can reach them ({error}); set "
            "HOME to a folder of yours, and remove what is in the way"
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
    """Make the folder of SSH's shared connections, whose place Ray's launcher fixes in /tmp."""
    folder = Path(f"/tmp/ray_ssh_{hashlib.sha256(getuser().encode()).hexdigest()[:10]}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(0, f"{folder} belongs to another user")
    folder.chmod(0o700)
