"""Stratified splits: repeatable choices of validation or test images, with a hash.

Groups (one specimen, one burst) are never divided. Twins (near-duplicates) stay together if their
class can still be split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pcsearch.data.dataset import Int64Array
from pcsearch.errors import UserError


def units_of(m: int, groups: Int64Array | None, twins: Int64Array | None) -> Int64Array:
    """[m] the unit of each image, named by its smallest row. Groups and twins link images.

    A negative twin number means that the image has no twins.
    """
    units = np.arange(m, dtype=np.int64)
    links = [
        numbers if place == 0 else np.where(numbers < 0, m + np.arange(m) + numbers.max(), numbers)
        for place, numbers in enumerate((groups, twins))
        if numbers is not None and m
    ]
    linked = [np.unique(numbers, return_inverse=True)[1].reshape(-1) for numbers in links]
    while True:
        before = units
        for numbers in linked:
            least = np.full(int(numbers.max()) + 1, m, dtype=np.int64)
            np.minimum.at(least, numbers, units)
            units = least[numbers]
        if np.array_equal(units, before):
            return units


def _set_units_aside(
    labels: Int64Array,
    units: Int64Array,
    orders: Sequence[Int64Array],
    wanted: Sequence[int],
    keep: int,
) -> tuple[npt.NDArray[np.bool_], int | None]:
    """A mask [m] of the chosen images, and a class that cannot be split, or None.

    For each class, units are tried in order and taken if they bring the classes nearer to the
    wanted numbers. At least one unit of a class is taken, and at least `keep` remain. If every unit
    is one image, the first wanted[c] images of orders[c] are taken.

    Args:
        labels: [m] classes.
        units: [m], see `units_of`.
        orders: for each class, its images in the order in which they are tried.
        wanted: for each class, how many images to choose.
        keep: units of a class that must remain.
    """
    members = _members(units)
    shares = {unit: np.unique(labels[rows], return_counts=True) for unit, rows in members.items()}
    taken = np.zeros(len(orders), dtype=np.int64)
    left = np.array([len(np.unique(units[rows])) for rows in orders], dtype=np.int64)
    goal = np.asarray(wanted, dtype=np.int64)
    aside = np.zeros(len(labels), dtype=bool)

    def cost(row: int) -> int:
        """Change of the distance to the goals if the row's unit is taken; negative is nearer."""
        classes, counts = _share(row, labels, units, shares)
        short = goal[classes] - taken[classes]
        return int((np.abs(short - counts) - np.abs(short)).sum())

    def take(row: int) -> bool:
        classes, counts = _share(row, labels, units, shares)
        if (left[classes] <= keep).any():
            return False
        taken[classes] += counts
        left[classes] -= 1
        aside[members.get(int(units[row]), row)] = True
        return True

    for label, order in enumerate(orders):
        for row in order.tolist():
            if taken[label] >= goal[label]:
                break
            if not aside[row] and cost(row) < 0:
                take(row)
    for label in np.flatnonzero(taken == 0).tolist():
        rows = [row for row in orders[label].tolist() if not aside[row]]
        if not any(take(row) for row in sorted(rows, key=cost)):
            return aside, label
    return aside, None


def _members(units: Int64Array) -> dict[int, Int64Array]:
    """The rows of each unit with more than one row."""
    order = np.argsort(units, kind="stable")
    numbers, starts = np.unique(units[order], return_index=True)
    parts = np.split(order, starts[1:])
    return {int(u): rows for u, rows in zip(numbers, parts, strict=True) if len(rows) > 1}


def _share(
    row: int,
    labels: Int64Array,
    units: Int64Array,
    shares: dict[int, tuple[Int64Array, Int64Array]],
) -> tuple[Int64Array, Int64Array]:
    """The classes in the row's unit, and the number of its images of each."""
    alone = (labels[row : row + 1], np.ones(1, dtype=np.int64))
    return shares.get(int(units[row]), alone)


_HELD_OUT_TEST = 0x7E57


@dataclass(frozen=True)
class Split:
    """Indices into the training images, each part in ascending order.

    Attributes:
        fit: the images to train on.
        val: the images to validate on.
        hash: 16 hex digits of a SHA-256 over labels and both parts. Equal hashes mean equal splits.
    """

    fit: Int64Array
    val: Int64Array
    hash: str


def stratified_split(
    labels: Int64Array,
    val_fraction: float,
    seed: int | Sequence[int],
    class_names: Sequence[str] | None = None,
    *,
    groups: Int64Array | None = None,
    twins: Int64Array | None = None,
) -> Split:
    """Choose round(val_fraction * n) of every class's n images, at least 1, at most n - 1.

    Args:
        labels: [m] classes.
        val_fraction: the share to choose.
        seed: decides which images.
        class_names: used in messages. With them, a class without images is refused too.
        groups: [m] numbers. Images of one group stay on one side. Then a class may miss its number
            by up to half its largest group, or by more if groups span several classes.
        twins: [m] numbers, also kept on one side. But a class that would have no image on one side
            has its twins divided.

    Raises:
        UserError: a fraction outside (0, 1), or a class with fewer than two images or two groups.
    """
    aside = _stratified_mask(
        labels, val_fraction, seed, keep=1, class_names=class_names, groups=groups, twins=twins
    )
    return _split(labels, aside)


