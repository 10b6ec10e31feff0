"""Text files with a key and a value on each line, a format of several datasets."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from pcsearch.data.dataset import Float32Array
from pcsearch.errors import UserError
from pcsearch.io import read_text


def read_table(path: Path, keys: Collection[str] | None = None) -> dict[str, str]:
    """`key value` lines in the file's order. A value may hold spaces; line ends may be CRLF.

    With `keys`, each of them must have a line.

    Raises:
        UserError: the file cannot be read, a line has no value, or a key is repeated or missing.
            The text names the file and the line.
    """
    table: dict[str, str] = {}
    for number, line in _numbered_lines(path):
        key, _, value = line.partition(" ")
        if not value or key in table:
            problem = "the number is repeated" if value else "a number and a value are expected"
            raise UserError(f"{path}, line {number}: {problem}; unpack the dataset again.")
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

    Raises:
        UserError: the file cannot be read or a name is repeated. The text names the file and line.
    """
    names: dict[str, None] = {}
    for number, line in _numbered_lines(path):
        if line in names:
            raise UserError(
                f"{path}, line {number}: the name is repeated; unpack the dataset again."
            )
        names[line] = None
    return list(names)


def read_boxes(path: Path, images: Collection[str], columns: str) -> Float32Array:
    """The four numbers of each of `images`, [n, 4], unchanged.

    Args:
        path: a table for `read_table`.
        images: the keys, in the order of the result's rows.
        columns: the numbers' meaning, for messages: "x, y, width, height".

    Raises:
        UserError: as `read_table`, and for a line without exactly four numbers.
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
    """The non-blank lines, stripped, with their numbers from 1."""
    try:
        text = read_text(path, encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    filled = [(number, line) for number, line in lines if line]
    if not filled:
        raise UserError(f"{path} is empty; unpack the dataset again.")
    return filled
