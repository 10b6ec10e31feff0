"""Text files with a key and a value on each line, as several datasets have them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from pcsearch.data.dataset import Float32Array
from pcsearch.errors import UserError
from pcsearch.io import read_text


def read_table(path: Path, keys: Collection[str] | None = None) -> dict[str, str]:
    """`key value` lines in the file's order; a value may hold spaces, line ends may be CRLF.

    With `keys`, every one of them must have a line. Raises UserError naming the file (and
    line) if it cannot be read, a line has no value, or a key is repeated or missing.
    """
    table: dict[str, str] = {}
    for number, line in _numbered_lines(path):
        key, _, value = line.partition(" ")
        if not value or key in table:
            problem = "the number is repeated" if value else "a number and a value are expected"
            raise UserError(f"{path}, line {number}: {problem}.")
        table[key] = value.strip()
    missing = [] if keys is None else [key for key in keys if key not in table]
    if missing:
        raise UserError(
            f"{path} has no line for {len(missing)} of {len(keys or ())} images "
            f"(the first: {missing[0]}); unpack the dataset again."
        )
    return table


def read_names(path: Path) -> list[str]:
    """One name a line, in the file's order.

    Raises UserError naming the file (and line) if it cannot be read or a name is repeated.
    """
    names: dict[str, None] = {}
    for number, line in _numbered_lines(path):
        if line in names:
            raise UserError(f"{path}, line {number}: the name is repeated.")
        names[line] = None
    return list(names)


def read_boxes(path: Path, images: Collection[str], columns: str) -> Float32Array:
    """Four numbers for each of `images`, [n, 4], as they are written.

    Args:
        path: a table as `read_table` reads it.
        images: the keys, in the order of the result's rows.
        columns: what the numbers are, for messages: "x, y, width, height".

    Raises UserError as `read_table` does, and for a line without exactly four numbers.
    """
    table = read_table(path, keys=images)
    try:
        boxes = np.array([table[image].split() for image in images], dtype=np.float32)
        return boxes.reshape(len(images), 4)
    except ValueError as error:
        raise UserError(
            f"{path}: every line must hold an image number and {columns}; unpack the dataset again."
        ) from error


def _numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, stripped, with their numbers from 1."""
    try:
        text = read_text(path, encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    filled = [(number, line) for number, line in lines if line]
    if not filled:
        raise UserError(f"{path} is empty; unpack the dataset again.")
    return filled
