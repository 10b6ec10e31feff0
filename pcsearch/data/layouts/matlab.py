"""MATLAB files, in which several datasets keep their annotations."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pcsearch.data.dataset import Int64Array
from pcsearch.errors import UserError
from pcsearch.io import read_regular

MOST_UNPACKED_BYTES = 300_000_000
"""Limit for all variables together. The largest official file unpacks to 2 MB."""

_HEADER_BYTES = 128
_COMPRESSED = 15
_AGAIN = "download the file again"


@dataclass(frozen=True)
class MatFile:
    """The variables of one .mat file.

    A name is a variable, or `variable.field` for a field of a struct array. MATLAB writes rows,
    columns, nested cells and scalars; the methods return flat lists for all of these shapes.

    Attributes:
        path: the file.
        variables: by name.
    """

    path: Path
    variables: Mapping[str, npt.NDArray[Any]]

    def has(self, name: str) -> bool:
        """Whether there is such a variable, or field of a variable."""
        variable, _, field = name.partition(".")
        if variable not in self.variables:
            return False
        return not field or field in (self.variables[variable].dtype.names or ())

    def texts(self, name: str) -> list[str]:
        """The strings of a cell array, of a struct's field or of a character matrix.

        Raises:
            UserError: the variable is absent or holds something else.
        """
        return [self._text(name, cell) for cell in self._array(name).ravel()]

    def numbers(self, name: str) -> Int64Array:
        """The whole numbers of a matrix, a cell array or a struct's field.

        Raises:
            UserError: the variable is absent or holds something else.
        """
        array = self._array(name).ravel()
        if array.dtype == object:
            array = np.array([_only(cell) for cell in array])
        if not _are_whole(array):
            raise UserError(f"{self.path}: {name} must hold whole numbers only; {_AGAIN}.")
        return array.astype(np.int64)

    def _array(self, name: str) -> npt.NDArray[Any]:
        variable, _, field = name.partition(".")
        if not self.has(name):
            known = self.variables if variable not in self.variables else _fields(self, variable)
            raise UserError(
                f"{self.path} has no {name} (it has: {', '.join(known) or 'nothing'}). Is it the "
                f"right file? If so, {_AGAIN}."
            )
        array = self.variables[variable]
        return array[field] if field else array

    def _text(self, name: str, cell: Any) -> str:
        value = _only(cell)
        if not isinstance(value, str):
            raise UserError(f"{self.path}: {name} must hold text only; {_AGAIN}.")
        return value.strip()


def read_mat(path: Path) -> MatFile:
    """The variables of a MATLAB file of version 4 to 7.2.

    Raises:
        UserError: the file is missing, cut short, a web page, or of version 7.3.
    """
    from scipy.io import loadmat  # slow to import, and needed only here

    try:
        content = read_regular(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if not content:
        raise UserError(f"{path} is empty; {_AGAIN}.")
    if content.lstrip()[:1] == b"<":
        raise UserError(
            f"{path} is a web page, not a MATLAB file (was the download refused?); {_AGAIN}."
        )
    _check_unpacked(path, content)
    try:
        variables = loadmat(io.BytesIO(content))
    except NotImplementedError as error:
        raise UserError(
            f"{path} is a MATLAB file of version 7.3; save it with `save -v7`, or {_AGAIN}."
        ) from error
    except Exception as error:  # on a damaged file, SciPy's parser raises anything
        raise UserError(
            f"{path} is damaged or cut short ({len(content):,} bytes, {error}); {_AGAIN}."
        ) from error
    named = {name: value for name, value in variables.items() if not name.startswith("__")}
    return MatFile(path, named)


def _check_unpacked(path: Path, content: bytes) -> None:
    """Check the unpacked size of a file of version 5 to 7.2. Version 4 is not compressed.

    Raises:
        UserError: the file unpacks to more than `MOST_UNPACKED_BYTES`.
    """
    place, room = _HEADER_BYTES, MOST_UNPACKED_BYTES
    while place + 8 <= len(content):
        kind, length = (
            int.from_bytes(content[place + i : place + i + 4], "little") for i in (0, 4)
        )
        place += 8
        if kind == _COMPRESSED:
            unpacking = zlib.decompressobj()
            try:
                room -= len(unpacking.decompress(content[place : place + length], max(1, room + 1)))
            except zlib.error:
                return  # SciPy will report what is wrong
        if room < 0:
            raise UserError(
                f"{path} unpacks to more than {MOST_UNPACKED_BYTES / 1e6:.0f} MB, too much for a "
                f"list of labels; {_AGAIN}."
            )
        place += length


def _fields(file: MatFile, variable: str) -> tuple[str, ...]:
    return tuple(f"{variable}.{field}" for field in file.variables[variable].dtype.names or ())


def _are_whole(array: npt.NDArray[Any]) -> bool:
    if array.dtype.kind == "f":
        return bool(np.isfinite(array).all() and np.array_equal(array, np.floor(array)))
    return array.dtype.kind in "iub"


def _only(cell: Any) -> Any:
    """The scalar within any nesting of one-element arrays; None unless there is exactly one."""
    while isinstance(cell, np.ndarray):
        if cell.size != 1:
            return None
        cell = cell.item()
    return cell
