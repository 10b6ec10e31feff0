"""The few arrays of a labels file, read without trust in what the file says of itself.

An archive of some kilobytes can state arrays of a terabyte, so the size of each is compared with
what is expected before anything of it is unpacked; no array of Python objects is read at all.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pcsearch.regular_files import open_regular

Arrays = dict[str, npt.NDArray[Any]]

HOLDS = "holds"
"""The array that lists the names of the others."""
HELD_OUT = "held_out"

_PER_ROW = ("kept", "labels", "groups")
_NAMES_BYTES = 2**26  # 1000 characters of 16,000 classes each
_HEADER_BYTES = 2**12
_HEX = re.compile(r"[0-9a-f]{16}")
_STORE = re.compile(r"[0-9a-f]{32}\.npy")


class Archive:
    """An open labels file. What cannot be read raises whatever zipfile or numpy happens to."""

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path)
        try:
            self._zip = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()
        self._file.close()

    def store_name(self) -> str:
        """The name of the file of pixels: a name in the cache, never a path out of it."""
        store = self._array("store", _HEADER_BYTES)
        if store.shape != () or not _STORE.fullmatch(str(store)):
            raise ValueError("its store is not one of the cache")
        return str(store)

    def held_out(self) -> str:
        """Which files were held out as the test part; empty where a dataset has one of its own."""
        if f"{HELD_OUT}.npy" not in self._zip.namelist():
            return ""
        held_out = self._array(HELD_OUT, _HEADER_BYTES)
        if held_out.shape != () or not _HEX.fullmatch(str(held_out)):
            raise ValueError("what it holds out is no digest")
        return str(held_out)

    def arrays(self, at_most_rows: int) -> Arrays:
        """The arrays but the store's name: `kept`, `labels`, and what else was written."""
        names = {name.removesuffix(".npy") for name in self._zip.namelist()} - {HOLDS}
        if names != set(self._array(HOLDS, _HEADER_BYTES).tolist()):
            raise ValueError("it does not hold what was written")  # a damaged directory hides some
        names -= {"store", HELD_OUT}
        if not {"kept", "labels"} <= names <= {*_PER_ROW, "class_names", "given_val"}:
            raise ValueError("it holds other arrays")
        size = 8 * at_most_rows + _HEADER_BYTES
        found = {name: self._array(name, size) for name in names - {"class_names"}}
        rows = len(found["kept"])
        for name, array in found.items():
            if array.dtype != np.int64 or array.ndim != 1:
                raise ValueError(f"its {name} are not whole numbers")
            if name in _PER_ROW and len(array) != rows:
                raise ValueError(f"its {name} are not one a row")
        if "class_names" in names:
            found["class_names"] = self._array("class_names", _NAMES_BYTES)
            _check_classes(found["class_names"], found["labels"])
        if "given_val" in found:
            _check_range(found["given_val"], rows)
        return found

    def _array(self, name: str, at_most_bytes: int) -> npt.NDArray[Any]:
        entry = self._zip.getinfo(f"{name}.npy")
        if entry.file_size > at_most_bytes:
            raise ValueError(f"its {name} are {entry.file_size} bytes, which cannot be")
        with self._zip.open(entry) as member:
            content = io.BytesIO(member.read(at_most_bytes + 1))
        version = np.lib.format.read_magic(content)
        if version != (1, 0):
            raise ValueError(f"its {name} are in a format that was not written")
        shape, _, kind = np.lib.format.read_array_header_1_0(content)
        items = 1
        for length in shape:
            items *= length  # Python's own numbers, which do not overflow
        if kind.hasobject or items * kind.itemsize != entry.file_size - content.tell():
            raise ValueError(f"its {name} are not as long as they say")
        content.seek(0)
        array: npt.NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
        return array


def _check_classes(names: npt.NDArray[Any], labels: npt.NDArray[Any]) -> None:
    if names.ndim != 1 or names.dtype.kind != "U" or not len(names):
        raise ValueError("its class_names are no list of names")
    _check_range(labels, len(names))


def _check_range(numbers: npt.NDArray[Any], below: int) -> None:
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < below):
        raise ValueError("its numbers are out of their range")
