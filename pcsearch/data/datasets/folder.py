"""The user's own images: one sub-folder a class, with or without train/, val/, test/."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcsearch.data.classes import choose_classes, look_of, one_spelling, refuse_alike
from pcsearch.data.dataset import CatalogEntry, DataOptions, Dataset
from pcsearch.data.decode import EXTENSIONS
from pcsearch.data.layouts.own_images import OwnPart, own_dataset
from pcsearch.data.layouts.passed_over import PassedOver, is_system_folder
from pcsearch.errors import UserError
from pcsearch.io import expanded

PART_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class FolderPart:
    """One part of the folder, or all of it.

    Attributes:
        folder: its path relative to the root, "" for the root itself.
        classes: class name → its image files relative to the root, sorted.
    """

    folder: str
    classes: dict[str, tuple[str, ...]]


def find_parts(
    root: Path, passed: PassedOver | None = None, *, needs_train: bool = True
) -> dict[str, FolderPart]:
    """The part `train`, and `val` and `test` if they exist, with their classes.

    Without `needs_train`, a folder may have `val` or `test` alone.

    A folder with a part's name is a part if it holds sub-folders, else a class. Images in deeper
    folders belong to the class above them. Hidden files, folders of the system and files with other
    endings are passed over, and collected in `passed`.

    Folders whose names are the same text in two Unicode forms are one class.

    Raises:
        UserError: the folder cannot be read, or its layout is ambiguous.
    """
    if not root.exists():
        raise UserError(f"there is no folder {root}; check the path (--images, or data.images).")
    if not root.is_dir():
        raise UserError(f"{root} is a file, not a folder with one sub-folder a class.")
    passed = passed or PassedOver(root)
    folders = _sub_folders(root, passed)
    parts = _part_folders(root, folders)
    if "train" in parts:
        _refuse_strays(root, [name for name in folders if name not in parts.values()])
        return _one_spelling(
            {part: FolderPart(name, _classes(root, name, passed)) for part, name in parts.items()}
        )
    if parts and not needs_train:
        return _one_spelling(
            {part: FolderPart(name, _classes(root, name, passed)) for part, name in parts.items()}
        )
    if parts:
        other = next(iter(parts.values()))
        raise UserError(
            f"{root} has {other}/ but no train/ with class folders: put the training images in "
            f"{root / 'train'}."
        )
    return _one_spelling({"train": FolderPart("", _classes(root, "", passed))})


def _one_spelling(parts: dict[str, FolderPart]) -> dict[str, FolderPart]:
    """The parts, with one name for class folders whose names are one text in two Unicode forms."""
    spelling = one_spelling(name for part in parts.values() for name in part.classes)
    joined = {}
    for what, part in parts.items():
        classes: dict[str, tuple[str, ...]] = {}
        for name, files in part.classes.items():
            classes[spelling[name]] = tuple(sorted((*classes.get(spelling[name], ()), *files)))
        joined[what] = FolderPart(part.folder, classes)
    return joined


def _part_folders(root: Path, folders: list[str]) -> dict[str, str]:
    """Part → the sub-folder that holds it."""
    parts: dict[str, str] = {}
    for part, names in PART_NAMES.items():
        found = [name for name in folders if name.lower() in names and _sub_folders(root / name)]
        if len(found) > 1:
            raise UserError(f"{root} has both {found[0]}/ and {found[1]}/; keep one of them.")
        if found:
            parts[part] = found[0]
    return parts


def _refuse_strays(root: Path, strays: list[str]) -> None:
    for name in strays:
        if next(_images_under(root, name, PassedOver(root)), None) is None:
            continue
        if any(name.lower() in names for names in PART_NAMES.values()):
            raise UserError(
                f"{root / name} holds images, but no class folders: sort them into one sub-folder "
                "a class, as in train/, or move the folder away."
            )
        raise UserError(
            f"{root / name} holds images beside train/, but is no part of the dataset: "
            "move it into train/ as a class (or into val/ or test/), or out of the folder."
        )


def _classes(root: Path, part: str, passed: PassedOver) -> dict[str, tuple[str, ...]]:
    names = _sub_folders(root / part, passed)
    return {name: tuple(sorted(_images_under(root, _joined(part, name), passed))) for name in names}


def _sub_folders(folder: Path, passed: PassedOver | None = None) -> list[str]:
    found = []
    try:
        for entry in os.scandir(folder):
            if entry.name.startswith("."):
                continue
            if not _is_folder(entry):
                if passed is not None and Path(entry.name).suffix.lower() in EXTENSIONS:
                    passed.loose.add(entry.path)
            elif not is_system_folder(entry.name):
                found.append(entry.name)
            elif passed is not None:
                passed.folders.add(entry.path)
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}.") from error
    return sorted(found)


def _images_under(root: Path, folder: str, passed: PassedOver) -> Iterator[str]:
    """Image files at any depth, relative to the root; links to folders are followed once."""
    seen: set[str] = set()
    pending = [folder]
    while pending:
        current = pending.pop()
        real = os.path.realpath(root / current)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(root / current), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"{root / current} cannot be read: {error.strerror}.") from error
        for entry in entries:
            path = f"{current}/{entry.name}"
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                if is_system_folder(entry.name):
                    passed.folders.add(path)
                else:
                    pending.append(path)
            elif Path(entry.name).suffix.lower() in EXTENSIONS:
                yield path
            else:
                passed.add_file(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one, except to the link's own folder or one above."""
    try:
        if not entry.is_symlink():
            return entry.is_dir()
        here, there = Path(entry.path).parent.resolve(), Path(os.path.realpath(entry.path))
        return entry.is_dir() and not here.is_relative_to(there)
    except OSError:  # a cycle of links
        return False


