"""Named files that are there whole or not at all."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pcsearch.errors import PcsearchError, UserError

_MOST_BYTES_A_PART = 200  # a file name has 255 at most, and temporary ones are longer
_MOST_BYTES = 800  # a key in S3 has 1,024, and a prefix stands before it
_UNPRINTED = ("Cc", "Cf", "Cs", "Zl", "Zp")


class StorageError(PcsearchError):
    """A store failed, or did not answer for minutes; what it holds is whole."""


class LeaseLostError(StorageError):
    """Another process goes on with this campaign; this one must stop."""


class Storage(Protocol):
    """Files by name, such as `checkpoints/x/a0000-e00001.pt`; names are relative to a root.

    Every operation raises `UserError` for a bad name and for what no waiting mends (no such bucket,
    access denied), and `StorageError` where the store failed (a full disk, no answer for minutes).
    A name is given to a file or to a folder, never to both. Safe to use from several threads.
    """

    @property
    def url(self) -> str:
        """The root, as `open_storage` takes it."""
        ...

    def set_deadline(self, seconds: float) -> None:
        """From `seconds` from now on, wait for no answer any more that others waited for in vain.

        An operation then raises `StorageError` at once. May be called by a signal's handler.
        """
        ...

    def read(self, name: str) -> bytes:
        """A file's content.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def download(self, name: str, path: Path) -> None:
        """Copy a file to a local path, whole or not at all; its folder is made.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def write(self, name: str, data: bytes) -> None:
        """Make or replace a file; readers see the old content or the new one. Durable."""
        ...

    def upload(self, name: str, path: Path) -> None:
        """`write` with the content of a local file of any size."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Make a file if there is none of that name: of many who try, one succeeds. Durable.

        Returns:
            Whether this call made it.
        """
        ...

    def list(self, folder: str = "") -> Sequence[str]:
        """The names of all files in a folder and in those below it, sorted by code point."""
        ...

    def folders(self) -> Sequence[str]:
        """The names of the folders that lie directly below the root, sorted."""
        ...

    def below(self, folder: str) -> Storage:
        """The files of a folder as a storage of their own."""
        ...

    def modified(self, folder: str) -> float | None:
        """When the newest file below a folder was written, Unix time in seconds, by the store's
        clock; None without any."""
        ...

    def remove(self, *names: str) -> None:
        """Remove files; one that is not there is no error."""
        ...

    def remove_all(self, folder: str) -> None:
        """Remove a folder with everything below it."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        ...


def check_name(name: str) -> str:
    """The name, if it can neither leave the root nor trick a terminal.

    Raises:
        UserError: it is empty, absolute or too long, or has a part that is empty or begins with
            "." (as ".." does), a backslash, a colon or a character that is not printed.
    """
    problem = _problem(name)
    if problem:
        raise UserError(f"{name!a} cannot be a stored file's name: {problem}")
    return name


def is_name(name: str) -> bool:
    """Whether `check_name` lets a name through."""
    return _problem(name) is None


def _problem(name: str) -> str | None:
    parts = name.split("/")
    if any(unicodedata.category(letter) in _UNPRINTED for letter in name):
        return "it has a character that is not printed"
    if "\\" in name or ":" in name:
        return 'it has a "\\" or a ":"'
    if not all(parts):
        return "it is empty, absolute, or has an empty part"
    if any(part.startswith(".") for part in parts):
        return 'a part begins with "."'
    sizes = [len(part.encode()) for part in parts]
    if max(sizes) > _MOST_BYTES_A_PART or sum(sizes) + len(sizes) - 1 > _MOST_BYTES:
        return f"it is longer than {_MOST_BYTES_A_PART} bytes a part or {_MOST_BYTES} in all"
    return None
