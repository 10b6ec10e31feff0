"""Shared by the readers of official layouts: find the folder, assemble the dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from pcsearch.data.classes import choose_classes, rows_of
from pcsearch.data.dataset import CatalogEntry, DataOptions, Dataset, Float32Array, Int64Array, Part
from pcsearch.data.sources import FileImages
from pcsearch.errors import UserError, did_you_mean

_Needed = Sequence[str | tuple[str, ...]]
"""Files, and folders (ending in "/"), that a dataset needs. A tuple lists alternatives."""

_FEW_MISSING = 10
_LOOKED_AT = 1000
"""Entries of a folder in which a misplaced dataset is looked for."""


@dataclass(frozen=True)
class Listing:
    """The images of one official part, all classes.

    Attributes:
        files: n paths relative to the dataset's folder, with forward slashes.
        labels: [n] positions in the list of all class names.
        boxes: [n, 4] x, y, width, height in pixels, or None.
        groups: [n] group numbers, or None.
    """

    files: Sequence[str]
    labels: Int64Array
    boxes: Float32Array | None = None
    groups: Int64Array | None = None


def level_of(entry: CatalogEntry, options: DataOptions) -> str:
    """The level of the class hierarchy to read; empty for a dataset without a hierarchy.

    Raises:
        UserError: the dataset does not have the level in `options.levels`.
    """
    wanted = options.levels.get(entry.id)
    if wanted is None:
        return entry.levels[0] if entry.levels else ""
    if not entry.levels:
        raise UserError(f"data.levels: {entry.id} has no class hierarchy; remove its entry.")
    if wanted not in entry.levels:
        raise UserError(
            f'data.levels: {entry.id} has no level "{wanted}"{did_you_mean(wanted, entry.levels)} '
            f"(its levels: {', '.join(entry.levels)})"
        )
    return wanted


def dataset_folder(entry: CatalogEntry, root: Path, needed: _Needed) -> Path:
    """The dataset's folder: `root / entry.folder`, or `root` if that is the folder itself.

    Args:
        entry: the dataset.
        root: the user's data.root.
        needed: what must be there.

    Raises:
        UserError: something is missing. The text names it and says what to do.
    """
    candidates = (root / entry.folder, root)
    missing = {folder: _missing(folder, needed) for folder in candidates}
    for folder in candidates:
        if not missing[folder]:
            return folder
    for folder in candidates:
        if len(missing[folder]) < len(needed) or (folder != root and folder.is_dir()):
            raise UserError(
                f"{entry.title} is not complete at {folder}: {', '.join(missing[folder])} missing. "
                f"{where_else(entry, root) or how_to_get(entry, root) + '.'}"
            )
    gone = "" if root.is_dir() else f", and there is no folder {root}"
    raise UserError(
        f"{entry.title} is not at {root / entry.folder}{gone}. "
        + (
            where_else(entry, root)
            or f"{how_to_get(entry, root)}. If it is elsewhere, give the folder that holds "
            f"{entry.folder} (data.root, or --root)."
        )
    )


def where_else(entry: CatalogEntry, root: Path) -> str:
    """A sentence on a folder below the expected ones that holds the dataset, or "".

    An archive that was unpacked into a folder of its own name lies one folder too deep.
    """
    if entry.is_in is None:
        return ""
    names = (entry.folder, *entry.other_folders)
    for base in (*(root / name for name in names), root):
        for folder in _sub_folders(base):
            for inner in (folder, *(folder / name for name in names)):
                if inner.is_dir() and entry.is_in(inner):
                    return f"It is in {inner}: give this folder (data.root, or --root)."
    return ""


def _sub_folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in islice(folder.iterdir(), _LOOKED_AT) if path.is_dir())
    except OSError:
        return []


def holds(*needed: str | tuple[str, ...]) -> Callable[[Path], bool]:
    """A function that says whether a folder has all of these; for `CatalogEntry.is_in`."""
    return lambda folder: not _missing(folder, needed)


def _missing(folder: Path, needed: _Needed) -> list[str]:
    """What a folder lacks; alternatives are named by their first place."""
    alternatives = [(places,) if isinstance(places, str) else places for places in needed]
    return [places[0] for places in alternatives if find_place(folder, places) is None]


def find_place(folder: Path, places: Sequence[str]) -> str | None:
    """The first of several places that exists: a file, or a folder if the name ends in "/"."""
    return next((place for place in places if _is_there(folder, place)), None)


def how_to_get(entry: CatalogEntry, root: Path) -> str:
    """What to do when a dataset, or a part of it, is missing; without a full stop."""
    if entry.archives and not entry.by_hand:
        command = f"pcsearch data get {entry.id} --root {root}"
        return f"`{command}` downloads it from {entry.homepage}"
    return f"{entry.by_hand.rstrip('.')} (`pcsearch data info {entry.id}` says more)"


def labels_of_numbers(numbers: Sequence[int], classes: int, where: Path) -> Int64Array:
    """Labels from 0, for class numbers that count from 1 or (in some copies) from 0.

    Raises:
        UserError: a number is outside both ranges.
    """
    array = np.asarray(numbers, dtype=np.int64)
    least, most = int(array.min(initial=1)), int(array.max(initial=1))
    if least >= 1 and most <= classes:
        return array - 1
    if least == 0 and most <= classes - 1:
        return array
    raise UserError(
        f"{where}: class numbers go from {least} to {most}, but there are {classes} classes; "
        "unpack the dataset again."
    )


def boxes_of_corners(corners: Int64Array) -> Float32Array:
    """Boxes [n, 4] (x, y, width, height) from their first and last pixels.

    Args:
        corners: [n, 4] x1, y1, x2, y2 as in MATLAB: counted from 1, the last pixel within the box.
    """
    first, last = corners[:, :2], corners[:, 2:]
    return np.concatenate([first - 1, last - first + 1], axis=1).astype(np.float32)


def assemble(
    dataset_id: str,
    folder: Path,
    class_names: Sequence[str],
    train: Listing,
    test: Listing | None,
    options: DataOptions,
    *,
    numbers: Sequence[int] | None = None,
    given_val: Int64Array | None = None,
    ancestors: Sequence[tuple[str, ...]] | None = None,
) -> Dataset:
    """The dataset of the chosen classes.

    Args:
        dataset_id: the catalogue's id.
        folder: the folder to which the listings' files are relative.
        class_names: all names; a listing's label is a position here.
        train: the training images, and the official validation images if there are some.
        test: the test images.
        options: uses `classes` and `half_unpacked`.
        numbers: the dataset's own number of each class; 1, 2, ... if not given.
        given_val: the rows of `train` that are for validation.
        ancestors: of each class, see `Dataset`.

    Raises:
        UserError: a part has no image of a class, both parts have an image, folders or many
            images are missing, or `options.classes` has a mistake.
    """
    chosen = choose_classes(class_names, options.classes, numbers)
    faults: list[str] = []
    rows_train, train_part = _part(folder, class_names, chosen, train, "training", faults)
    test_part = None
    if test is not None:
        _refuse_shared(folder, train, test)
        _, test_part = _part(folder, class_names, chosen, test, "test", faults)
    if faults and options.half_unpacked == "refuse":
        raise UserError("\n".join(dict.fromkeys(faults)))
    if given_val is not None:
        given_val = np.flatnonzero(np.isin(rows_train, given_val)).astype(np.int64)
    return Dataset(
        dataset_id,
        tuple(class_names[position] for position in chosen),
        train_part,
        test_part,
        given_val,
        None if ancestors is None else tuple(ancestors[position] for position in chosen),
    )


def _part(
    folder: Path,
    class_names: Sequence[str],
    chosen: list[int],
    listing: Listing,
    what: str,
    faults: list[str],
) -> tuple[Int64Array, Part]:
    """The chosen rows and their part. What is missing on disk is added to `faults`."""
    rows, labels = rows_of(listing.labels, chosen)
    lacking = sorted(set(range(len(chosen))) - set(labels.tolist()))
    if lacking:
        names = ", ".join(class_names[chosen[label]] for label in lacking[:10])
        verb = "has" if len(lacking) == 1 else "have"
        raise UserError(
            f"class {names} {verb} no {what} images in {folder}; unpack the dataset again."
        )
    files = [listing.files[row] for row in rows]
    images = FileImages.of(folder, files)
    if images.missing:
        faults += _missing_folders(folder, files) or _missing_files(images, what)
    return rows, Part(
        images,
        labels,
        None if listing.boxes is None else listing.boxes[rows],
        None if listing.groups is None else listing.groups[rows],
    )


def _refuse_shared(folder: Path, train: Listing, test: Listing) -> None:
    """Refuse test images among the training images: a damaged list could bring them there."""
    shared = set(train.files).intersection(test.files)
    if shared:
        raise UserError(
            f"{folder}: {len(shared)} images are listed both as training and as test images "
            f"({min(shared)}, ...); unpack the dataset again."
        )


def _is_there(folder: Path, name: str) -> bool:
    return (folder / name).is_dir() if name.endswith("/") else (folder / name).is_file()


def _missing_folders(folder: Path, files: Sequence[str]) -> list[str]:
    wanted = sorted({file.rpartition("/")[0] for file in files})
    missing = [name for name in wanted if not (folder / name).is_dir()]
    if not missing:
        return []
    return [
        f"{folder} lacks {len(missing)} of {len(wanted)} image folders ({missing[0]}, ...): "
        "unpack the whole archive, or choose the existing classes with data.classes."
    ]


def _missing_files(images: FileImages, what: str) -> list[str]:
    """Tell of many missing files: a half-unpacked archive. A few count as unreadable images."""
    missing = images.missing
    if len(missing) < max(_FEW_MISSING, len(images) // 100):
        return []
    return [
        f"{images.root} lacks {len(missing)} of {len(images)} {what} images "
        f"({images.names[missing[0]]}, ...): unpack the whole archive again."
    ]
