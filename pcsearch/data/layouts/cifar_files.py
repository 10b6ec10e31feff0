"""CIFAR's files: the Python version, pickles that are read as untrusted, and the binary version."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcsearch.data.dataset import Int64Array, UInt8Array
from pcsearch.errors import UserError
from pcsearch.io import open_regular
from pcsearch.pickle_check import check_pickle

CIFAR_SIDE = 32
_PLANES = 3
_IMAGE_BYTES = _PLANES * CIFAR_SIDE * CIFAR_SIDE


class _Unpickler(pickle.Unpickler):
    """Builds only the types in the official files: any other pickle could run any code."""

    def find_class(self, module: str, name: str) -> Any:
        match f"{module}.{name}":
            case "numpy.ndarray":
                return np.ndarray
            case "numpy.dtype":
                return np.dtype
            case "numpy.core.multiarray._reconstruct":
                return np.empty(0).__reduce__()[0]  # newer versions of numpy keep it elsewhere
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_pickle(path: Path) -> dict[str, Any]:
    """The dictionary in one of CIFAR's Python files; keys that are bytes become strings.

    Raises:
        UserError: the file cannot be read, is cut short, or is no such pickle.
    """
    try:
        with open_regular(path) as file:
            check_pickle(file)
            file.seek(0)
            content = _Unpickler(file, encoding="latin1").load()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # a broken pickle raises nearly every built-in exception
        raise UserError(
            f"{path} is not the official file, or is cut short ({error}): download and unpack the "
            "archive again."
        ) from error
    if not isinstance(content, Mapping):
        raise UserError(
            f"{path} is not the official file: it holds no dictionary; download and unpack the "
            "archive again."
        )
    return {key.decode() if isinstance(key, bytes) else str(key): content[key] for key in content}


def pickled_labels(path: Path, fields: Sequence[str]) -> Int64Array:
    """The label lists `fields` of one Python file, [n, len(fields)].

    Raises:
        UserError: as `read_pickle`, or the file's pixels or labels are wrong.
    """
    batch = read_pickle(path)
    pixels = _pixels_of(batch, path)
    columns = []
    for field in fields:
        labels = batch.get(field)
        if not isinstance(labels, list) or len(labels) != len(pixels):
            raise _not_official(path, f"it lacks a label in {field!r} for each image")
        columns.append(labels)
    try:
        return np.array(columns, dtype=np.int64).T.copy()
    except (TypeError, ValueError, OverflowError) as error:
        raise _not_official(path, "its labels are not numbers") from error


def pickled_names(path: Path, field: str) -> list[str]:
    """The list of class names `field` in a Python file.

    Raises:
        UserError: as `read_pickle`, or there is no such list.
    """
    names = read_pickle(path).get(field)
    if not isinstance(names, list):
        raise _not_official(path, f"it lacks {field!r}")
    return [name.decode("latin1") if isinstance(name, bytes) else str(name) for name in names]


def pickled_pixels(paths: Sequence[Path]) -> UInt8Array:
    """The images of several Python files, file after file, uint8 [n, 32, 32, 3]."""
    return _images([_pixels_of(read_pickle(path), path) for path in paths])


def binary_labels(path: Path, label_bytes: int) -> Int64Array:
    """The labels in front of each image of a binary file, [n, label_bytes].

    Raises:
        UserError: the file cannot be read, or ends within an image.
    """
    return _records(path, label_bytes)[:, :label_bytes].astype(np.int64)


def binary_pixels_10(paths: Sequence[Path]) -> UInt8Array:
    """The images of CIFAR-10's binary files, file after file, uint8 [n, 32, 32, 3]."""
    return _images([_records(path, 1)[:, 1:] for path in paths])


def binary_pixels_100(paths: Sequence[Path]) -> UInt8Array:
    """The images of CIFAR-100's binary files, file after file, uint8 [n, 32, 32, 3]."""
    return _images([_records(path, 2)[:, 2:] for path in paths])


def _images(planes: Sequence[UInt8Array]) -> UInt8Array:
    """Images with channels last, from rows of one channel after the other."""
    pixels = planes[0] if len(planes) == 1 else np.concatenate(planes)
    return pixels.reshape(-1, _PLANES, CIFAR_SIDE, CIFAR_SIDE).transpose(0, 2, 3, 1)


def _pixels_of(batch: Mapping[str, Any], path: Path) -> UInt8Array:
    pixels = batch.get("data")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        raise _not_official(path, "it lacks the array 'data' of bytes")
    if pixels.ndim != 2 or pixels.shape[1] != _IMAGE_BYTES or not len(pixels):
        raise _not_official(path, f"'data' is {pixels.shape}, not (images, {_IMAGE_BYTES})")
    return pixels


def _records(path: Path, label_bytes: int) -> UInt8Array:
    record = label_bytes + _IMAGE_BYTES
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0 or size % record:
                raise UserError(
                    f"{path} is cut short: {size} bytes are not a whole number of images of "
                    f"{record} bytes each; download and unpack the archive again."
                )
            return np.memmap(file, dtype=np.uint8, mode="r", shape=(size // record, record))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _not_official(path: Path, problem: str) -> UserError:
    return UserError(
        f"{path} is not the official file: {problem}; download and unpack the archive again."
    )
