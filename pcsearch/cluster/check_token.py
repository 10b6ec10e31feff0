"""Whether the nodes of a file for Ray's launcher are given a token, and use it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pcsearch.cluster.auth import others_read
from pcsearch.cluster.file import Config, commands_by_role, texts
from pcsearch.cluster.finding import Finding
from pcsearch.regular_files import expanded

_OFF = re.compile(r"RAY_AUTH_MODE=['\"]?disabled")
_USED = re.compile(r"RAY_AUTH_MODE=['\"]?token\b")
_FILE = re.compile(r"RAY_AUTH_TOKEN_PATH=")
_WRITTEN = re.compile(r"RAY_AUTH_TOKEN=['\"]?[^\s$'\"]")
_STARTS = re.compile(r"\b(?:ray|ray\.scripts\.scripts) start\b")
_KEPT = re.compile(r"\.(?:bashrc|bash_profile|profile)\b|/etc/(?:environment|profile)")
"""Where a line in a command reaches the shells of later ones."""


def token(config: Config) -> Iterator[Finding]:
    """Whether the nodes are given the token, and whether there is one on this machine to give."""
    found = list(token_problems(config))
    sources = _sources(config)
    if not found and sources and not expanded(sources[0]).is_file():
        found.append(
            Finding(
                "problem",
                f"there is no token at {sources[0]}",
                "(umask 077; ray get-auth-token --generate)",
            )
        )
    elif not found and sources and others_read(expanded(sources[0]).resolve()):
        found.append(
            Finding(
                "warning",
                f"other users of this machine can read {sources[0]}",
                f"chmod 600 {sources[0]}",
            )
        )
    yield from found or [Finding("fine", "the token is handed to every node")]


def token_problems(config: Config) -> Iterator[Finding]:
    """What the file itself says; at most one finding."""
    stated = [text for _, text in texts(config)]
    environments = list(_environments(config))
    if any(map(_OFF.search, stated)):
        yield Finding("problem", "token authentication is off", "RAY_AUTH_MODE=token")
    elif any(map(_WRITTEN.search, stated)):
        yield Finding("problem", "a token is written in the file", "hand it over by file_mounts")
    elif not _sources(config) and not all(any(map(_FILE.search, of)) for of in environments):
        yield Finding(
            "problem",
            "the nodes are not given the token, so no worker will be able to join",
            "file_mounts: {~/.ray/auth_token: ~/.ray/auth_token}",
        )
    elif not all(any(map(_USED.search, of)) for of in environments):
        yield Finding(
            "problem",
            "the nodes have the token and do not use it, so no worker will be able to join",
            "RAY_AUTH_MODE=token before ray start, on the head and on the workers",
        )


def _sources(config: Config) -> list[str]:
    """Files of this machine that are copied to every node as the token."""
    mounts = config.get("file_mounts") or {}
    return [str(of) for there, of in mounts.items() if str(there).endswith(".ray/auth_token")]


def _environments(config: Config) -> Iterator[list[str]]:
    """What sets the environment in which Ray starts, on the head, and on a worker if any.

    Each command has a shell of its own: a variable must be set in the one that starts Ray, in a
    file that every shell reads, or for the container.
    """
    docker = config.get("docker") or {}
    for role, lines in zip(("head", "worker"), commands_by_role(config), strict=False):
        options = (docker.get(key) or [] for key in ("run_options", f"{role}_run_options"))
        yield [
            *(line for line in lines if _STARTS.search(line) or _KEPT.search(line)),
            *(str(option) for of in options if isinstance(of, list) for option in of),
        ]
