"""Whether the nodes of a file for Ray's launcher are given a token, and use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pcsearch.cluster.file import Config, commands, texts
from pcsearch.cluster.finding import Finding

_USED = re.compile(r"RAY_AUTH_MODE=['\"]?token")


def token(config: Config) -> Iterator[Finding]:
    lines = commands(config)
    if any(re.search(r"RAY_AUTH_MODE=['\"]?disabled", line) for line in lines):
        yield Finding("problem", "token authentication is off", "RAY_AUTH_MODE=token")
        return
    if any(re.search(r"RAY_AUTH_TOKEN=['\"]?[^\s$'\"]", text) for _, text in texts(config)):
        yield Finding("problem", "a token is written in the file", "hand it over by file_mounts")
        return
    mounts = config.get("file_mounts") or {}
    sources = [here for there, here in mounts.items() if str(there).endswith(".ray/auth_token")]
    if not sources and not any("RAY_AUTH_TOKEN_PATH=" in line for line in lines):
        yield Finding(
            "problem",
            "the nodes are not given the token, so no worker will be able to join",
            "file_mounts: {~/.ray/auth_token: ~/.ray/auth_token}",
        )
    elif sources and not Path(sources[0]).expanduser().is_file():
        yield Finding(
            "problem", f"there is no token at {sources[0]}", "ray get-auth-token --generate"
        )
    elif not any(_USED.search(line) for line in lines):
        yield Finding(
            "problem",
            "the nodes have the token and do not use it, so no worker will be able to join",
            "RAY_AUTH_MODE=token before ray start",
        )
    else:
        yield Finding("fine", "the token is handed to every node")
