"""The interface of a storage: named files, each written atomically."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pcsearch.errors import PcsearchError, UserError

_MOST_BYTES_A_PART = 200  # file names have at most 255, and temporary names are longer
_MOST_BYTES = 800  # a key in S3 has at most 1,024, prefix included
_UNPRINTED = ("Cc", "Cf", "Cs", "Zl", "Zp")


class StorageError(PcsearchError):
    """A store failed, or did not answer for minutes; its files are intact."""


class LeaseLostError(StorageError):
    """Another process continues this campaign; this one must stop."""


class Storage(Protocol):
    """Files by name, such as `checkpoints/x/a0000-e00001.pt`; names are relative to a root.

    Every operation raises `UserError` for a bad name and for errors that waiting cannot solve (no
    such bucket, access denied). It raises `StorageError` if the store fails (a full disk, no answer
    for minutes). A name belongs to a file or to a folder, never to both. Safe for several threads.
    """

    @property
    def url(self) -> str:
        """The root, as `open_storage` takes it."""
        ...

    def set_deadline(self, seconds: float) -> None:
        """After `seconds`, operations no longer wait for a store that does not answer.

        They then raise `StorageError` at once. A signal handler may call this.
        """
        ...

    def read(self, name: str) -> bytes:
        """A file's content.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def download(self, name: str, path: Path) -> None:
        """Copy a file to a local path, atomically; its folder is created.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file; readers see the old or the new content. Durable."""
        ...

    def upload(self, name: str, path: Path) -> None:
        """`write` with the content of a local file of any size."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Create a file if the name is free; of several callers, one succeeds. Durable.

        Returns:
            Whether this call created it.
        """
        ...

    def list(self, folder: str = "") -> Sequence[str]:
        """The names of all files in a folder and its subfolders, sorted by code point."""
        ...

    def folders(self) -> Sequence[str]:
        """The names of the folders directly below the root, sorted."""
        ...

    def below(self, folder: str) -> Storage:
        """The files of a folder as a storage of their own."""
        ...

    def modified(self, folder: str) -> float | None:
        """When the newest file below a folder was written; None without files.

        Unix time in seconds, by the store's clock.
        """
        ...

    def remove(self, *names: str) -> None:
        """Remove files; a missing one is no error."""
        ...

    def remove_all(self, folder: str) -> None:
        """Remove a folder with everything below it."""
        ...

    def exists(self, name: str) -> bool:
        """Whether a file has that name."""
        ...


def check_name(name: str) -> str:
    """Check that a name can neither leave the root nor trick a terminal, and return it.

    Raises:
        UserError: it is empty, absolute or too long; or it has an empty part, a part that begins
            with "." (such as ".."), a backslash, a colon or a nonprintable character.
    """
    problem = _problem(name)
    if problem:
        raise UserError(f"{name!a} cannot be the name of a stored file: {problem}")
    return name


def without_colons(name: str) -> str:
    """A name from a network's that is code (`module:function`), as `check_name` accepts it."""
    return name.replace(":", "~")


def is_name(name: str) -> bool:
    """Whether `check_name` accepts a name."""
    return _problem(name) is None


def _problem(name: str) -> str | None:
    parts = name.split("/")
    if any(unicodedata.category(letter) in _UNPRINTED for letter in name):
        return "it has a nonprintable character"
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
