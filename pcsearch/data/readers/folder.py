"""A person's own images: one sub-folder a class, with or without train/, val/, test/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcsearch.data.classes import choose_classes
from pcsearch.data.dataset import Dataset
from pcsearch.data.entry import CatalogEntry
from pcsearch.data.options import DataOptions
from pcsearch.data.readers.folder_layout import FolderPart, find_parts
from pcsearch.data.readers.own_images import OwnPart, own_dataset
from pcsearch.errors import UserError
from pcsearch.regular_files import expanded


def read(options: DataOptions) -> Dataset:
    """Classes are the sub-folders, in alphabetical order, numbered from 1 for `data.classes`.

    Images in val/ come after those of train/ in the training part, their indices in
    `given_val`. Without test/, a share `test_fraction` of every class in train/ is held out by
    `split_seed`; copies of one file, and of one picture, stay together. Every class ends with at
    least one image to fit on, one to validate on and one to test on; UserError, naming folder or
    classes, if it cannot, or if the parts differ in their classes (the chosen ones, where some are)
    or share files.
    """
    if options.images is None:
        raise UserError("dataset images: say which folder by --images DIR or data.images.")
    root = expanded(options.images)
    parts = find_parts(root)
    names = _class_names(root, parts["train"])
    chosen = [names[i] for i in choose_classes(names, options.classes)]
    _check_classes(root, parts, chosen, only_chosen=options.classes is not None)
    files = {what: _listed(part, chosen) for what, part in parts.items()}
    return own_dataset("images", root, files, chosen, options, where=str(root))


def _class_names(root: Path, train: FolderPart) -> list[str]:
    """All class folders to train on, at least two of them with images."""
    names = [name for name, files in train.classes.items() if files]
    where = root / train.folder
    if not names:
        raise UserError(
            f"{where} holds no images in sub-folders: put one sub-folder a class in it."
        )
    if len(names) == 1:
        hint = f" Did you mean {where / names[0]}?" if _holds_classes(train, names[0]) else ""
        raise UserError(f"{where} has one class only, {names[0]}; at least two are needed.{hint}")
    return list(train.classes)


def _check_classes(
    root: Path, parts: dict[str, FolderPart], chosen: Sequence[str], *, only_chosen: bool
) -> None:
    """Every chosen class has images in every part; no part has a class that train lacks."""
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
    if names:
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
    "test/; a stratified test part is held out where none is given.",
    citation="",
    terms="yours",
    homepage="",
)