def read(options: DataOptions) -> Dataset:
    """Classes are the sub-folders in alphabetical order, numbered from 1 for `data.classes`.

    Images in val/ follow those of train/ in the training part; `given_val` has their indices.
    Without test/, a share `test_fraction` of every class in train/ is held out by `split_seed`.
    Copies of one file or of one picture stay together. Every class has at least one image to train
    on, one to validate on and one to test on.

    Raises:
        UserError: a class has too few images; the parts differ in their (chosen) classes, or share
            files. The text names the folder or the classes.
    """
    if options.images is None:
        raise UserError("dataset images: give its folder with --images DIR or data.images.")
    root = expanded(options.images)
    passed = PassedOver(root)
    parts = find_parts(root, passed)
    names = _class_names(root, parts["train"], passed)
    chosen = [names[i] for i in choose_classes(names, options.classes)]
    counts = {name: sum(len(p.classes.get(name, ())) for p in parts.values()) for name in chosen}
    refuse_alike(counts, str(root))
    _check_classes(root, parts, chosen, passed, only_chosen=options.classes is not None)
    files = {what: _listed(part, chosen) for what, part in parts.items()}
    notes = passed.notes(all_files=options.half_unpacked == "list")
    return own_dataset("images", root, files, chosen, options, where=str(root), notes=notes)


def _class_names(root: Path, train: FolderPart, passed: PassedOver) -> list[str]:
    """All class folders to train on. At least two have images."""
    names = [name for name, files in train.classes.items() if files]
    where = root / train.folder
    if not names:
        raise UserError(
            f"{where} holds no images in sub-folders: put one sub-folder a class in it."
            f"{passed.hint(train.folder)}"
        )
    if len(names) == 1:
        hint = f" Did you mean {where / names[0]}?" if _holds_classes(train, names[0]) else ""
        hint += passed.hint(train.folder)
        raise UserError(f"{where} has only one class, {names[0]}; at least two are needed.{hint}")
    return list(train.classes)


def _check_classes(
    root: Path,
    parts: dict[str, FolderPart],
    chosen: Sequence[str],
    passed: PassedOver,
    *,
    only_chosen: bool,
) -> None:
    """Check that every chosen class has images in every part and train has all classes."""
    train = parts["train"]
    where = root / train.folder
    wanted = {name for name in chosen if train.classes[name]}
    for part in parts.values():
        in_part = {name for name, files in part.classes.items() if files}
        strangers = (in_part & set(chosen) if only_chosen else in_part) - wanted
        _refuse_difference(root, part.folder, train.folder, sorted(strangers), passed)
        _refuse_difference(root, train.folder, part.folder, sorted(wanted - in_part), passed)
    for name in chosen:
        if name not in wanted:
            raise UserError(
                f"{where / name} holds no images: add some or remove the folder."
                f"{passed.hint(_joined(train.folder, name))}"
            )


def _refuse_difference(
    root: Path, there: str, absent_from: str, names: list[str], passed: PassedOver
) -> None:
    if not names:
        return
    looks = {look_of(name): name for name in _sub_folders(root / absent_from)}
    for name in names:
        other = looks.get(look_of(name), name)
        if other != name:
            raise UserError(
                f"{root / there} has the class {name!r}, {root / absent_from} has {other!r}: they "
                "look like one class. Give both folders the same name."
            )
    raise UserError(
        f"{root / absent_from} has no images of {', '.join(names[:10])}, but {root / there} has "
        "these classes. All parts need the same class folders, with images in each."
        f"{passed.hint(_joined(absent_from, names[0]))}"
    )


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _holds_classes(part: FolderPart, name: str) -> bool:
    depth = part.classes[name][0].count("/") - (1 if part.folder else 0)
    return depth >= 2


def _listed(part: FolderPart, names: Sequence[str]) -> OwnPart:
    files = [path for name in names for path in part.classes[name]]
    counts = [len(part.classes[name]) for name in names]
    return OwnPart(files, np.repeat(np.arange(len(names), dtype=np.int64), counts))


ENTRY = CatalogEntry(
    id="images",
    title="Your own images",
    classes=None,
    reader=read,
    description="a folder with one sub-folder a class, optionally within train/, val/, "
    "test/; a stratified test part is held out if none is given.",
    citation="",
    terms="yours",
    homepage="",
)
