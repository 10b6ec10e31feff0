"""The paths in a manifest, as other systems and programs write them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

_DRIVE = re.compile(r"/?([A-Za-z]):/")
_ADDRESS = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://")
_ENDINGS = (".jpg", ".jpeg", ".png", ".JPG")


def taken_path(root: Path, written: str) -> str | None:
    """The path of an existing file that can only be meant by a path without a file.

    Spaces and quotes around it, backslashes, `file://`, a drive of Windows seen from its Linux, and
    another Unicode form are understood. None if there is no such file.

    Args:
        root: the folder to which paths are relative.
        written: the path in the manifest; it names no file.
    """
    return next((path for path in _readings(written) if _is_there(root / path)), None)


def _readings(written: str) -> Iterator[str]:
    path = written.strip()
    if len(path) > 1 and path[0] == path[-1] and path[0] in "\"'":
        path = path[1:-1].strip()
    if path.lower().startswith("file:"):
        path = _of_url(path)
    for one in dict.fromkeys((path, path.replace("\\", "/"))):
        for form in (one, *(unicodedata.normalize(name, one) for name in ("NFC", "NFD"))):
            yield form
            if drive := _DRIVE.match(form):
                yield f"/mnt/{drive[1].lower()}/{form[drive.end() :]}"


def _of_url(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    here = parts.netloc.lower() in ("", "localhost", "127.0.0.1")
    # an unescaped "#" or "?" belongs to the name, as most programs write it
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    rest += f"#{parts.fragment}" if parts.fragment else ""
    return unquote(rest if here else f"//{parts.netloc}{rest}")


def hint_at(root: Path, written: str) -> str:
    """A sentence on what would be there instead of a missing file, or ""; begins with a space."""
    if _ADDRESS.match(written.strip()):
        return " This is an address: download the files, and list their paths."
    for path in dict.fromkeys(one.replace("\\", "/") for one in _readings(written)):
        parts = PurePosixPath(path).parts
        for start in range(1, len(parts)):
            rest = "/".join(parts[start:])
            if _is_there(root / rest):
                prefix = written.strip()[: len(written.strip()) - len(rest)]
                return f' Without "{prefix}", {root / rest} is there: remove this from all paths.'
        for folder in _folders_near(root):
            if _is_there(folder / path):
                return f" {folder / path} is there: put the manifest into {folder}."
        for ending in _ENDINGS:
            if _is_there(root / (path + ending)):
                return f" {root / (path + ending)} is there: add the ending to the paths."
    return ""


def _folders_near(root: Path) -> Sequence[Path]:
    try:
        return [*root.resolve().parents[:2], Path.cwd()]
    except OSError:
        return []


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # ValueError: a zero byte within the name
        return False
