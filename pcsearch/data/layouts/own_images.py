"""From a user's own lists of images to a dataset: hold out a test part, keep copies together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pcsearch.data.cache import BadImagesError
from pcsearch.data.classes import empty_label_notes
from pcsearch.data.dataset import DataOptions, Dataset, Float32Array, Int64Array, Part
from pcsearch.data.layouts.duplicate_files import (
    merge_groups,
    same_bytes_groups,
    same_picture_groups,
)
from pcsearch.data.sources import FileImages
from pcsearch.data.splits import hold_out_test
from pcsearch.errors import UserError

_USES = (("validate", "val"), ("test", "test"))


@dataclass(frozen=True)
class OwnPart:
    """Images that the user lists for one use.

    Attributes:
        files: n paths relative to the dataset's folder, or absolute.
        labels: [n] class numbers from 0.
        boxes: [n, 4] x, y, width, height in pixels, or None.
        groups: [n] group numbers given by the user, or None.
    """

    files: Sequence[str]
    labels: Int64Array
    boxes: Float32Array | None = None
    groups: Int64Array | None = None

    def only(self, rows: npt.NDArray[np.bool_]) -> OwnPart:
        """The images where the mask [n] is set."""
        return OwnPart(
            [self.files[row] for row in np.flatnonzero(rows).tolist()],
            self.labels[rows],
            None if self.boxes is None else self.boxes[rows],
            None if self.groups is None else self.groups[rows],
        )


def own_dataset(
    dataset_id: str,
    root: Path,
    listed: Mapping[str, OwnPart],
    class_names: Sequence[str],
    options: DataOptions,
    *,
    where: str,
    notes: Sequence[str] = (),
) -> Dataset:
    """The dataset of the part `train`, and of `val` and `test` if given.

    Without `test`, a share of `train` is held out. Training images that are copies of one file
    form a group, merged with the groups given by the user. A group is never divided between
    training, validation and held-out test images. Neither are images that show the same picture,
    unless their class could then not be divided.

    Args:
        dataset_id: the catalogue's id.
        root: the folder to which files are relative.
        listed: the parts by name.
        class_names: N names.
        options: uses `test_fraction`, `split_seed`, `near_duplicates`, `cache` and `progress`.
        where: name of the lists' place in messages.
        notes: what the reader ignored.

    Raises:
        UserError: a class has too few images for its uses, or parts share a file.
    """
    _refuse_shared_files(root, listed)
    _check_counts(listed, class_names, where)
    train, val, test = listed["train"], listed.get("val"), listed.get("test")
    copies, held_out = same_bytes_groups(root, train.files), ""
    train = replace(train, groups=merge_groups(train.groups, copies))
    if test is None:
        aside = _held_out(root, train, val, class_names, options)
        train, test = train.only(~aside), train.only(aside)
        held_out = hashlib.sha256("\0".join(test.files).encode(errors="replace")).hexdigest()[:16]
    given_val = None
    if val is not None:
        given_val = np.arange(len(train.files), len(train.files) + len(val.files), dtype=np.int64)
        train = _joined(train, val)
    parts = _part(root, train), _part(root, test)
    told = (*notes, *empty_label_notes(class_names))
    return Dataset(dataset_id, tuple(class_names), *parts, given_val, held_out=held_out, notes=told)


def _held_out(
    root: Path, train: OwnPart, val: OwnPart | None, names: Sequence[str], options: DataOptions
) -> npt.NDArray[np.bool_]:
    """A mask of the training images that become the test part."""
    keep, given = (2, ()) if val is None else (1, tuple(val.files))
    twins, count = _twins(root, (*train.files, *given), options), len(train.files)
    asked = (options.test_fraction, options.split_seed, keep, names)
    if twins is None:
        return hold_out_test(train.labels, *asked, groups=train.groups)
    own = twins[:count]
    bound = np.isin(own, twins[count:][twins[count:] >= 0])  # near-duplicates of images in val
    if train.groups is not None:
        bound |= np.isin(train.groups, train.groups[bound])
    free = ~bound
    aside = np.zeros(count, dtype=bool)
    try:
        groups = None if train.groups is None else train.groups[free]
        aside[free] = hold_out_test(train.labels[free], *asked, groups=groups, twins=own[free])
    except UserError:  # a class has too few free images
        return hold_out_test(train.labels, *asked, groups=train.groups, twins=own)
    return aside


def _twins(root: Path, files: Sequence[str], options: DataOptions) -> Int64Array | None:
    if options.near_duplicates == "ignore":
        return None
    try:
        return same_picture_groups(root, tuple(files), options.cache, options.progress)
    except BadImagesError:
        if options.half_unpacked == "list":  # `verify` reports what is wrong
            return None
        raise
    except UserError as error:
        raise UserError(
            f"{error} This happened to thumbnails, by which copies of a picture are found and kept "
            "in one part. data.near_duplicates=ignore does without them."
        ) from error


def _refuse_shared_files(root: Path, parts: Mapping[str, OwnPart]) -> None:
    """Refuse a file (or a link to it) in two parts: validation or test would be meaningless."""
    owner: dict[tuple[int, int], tuple[str, str]] = {}
    for what, part in parts.items():
        for path in part.files:
            try:
                status = (root / path).stat()
            except (OSError, ValueError):  # ValueError: a zero byte within the name
                continue
            first, first_path = owner.setdefault((status.st_dev, status.st_ino), (what, path))
            if first != what:
                raise UserError(
                    f"{root / path} is the same file as {root / first_path}: training, validation "
                    "and test images must differ. Remove the link, or one of the two lines."
                )


def _check_counts(parts: Mapping[str, OwnPart], names: Sequence[str], where: str) -> None:
    """Every class needs an image for each use without a list of its own."""
    uses = ["train on", *(f"{use} on" for use, part in _USES if part not in parts)]
    counts = np.bincount(parts["train"].labels, minlength=len(names))
    small = [
        f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < len(uses)
    ]
    if small:
        raise UserError(
            f"too few images to split in {where}: {', '.join(small[:10])}. Every class needs one "
            f"to {', one to '.join(uses)}: add images, or leave out the class."
        )


def _joined(one: OwnPart, other: OwnPart) -> OwnPart:
    boxes = groups = None
    if one.boxes is not None and other.boxes is not None:
        boxes = np.concatenate([one.boxes, other.boxes])
    if one.groups is not None:
        free = int(one.groups.max(initial=-1)) + 1
        more = other.groups
        if more is None:
            more = np.arange(free, free + len(other.files), dtype=np.int64)
        groups = np.concatenate([one.groups, more])
    labels = np.concatenate([one.labels, other.labels])
    return OwnPart([*one.files, *other.files], labels, boxes, groups)


def _part(root: Path, part: OwnPart) -> Part:
    groups = part.groups
    if groups is not None and len(np.unique(groups)) == len(groups):
        groups = None  # every image is its own group
    return Part(FileImages.of(root, part.files), part.labels, part.boxes, groups)
