"""Where decoded images are kept, and how much of the disk they may take."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pcsearch.errors import UserError

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt])(i?)b\s*", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_DEFAULT_AT_MOST_BYTES = 200 * 10**9


@dataclass(frozen=True)
class SizeLimit:
    """How many bytes all stores together may take.

    Attributes:
        bytes: the limit, None for none.
        chosen: whether the user set it; a build that breaks a chosen limit is refused, the default
            only decides what is evicted.
    """

    bytes: int | None
    chosen: bool


def default_cache_folder() -> Path:
    """$PCSEARCH_CACHE, or ~/.cache/pcsearch."""
    named = os.environ.get("PCSEARCH_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "pcsearch"


def size_limit_bytes(folder: Path | None = None) -> int | None:
    """The limit on all stores of `folder` (default: the default one), None for none.

    $PCSEARCH_CACHE_LIMIT: a size with its unit (`50GB`, `500 MB`, `1.5TiB`) or `none`. Without it:
    half of the disk that holds the folder, at most 200 GB. (CUB-200-2011 at 256 pixels takes 2.3.)

    Raises UserError for anything else.
    """
    return size_limit(folder).bytes


def size_limit(folder: Path | None = None) -> SizeLimit:
    """`size_limit_bytes`, and whether the user chose it."""
    text = os.environ.get("PCSEARCH_CACHE_LIMIT", "").strip()
    if not text:
        disk_bytes = shutil.disk_usage(_existing(folder or default_cache_folder())).total
        return SizeLimit(min(disk_bytes // 2, _DEFAULT_AT_MOST_BYTES), chosen=False)
    if text.lower() == "none":
        return SizeLimit(None, chosen=True)
    match = _SIZE.fullmatch(text)
    if match is None or not float(match[1]):
        raise UserError(
            f"PCSEARCH_CACHE_LIMIT is {text!r}, but must be a size with its unit, such as 50GB or "
            "500MB, or none."
        )
    base = 1024 if match[3] else 1000
    return SizeLimit(int(float(match[1]) * base ** _POWERS[match[2].lower()]), chosen=True)


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
