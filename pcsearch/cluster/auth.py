"""Ray's token: one of its own for each session that is started here, and who can read a file's."""

from __future__ import annotations

import logging
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_log = logging.getLogger(__name__)

_VARIABLES = (
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_AUTH_TOKEN_PATH",
    "RAY_ENABLE_K8S_TOKEN_AUTH",  # asks a Kubernetes server in place of comparing tokens
)
_warned: set[Path] = set()


@contextmanager
def session_token() -> Iterator[None]:
    """Token authentication for a Ray that is started in the meantime, whatever the environment
    says; the environment is afterwards as it was.

    Ray itself would write its token to ~/.ray/auth_token, readable by everyone (0644, as of 2.60),
    and use it for every session. Ours is in the environment of that session's processes alone,
    which the kernel shows to their user only.
    """
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    before = {key: os.environ.pop(key, None) for key in _VARIABLES}
    os.environ.update(own)
    _forget()
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value
        _forget()


def _forget() -> None:
    """Ray's native code keeps the mode and the token that it has read; without this, a second
    session of a process would be refused by itself."""
    if native := sys.modules.get("ray._raylet"):
        native.AuthenticationTokenLoader.instance().reset_cache()
        native.Config.initialize("")


def warn_if_readable() -> None:
    """Warn, once, of a token's file that other users of this machine can read."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    try:
        file = Path(named or "~/.ray/auth_token").expanduser().resolve()
        readable = file not in _warned and others_read(file)
    except (OSError, RuntimeError):  # no such file, or no home
        return
    if readable:
        _warned.add(file)
        _log.warning(
            "other users of this machine can read the cluster's token in %s; chmod 600 %s, and "
            "make another token if they may have read it",
            file,
            file,
        )


def others_read(file: Path) -> bool:
    """Whether its mode lets others read it, and those of the folders above let them get there."""
    mode = file.stat().st_mode
    above = [folder.stat().st_mode for folder in file.parents]
    return any(
        mode & read and all(folder & enter for folder in above)
        for read, enter in (
            (stat.S_IROTH, stat.S_IXOTH),
            (stat.S_IRGRP, stat.S_IXGRP | stat.S_IXOTH),
        )
    )
