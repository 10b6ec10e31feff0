"""Labels of prepared images in a small file, so that a worker need not open the dataset.

Opening a dataset lists its files and parses its annotations, in every worker again. Training needs
only the labels and the decoded images. The images are in the node's own cache, so the file holds
the name of a store, not a path.

A small archive can declare arrays of a terabyte. So the size of each array is checked before it is
unpacked. Arrays of Python objects are never read.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pcsearch.data.cache import ImageStore, open_store
from pcsearch.data.prepared import TestImages, TrainingImages
from pcsearch.io import create_anew, open_regular

_Arrays = dict[str, npt.NDArray[Any]]

_HOLDS = "holds"
"""The array that lists the names of the others."""
_HELD_OUT = "held_out"
_IMAGE_NAMES = "image_names"
"""The test images' names as JSON, in bytes. Files of version 0.1.0 have none."""

_PER_ROW = ("kept", "labels", "groups")
_NAMES_BYTES = 2**26  # 1000 characters of 16,000 classes each
_HEADER_BYTES = 2**12
_HEX = re.compile(r"[0-9a-f]{16}")
_STORE = re.compile(r"[0-9a-f]{32}\.npy")


class LabelsArchive:
    """An open labels file. A damaged file raises any exception of zipfile or numpy."""

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path)
        try:
            self._zip = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> LabelsArchive:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()
        self._file.close()

    def store_name(self) -> str:
        """The name of the pixel file: a name in the cache, never a path out of it."""
        store = self._array("store", _HEADER_BYTES)
        if store.shape != () or not _STORE.fullmatch(str(store)):
            raise ValueError("its store is not one of the cache")
        return str(store)

    def held_out(self) -> str:
        """Digest of the files held out as the test part; empty if the dataset has a test part."""
        if f"{_HELD_OUT}.npy" not in self._zip.namelist():
            return ""
        held_out = self._array(_HELD_OUT, _HEADER_BYTES)
        if held_out.shape != () or not _HEX.fullmatch(str(held_out)):
            raise ValueError("what it holds out is no digest")
        return str(held_out)

    def image_names(self, rows: int) -> tuple[str, ...]:
        """The images' names; empty if it has none."""
        if f"{_IMAGE_NAMES}.npy" not in self._zip.namelist():
            return ()
        content = self._array(_IMAGE_NAMES, _NAMES_BYTES)
        if content.dtype != np.uint8 or content.ndim != 1:
            raise ValueError("its image_names are no bytes")
        names = json.loads(content.tobytes())
        if not isinstance(names, list) or len(names) != rows:
            raise ValueError("its image_names are not one a row")
        if not all(isinstance(name, str) for name in names):
            raise ValueError("its image_names are no texts")
        return tuple(names)

    def arrays(self, at_most_rows: int) -> _Arrays:
        """All arrays except the store's name: `kept`, `labels` and the optional ones."""
        names = {name.removesuffix(".npy") for name in self._zip.namelist()} - {_HOLDS}
        if names != set(self._array(_HOLDS, _HEADER_BYTES).tolist()):
            raise ValueError("it does not hold what was written")  # a damaged directory hides some
        names -= {"store", _HELD_OUT, _IMAGE_NAMES}
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


_FURTHER_ROWS = 2**24
"""How many more images than this node another node may have read in a comparison."""


def save_training(path: Path, training: TrainingImages) -> None:
    """Write what `load_training` needs."""
    arrays = {"labels": training.labels, "class_names": np.array(training.class_names)}
    for name in ("given_val", "groups"):
        if (array := getattr(training, name)) is not None:
            arrays[name] = array
    _save(path, training.store, training.held_out, arrays)


def load_training(path: Path, cache: Path) -> TrainingImages | None:
    """The training images of that file.

    None if the file is missing or damaged, or if this node's cache does not hold the same images:
    all images that were readable when the labels were written.
    """
    found = _read(path, cache)
    if found is None or "class_names" not in found[1]:
        return None
    store, arrays, held_out = found
    return TrainingImages(
        store,
        arrays["labels"],
        arrays.get("given_val"),
        arrays.get("groups"),
        tuple(arrays["class_names"].tolist()),
        held_out,
    )


def save_test(path: Path, test: TestImages) -> None:
    """Write what `load_test` needs."""
    arrays: _Arrays = {"labels": test.labels}
    names = np.frombuffer(json.dumps(test.names).encode(), np.uint8)
    if test.names and len(names) < _NAMES_BYTES - _HEADER_BYTES:
        arrays[_IMAGE_NAMES] = names
    _save(path, test.store, test.held_out, arrays)


def load_test(path: Path, cache: Path) -> TestImages | None:
    """The test images of that file; None as for `load_training`."""
    found = _read(path, cache)
    if found is None:
        return None
    store, arrays, held_out = found
    try:
        with LabelsArchive(path) as archive:
            names = archive.image_names(len(arrays["labels"]))
    except Exception:  # as in `_read`
        return None
    return TestImages(store, arrays["labels"], held_out, names)


def not_as_saved(path: Path, test: TestImages) -> bool:
    """Whether that file describes other test images than these; False if it cannot be read."""
    try:
        with LabelsArchive(path) as archive:
            arrays = archive.arrays(len(test.labels) + _FURTHER_ROWS)
            held_out = archive.held_out()
    except Exception:  # as in `_read`
        return False
    return not (
        held_out == test.held_out
        and np.array_equal(arrays["kept"], test.store.kept)
        and np.array_equal(arrays["labels"], test.labels)
    )


def _save(path: Path, store: ImageStore, held_out: str, arrays: _Arrays) -> None:
    unfinished = path.with_name(path.name + ".tmp")
    with create_anew(unfinished) as file:
        named = {"store": np.array(store.path.name), "kept": store.kept, **arrays}
        if held_out:
            named[_HELD_OUT] = np.array(held_out)
        named[_HOLDS] = np.array(list(named))
        np.savez_compressed(file, allow_pickle=False, **named)
    unfinished.replace(path)


def _read(path: Path, cache: Path) -> tuple[ImageStore, _Arrays, str] | None:
    """The store, the other arrays, and the digest of the held-out files.

    None also if this node failed to read other images than the driver: then its rows differ.
    """
    try:
        with LabelsArchive(path) as archive:
            store = open_store(cache / archive.store_name())
            arrays = None if store is None else archive.arrays(len(store.kept))
            held_out = archive.held_out()
    except Exception:  # on a damaged file, zipfile and numpy raise a dozen kinds of exception
        return None
    if store is None or arrays is None or not np.array_equal(store.kept, arrays["kept"]):
        return None
    return store, arrays, held_out
