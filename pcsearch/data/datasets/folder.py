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


def find_parts(root: Path) -> dict[str, FolderPart]:
    """The part `train`, and `val` and `test` if they exist, with their classes.

    A folder with a part's name is a part if it holds sub-folders, else a class. Hidden files and
    files that are no images are ignored. Images in deeper folders belong to the class above them.

    Folders whose names are the same text in two Unicode forms are one class.

    Raises:
        UserError: the folder cannot be read, or its layout is ambiguous.
    """
    if not root.exists():
        raise UserError(f"there is no folder {root}; check the path (--images, or data.images).")
    if not root.is_dir():
        raise UserError(f"{root} is a file, not a folder with one sub-folder a class.")
    folders = _sub_folders(root)
    parts = _part_folders(root, folders)
    if "train" in parts:
        _refuse_strays(root, [name for name in folders if name not in parts.values()])
        return _one_spelling(
            {part: FolderPart(name, _classes(root, name)) for part, name in parts.items()}
        )
    if parts:
        other = next(iter(parts.values()))
        raise UserError(
            f"{root} has {other}/ but no train/ with class folders: put the training images in "
            f"{root / 'train'}."
        )
    return _one_spelling({"train": FolderPart("", _classes(root, ""))})


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
        if next(_images_under(root, name), None) is None:
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


def _classes(root: Path, part: str) -> dict[str, tuple[str, ...]]:
    names = _sub_folders(root / part)
    return {
        name: tuple(sorted(_images_under(root, f"{part}/{name}" if part else name)))
        for name in names
    }


def _sub_folders(folder: Path) -> list[str]:
    try:
        return sorted(e.name for e in os.scandir(folder) if not _hidden(e.name) and _is_folder(e))
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}.") from error


def _images_under(root: Path, folder: str) -> Iterator[str]:
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
            if _hidden(entry.name):
                continue
            if _is_folder(entry):
                pending.append(path)
            elif Path(entry.name).suffix.lower() in EXTENSIONS:
                yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one, except to the link's own folder or one above."""
    try:
        if not entry.is_symlink():
            return entry.is_dir()
        here, there = Path(entry.path).parent.resolve(), Path(os.path.realpath(entry.path))
        return entry.is_dir() and not here.is_relative_to(there)
    except OSError:  # a cycle of links
        return False


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


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
    parts = find_parts(root)
    names = _class_names(root, parts["train"])
    chosen = [names[i] for i in choose_classes(names, options.classes)]
    counts = {name: sum(len(p.classes.get(name, ())) for p in parts.values()) for name in chosen}
    refuse_alike(counts, str(root))
    _check_classes(root, parts, chosen, only_chosen=options.classes is not None)
    files = {what: _listed(part, chosen) for what, part in parts.items()}
    return own_dataset("images", root, files, chosen, options, where=str(root))


def _class_names(root: Path, train: FolderPart) -> list[str]:
    """All class folders to train on. At least two have images."""
    names = [name for name, files in train.classes.items() if files]
    where = root / train.folder
    if not names:
        raise UserError(
            f"{where} holds no images in sub-folders: put one sub-folder a class in it."
        )
    if len(names) == 1:
        hint = f" Did you mean {where / names[0]}?" if _holds_classes(train, names[0]) else ""
        raise UserError(f"{where} has only one class, {names[0]}; at least two are needed.{hint}")
    return list(train.classes)


def _check_classes(
    root: Path, parts: dict[str, FolderPart], chosen: Sequence[str], *, only_chosen: bool
) -> None:
    """Check that every chosen class has images in every part and train has all classes."""
    train = parts["train"]
    where = root / train.folder
    wanted = {name for name in chosen if train.classes[name]}
    for part in parts.values():
        in_part = {name for name, files in part.classes.items() if files}
        strangers = (in_part & set(chosen) if only_chosen else in_part) - wanted
        _refuse_difference(root / part.folder, where, sorted(strangers))
        _refuse_difference(where, root / part.folder, sorted(wanted - in_part))
    for name in chosen:
        if name not in wanted:
            raise UserError(f"{where / name} holds no images: add some or remove the folder.")


def _refuse_difference(there: Path, absent_from: Path, names: list[str]) -> None:
    if not names:
        return
    looks = {look_of(name): name for name in _sub_folders(absent_from)}
    for name in names:
        other = looks.get(look_of(name), name)
        if other != name:
            raise UserError(
                f"{there} has the class {name!r}, {absent_from} has {other!r}: they look like one "
                "class. Give both folders the same name."
            )
    raise UserError(
        f"{', '.join(names[:10])}: in {there}, but without images in {absent_from}. "
        "All parts need the same class folders, with images in each."
    )


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
