"""Finding classes and images in a person's own folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pcsearch.data.decode import EXTENSIONS
from pcsearch.errors import UserError

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
    """The parts `train`, and `val` and `test` where they exist, with their classes.

    A folder named like a part is one if it holds sub-folders; otherwise it is a class. Hidden
    files and files that are no images are passed over; images in deeper folders belong to the
    class they are under. Raises UserError where the layout leaves room for doubt.
    """
    if not root.exists():
        raise UserError(f"there is no folder {root}; check the path (--images, or data.images).")
    if not root.is_dir():
        raise UserError(f"{root} is a file, not a folder with one sub-folder a class.")
    folders = _sub_folders(root)
    parts = _part_folders(root, folders)
    if "train" in parts:
        _refuse_strays(root, [name for name in folders if name not in parts.values()])
        return {part: FolderPart(name, _classes(root, name)) for part, name in parts.items()}
    if parts:
        other = next(iter(parts.values()))
        raise UserError(
            f"{root} has {other}/ but no train/ with class folders: put those to "
            f"train on in {root / 'train'}."
        )
    return {"train": FolderPart("", _classes(root, ""))}


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
    """Whether it is a folder, or a link to one that is not the link's own folder or above it."""
    try:
        if not entry.is_symlink():
            return entry.is_dir()
        here, there = Path(entry.path).parent.resolve(), Path(os.path.realpath(entry.path))
        return entry.is_dir() and not here.is_relative_to(there)
    except OSError:  # a link to itself, or a ring of them
        return False


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))
