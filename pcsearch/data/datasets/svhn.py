"""Street View House Numbers, cropped digits, from its MATLAB files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pcsearch.data.classes import choose_classes, rows_of
from pcsearch.data.dataset import (
    Archive,
    CatalogEntry,
    DataOptions,
    Dataset,
    Int64Array,
    Part,
    UInt8Array,
)
from pcsearch.data.layouts.official import dataset_folder, holds
from pcsearch.data.sources import LoadedImages
from pcsearch.errors import UserError
from pcsearch.io import open_regular

_TRAIN = "train_32x32.mat"
_TEST = "test_32x32.mat"
_CLASSES = 10
_IMAGE = (32, 32, 3)
_HEADER_BYTES = 128
_SITE = "http://ufldl.stanford.edu/housenumbers"


def read(options: DataOptions) -> Dataset:
    """The official training and test digits; class numbers are the digits, 0 to 9.

    Raises:
        UserError: a file is missing, cut short or not the official one, or `data.classes` is wrong.
    """
    folder = dataset_folder(ENTRY, options.root, (_TRAIN, _TEST))
    names = [str(digit) for digit in range(_CLASSES)]
    chosen = choose_classes(names, options.classes, range(_CLASSES))

    def part(file: str, what: str) -> Part:
        path = folder / file
        labels = _labels(path)
        rows, renumbered = rows_of(labels, chosen)
        lacking = sorted(set(range(len(chosen))) - set(renumbered.tolist()))
        if lacking:
            raise UserError(
                f"class {names[chosen[lacking[0]]]} has no {what} images in {path}; download it "
                "again."
            )
        source = LoadedImages.of((path,), pixels, rows, len(labels), f"{file}, image")
        return Part(source, renumbered)

    return Dataset(
        ENTRY.id,
        tuple(names[position] for position in chosen),
        part(_TRAIN, "training"),
        part(_TEST, "test"),
    )


def pixels(files: Sequence[Path]) -> UInt8Array:
    """The images of one MATLAB file, uint8 [n, 32, 32, 3]."""
    (path,) = files
    array = _variable(path, "X")
    if array.dtype != np.uint8:
        raise _not_official(path, f"its images are {array.dtype}, not bytes")
    images: UInt8Array = array.transpose(3, 0, 1, 2)
    return images


def _labels(path: Path) -> Int64Array:
    """The digits of the file's images. The file stores the digit 0 as 10."""
    _check_whole(path)
    shape = _shapes(path).get("X", ())
    if len(shape) != 4 or shape[:3] != _IMAGE:
        raise _not_official(path, f"it holds images of shape {shape}, not {(*_IMAGE, 'n')}")
    labels = _variable(path, "y").ravel()
    if labels.dtype.kind not in "uif":
        raise _not_official(path, f"its labels are {labels.dtype}, not numbers")
    if len(labels) != shape[3] or not len(labels):
        raise _not_official(path, f"there are {shape[3]} images, but {len(labels)} labels")
    if not ((labels >= 0) & (labels <= _CLASSES)).all():
        raise _not_official(path, f"its labels go from {labels.min()} to {labels.max()}")
    if not (labels == labels.round()).all():
        raise _not_official(path, "some of its labels are no whole numbers")
    numbers: Int64Array = labels.astype(np.int64) % _CLASSES
    return numbers


def _check_whole(path: Path) -> None:
    """Check that the lengths stated in a MATLAB 5 file lead exactly to its end.

    scipy skips variables that are not requested. So without this check, a file cut short within the
    images would fail only when they are decoded.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            header = file.read(_HEADER_BYTES)
            if header[-2:] not in (b"IM", b"MI"):
                raise _not_official(path, "it is no MATLAB 5 file")
            order = "<u4" if header[-2:] == b"IM" else ">u4"
            end = _HEADER_BYTES
            while end < size:
                file.seek(end)
                words = np.frombuffer(file.read(8).ljust(8, b"\xff"), dtype=order)
                end += 8 + int(words[1])
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if end > size:
        raise _not_official(path, f"it is cut short at {size} bytes")


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    from scipy.io import whosmat

    try:
        with open_regular(path) as file:
            return {name: tuple(shape) for name, shape, _ in whosmat(file)}
    except Exception as error:  # a broken file raises nearly every built-in exception
        raise _not_official(path, f"{error}") from error


def _variable(path: Path, name: str) -> npt.NDArray[Any]:
    from scipy.io import loadmat

    try:
        with open_regular(path) as file:
            array = loadmat(file, variable_names=[name])[name]
    except KeyError as error:
        raise _not_official(path, f"it lacks {name!r}") from error
    except Exception as error:  # a broken file raises nearly every built-in exception
        raise _not_official(path, f"{error}") from error
    return np.asarray(array)


def _not_official(path: Path, problem: str) -> UserError:
    return UserError(f"{path} is not the official file: {problem}; download it again.")


ENTRY = CatalogEntry(
    id="svhn",
    title="Street View House Numbers",
    classes=_CLASSES,
    reader=read,
    description="99,289 photographed digits of 32 x 32 pixels (cropped digits, format 2); "
    "official split: 73,257 train, 26,032 test; the extra images are not used.",
    citation="Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng. Reading Digits in "
    "Natural Images with Unsupervised Feature Learning. NIPS Workshop on Deep Learning and "
    "Unsupervised Feature Learning, 2011.",
    terms="non-commercial use only",
    homepage=f"{_SITE}/",
    images={"train": 73_257, "test": 26_032},
    folder="svhn",
    is_in=holds(_TRAIN, _TEST),
    archives=(
        Archive(
            file=_TRAIN,
            urls=(f"{_SITE}/{_TRAIN}",),
            size_bytes=182_040_794,
            checksum="md5:e26dedcc434d2e4c54c9b2d4a06d8373",
            unpack_in="svhn",
            unpack=False,
        ),
        Archive(
            file=_TEST,
            urls=(f"{_SITE}/{_TEST}",),
            size_bytes=64_275_384,
            checksum="md5:eb5a983be6a315427106f1b164d9cef3",
            unpack_in="svhn",
            unpack=False,
        ),
    ),
    samples_per_class=7325.7,
)
