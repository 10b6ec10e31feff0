"""A labelled set of image files beside a data set, and its classes among those of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pcsearch.data.classes import same_class
from pcsearch.data.datasets.folder import PART_NAMES, find_parts
from pcsearch.data.datasets.manifest import split_numbers, with_taken_paths
from pcsearch.data.layouts.manifest_table import read_manifest
from pcsearch.data.layouts.passed_over import PassedOver
from pcsearch.errors import UserError, did_you_mean
from pcsearch.io import expanded
from pcsearch.printable import encodable


@dataclass(frozen=True)
class LabelledSet:
    """Image files with a class name each.

    Attributes:
        files: n files.
        labels: n class names, as the folder or manifest spells them; they are `encodable`.
        part: The part that was taken, such as `test`; "" for all of the set.
    """

    files: tuple[Path, ...]
    labels: tuple[str, ...]
    part: str = ""


def open_labelled(path: Path) -> LabelledSet:
    """The images of a folder with one sub-folder a class, or of a manifest (CSV or Parquet).

    Of a set with parts, the test images are taken; without test images, all.

    Raises:
        UserError: there is no such folder or file, it has no labels, or a row is wrong.
    """
    path = expanded(path)
    return _folder(path) if path.is_dir() else _manifest(path)


def _folder(root: Path) -> LabelledSet:
    passed = PassedOver(root)
    parts = find_parts(root, passed, needs_train=False)
    part = "test" if "test" in parts and len(parts) > 1 else ""
    chosen = [parts["test"]] if part else list(parts.values())
    found = [
        (root / file, encodable(name))
        for one in chosen
        for name, files in one.classes.items()
        for file in files
    ]
    if not found:
        raise UserError(
            f"{root} has no labels: it holds no images in sub-folders. Put one sub-folder a class "
            f"in it, or use pcsearch predict, which needs no labels.{passed.hint('')}"
        )
    return LabelledSet(*_columns(found), part)


def _manifest(path: Path) -> LabelledSet:
    if not path.exists():
        raise UserError(f"there is no folder or manifest {path}; check the path")
    table, _ = with_taken_paths(read_manifest(path))
    splits = split_numbers(table)
    test = list(PART_NAMES).index("test")
    part = "test" if (splits == test).any() and (splits != test).any() else ""
    found = [
        (path.parent / file, encodable(label))
        for file, label, split in zip(
            table.columns["path"], table.columns["label"], splits.tolist(), strict=True
        )
        if not part or split == test
    ]
    return LabelledSet(*_columns(found), part)


def _columns(found: Sequence[tuple[Path, str]]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    return tuple(file for file, _ in found), tuple(label for _, label in found)


@dataclass(frozen=True)
class MatchedClasses:
    """Which class of a network each name of a set means.

    Attributes:
        number: name → class number.
        unknown: every other name → `, did you mean "..."?`, or "" without a near one.
    """

    number: Mapping[str, int]
    unknown: Mapping[str, str]


def match_classes(names: Iterable[str], known: Sequence[str]) -> MatchedClasses:
    """Match the names of a set with those of a network.

    Case, spaces, hyphens, a leading number ("007.Crested_Auklet") and the Unicode form do not
    matter. A name that could mean two classes is unknown.
    """
    number: dict[str, int] = {}
    unknown: dict[str, str] = {}
    for name in dict.fromkeys(names):
        found = same_class(name, known)
        if found is None:
            unknown[name] = did_you_mean(name, known)
        else:
            number[name] = found
    return MatchedClasses(number, unknown)
