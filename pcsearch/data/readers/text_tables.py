"""Text files with a key and a value on each line, as several datasets have them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pcsearch.errors import UserError


def read_table(path: Path, keys: Collection[str] | None = None) -> dict[str, str]:
    """`key value` lines in the file's order; a value may hold spaces, line ends may be CRLF.

    With `keys`, every one of them must have a line. Raises UserError naming the file (and
    line) if it cannot be read, a line has no value, or a key is repeated or missing.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    table: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        key, _, value = line.strip().partition(" ")
        if not value or key in table:
            problem = "the number is repeated" if value else "a number and a value are expected"
            raise UserError(f"{path}, line {number}: {problem}: {line.strip()!r}.")
        table[key] = value.strip()
    if not table:
        raise UserError(f"{path} is empty; unpack the dataset again.")
    missing = [] if keys is None else [key for key in keys if key not in table]
    if missing:
        raise UserError(
            f"{path} has no line for {len(missing)} of {len(keys or ())} images "
            f"(the first: {missing[0]}); unpack the dataset again."
        )
    return table