def split_for(
    labels: Int64Array,
    given_val: Int64Array | None,
    val_fraction: float,
    split_seed: int,
    repeat: int,
    class_names: Sequence[str] | None = None,
    *,
    groups: Int64Array | None = None,
    twins: Int64Array | None = None,
) -> Split:
    """The split of one repeat.

    A given validation part is the split of every repeat, and finalists differ only by their seed.
    The part may keep groups apart (one animal, one place, one session); a new split would put
    near-copies on both sides. A given part may divide twins.

    Without one, repeat r is stratified over all images by (split_seed, r), see `stratified_split`.

    Raises:
        UserError: as `stratified_split`; or the given part divides a group, or a class has no
            image in one part.
    """
    if given_val is None:
        seed = (split_seed, repeat)
        return stratified_split(labels, val_fraction, seed, class_names, groups=groups, twins=twins)
    aside = np.zeros(len(labels), dtype=bool)
    aside[given_val] = True
    classes = _num_classes(labels, class_names)
    for part, mask in (("training", ~aside), ("validation", aside)):
        counts = np.bincount(labels[mask], minlength=classes)
        _refuse(counts, 1, f"no usable {part} images", class_names)
    if groups is not None:
        _refuse_divided(groups, aside)
    return _split(labels, aside)


def hold_out_test(
    labels: Int64Array,
    test_fraction: float,
    split_seed: int,
    keep: int,
    class_names: Sequence[str],
    *,
    groups: Int64Array | None = None,
    twins: Int64Array | None = None,
) -> npt.NDArray[np.bool_]:
    """A mask [n] of images to hold out as the test part, stratified by class.

    At least one image of each class is held out. At least `keep` images remain, and `keep` groups
    if groups are given. Twins (a negative number means none) stay together, unless their class
    could then not be split.

    Raises:
        UserError: classes are too small; the text names them.
    """
    seed = (split_seed, _HELD_OUT_TEST)
    return _stratified_mask(
        labels,
        test_fraction,
        seed,
        keep=keep,
        class_names=class_names,
        groups=groups,
        twins=twins,
    )


def _stratified_mask(
    labels: Int64Array,
    fraction: float,
    seed: int | Sequence[int],
    *,
    keep: int,
    class_names: Sequence[str] | None,
    groups: Int64Array | None = None,
    twins: Int64Array | None = None,
) -> npt.NDArray[np.bool_]:
    if not 0.0 < fraction < 1.0:
        raise UserError(
            f"a split fraction (data.val_fraction, data.test_fraction) is {fraction}, but must be "
            "between 0 and 1."
        )
    counts = np.bincount(labels, minlength=_num_classes(labels, class_names))
    _refuse(counts, keep + 1, f"too few images to split (at least {keep + 1})", class_names)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(np.flatnonzero(labels == label)) for label in range(len(counts))]
    wanted = [int(np.clip(round(fraction * int(n)), 1, n - keep)) for n in counts]
    divided = np.zeros(len(counts), dtype=bool)  # the classes whose twins are single images
    while True:
        loose = None if twins is None else np.where(divided[labels], -1, twins)
        units = units_of(len(labels), groups, loose)
        aside, stuck = _set_units_aside(labels, units, orders, wanted, keep)
        if stuck is None:
            return aside
        if twins is None or divided[stuck]:
            raise UserError(_one_group(stuck, labels, groups, keep, class_names))
        divided[stuck] = True


def _one_group(
    label: int,
    labels: Int64Array,
    groups: Int64Array | None,
    keep: int,
    class_names: Sequence[str] | None,
) -> str:
    name = class_names[label] if class_names else f"class {label}"
    own = np.zeros(0) if groups is None else groups[labels == label]
    number = len(np.unique(own))
    return (
        f"{name} cannot be split: its {len(own)} images are {number} "
        f"{'group' if number == 1 else 'groups'}, which must not be divided, and "
        f"{keep + 1} are needed. Add images of other groups, or leave out the class."
    )


def _refuse_divided(groups: Int64Array, aside: npt.NDArray[np.bool_]) -> None:
    divided = np.intersect1d(groups[aside], groups[~aside])
    if len(divided):
        more = f" and {len(divided) - 1} more" if len(divided) > 1 else ""
        raise UserError(
            f"the given validation part divides group {divided[0]}{more}: all images of a group "
            "must be in it, or none. Move them, or give them different groups."
        )


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
