"""Stratified splits: which training images validate, repeatably and with a stored hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pcsearch.data.dataset import Int64Array
from pcsearch.errors import UserError

_HELD_OUT_TEST = 0x7E57


@dataclass(frozen=True)
class Split:
    """Indices into the training images, each part in ascending order.

    Attributes:
        fit: the images to train on.
        val: the images to validate on.
        hash: 16 hex digits of a SHA-256 over labels and both parts; equal hashes, equal splits.
    """

    fit: Int64Array
    val: Int64Array
    hash: str


def stratified_split(
    labels: Int64Array,
    val_fraction: float,
    seed: int | Sequence[int],
    class_names: Sequence[str] | None = None,
) -> Split:
    """Set round(val_fraction * n) of every class's n images aside, at least 1, at most n - 1.

    Raises UserError for a fraction outside (0, 1) and for a class with fewer than two images;
    with `class_names`, a class without any image counts too and messages use its name.
    """
    aside = _stratified_mask(labels, val_fraction, seed, keep=1, class_names=class_names)
    return _split(labels, aside)


def split_for(
    labels: Int64Array,
    given_val: Int64Array | None,
    val_fraction: float,
    split_seed: int,
    repeat: int,
    class_names: Sequence[str] | None = None,
) -> Split:
    """The split of one repeat.

    With a given validation part, every repeat has that split, so finalists vary by their seed
    alone: the part may keep groups apart (one animal, one place, one session), and dealing the
    images anew would put near copies on both sides. Else repeat r is stratified over all images
    by (split_seed, r).
    """
    if given_val is None:
        return stratified_split(labels, val_fraction, (split_seed, repeat), class_names)
    aside = np.zeros(len(labels), dtype=bool)
    aside[given_val] = True
    classes = _num_classes(labels, class_names)
    for part, mask in (("training", ~aside), ("validation", aside)):
        counts = np.bincount(labels[mask], minlength=classes)
        _refuse(counts, 1, f"no usable {part} images", class_names)
    return _split(labels, aside)


def hold_out_test(
    labels: Int64Array,
    test_fraction: float,
    split_seed: int,
    keep: int,
    class_names: Sequence[str],
) -> npt.NDArray[np.bool_]:
    """A mask [n] of images to set aside as the test part, stratified by class.

    At least one image of a class is set aside, at least `keep` remain; UserError naming the
    classes that are too small for that.
    """
    seed = (split_seed, _HELD_OUT_TEST)
    return _stratified_mask(labels, test_fraction, seed, keep=keep, class_names=class_names)


def _stratified_mask(
    labels: Int64Array,
    fraction: float,
    seed: int | Sequence[int],
    *,
    keep: int,
    class_names: Sequence[str] | None,
) -> npt.NDArray[np.bool_]:
    if not 0.0 < fraction < 1.0:
        raise UserError(f"a split fraction must lie between 0 and 1, not {fraction}.")
    counts = np.bincount(labels, minlength=_num_classes(labels, class_names))
    _refuse(counts, keep + 1, f"too few images to split (at least {keep + 1})", class_names)
    rng = np.random.default_rng(seed)
    aside = np.zeros(len(labels), dtype=bool)
    for label, count in enumerate(counts):
        number = int(np.clip(round(fraction * int(count)), 1, count - keep))
        rows = np.flatnonzero(labels == label)
        aside[rng.permutation(rows)[:number]] = True
    return aside


def _refuse(
    counts: Int64Array, least: int, problem: str, class_names: Sequence[str] | None
) -> None:
    small = np.flatnonzero(counts < least).tolist()
    if not small:
        return
    described = [
        f"{class_names[i] if class_names else f'class {i}'} ({counts[i]})" for i in small[:10]
    ]
    more = f" and {len(small) - 10} more" if len(small) > 10 else ""
    raise UserError(
        f"{problem}: {', '.join(described)}{more}. Add images to these classes or leave them out."
    )


def _num_classes(labels: Int64Array, class_names: Sequence[str] | None) -> int:
    return len(class_names) if class_names else int(labels.max(initial=-1)) + 1


def _split(labels: Int64Array, aside: npt.NDArray[np.bool_]) -> Split:
    fit = np.flatnonzero(~aside).astype(np.int64)
    val = np.flatnonzero(aside).astype(np.int64)
    digest = hashlib.sha256()
    for array in (labels, fit, val):
        digest.update(f"{len(array)}:".encode() + array.astype("<i8").tobytes())
    return Split(fit, val, digest.hexdigest()[:16])
