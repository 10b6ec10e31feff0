"""ImageNet (ILSVRC 2012), whose official validation images are the test part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pcsearch.data.classes import choose_classes
from pcsearch.data.dataset import Dataset
from pcsearch.data.entry import CatalogEntry
from pcsearch.data.options import DataOptions
from pcsearch.data.readers.imagenet_layout import (
    CLASSES,
    FOLDERS,
    ImageNetFolder,
    absent_classes,
    class_names,
    find_imagenet,
    is_imagenet,
    strange_classes,
    training_files,
    validation_files,
)
from pcsearch.data.readers.official import Listing, assemble, how_to_get
from pcsearch.errors import UserError

VALIDATION_IMAGES_PER_CLASS = 50


def read(options: DataOptions) -> Dataset:
    """All 1,000 classes, ordered by WordNet id and numbered from 0 in that order.

    These numbers are those of torchvision's pretrained models. A part of ImageNet is read only
    where `data.classes` chooses from it; the numbers then go over the folders in train/. Raises
    UserError if ImageNet is not there or not complete, or `data.classes` is wrong.
    """
    found = imagenet_folder(ENTRY, options.root)
    if options.classes is None:
        _refuse_part(found)
    return read_classes(ENTRY, found, found.wnids, options)


def imagenet_folder(entry: CatalogEntry, root: Path) -> ImageNetFolder:
    """ImageNet in `root`.

    Raises:
        UserError: it is not there; the message says how `entry` is to be had.
    """
    found = find_imagenet(root)
    if found is None:
        gone = "" if root.is_dir() else f", and there is no folder {root}"
        raise UserError(
            f"{ENTRY.title} is not at {root / FOLDERS[0]}{gone}. {how_to_get(entry, root)}. If it "
            "is elsewhere, set data.root to the folder that holds its train/ and val/."
        )
    return found


def _refuse_part(found: ImageNetFolder) -> None:
    """A half-unpacked archive must not pass for ImageNet: fewer classes are easier."""
    train = found.images / "train"
    remedies = (
        "unpack the rest, choose from the classes that are there by data.classes, or, if this is "
        f"a set of your own, use the dataset images (--images {found.images})"
    )
    if len(found.wnids) < CLASSES:
        absent = absent_classes(found)
        lacking = f", not {absent[0]} for one" if absent else ""
        raise UserError(
            f"{train} holds {len(found.wnids)} of ImageNet's {CLASSES:,} class folders{lacking}. "
            f"What to do: {remedies}."
        )
    if strange := strange_classes(found):
        raise UserError(
            f"{found.images / 'val'} holds class folders that {train} lacks ({strange[0]}"
            f"{f' and {len(strange) - 1} more' if strange[1:] else ''}). What to do: {remedies}."
        )


def read_classes(
    entry: CatalogEntry, found: ImageNetFolder, wnids: Sequence[str], options: DataOptions
) -> Dataset:
    """The chosen ones of the classes `wnids`; only their folders are looked into.

    `options.classes` may hold names, WordNet ids and numbers: the positions in `found.wnids`.

    Raises:
        UserError: a class without images, or a mistake in `options.classes`.
    """
    names = class_names(found)
    number = {wnid: position for position, wnid in enumerate(found.wnids)}
    numbers = [number[wnid] for wnid in wnids]
    wanted = options.classes
    if wanted is not None:
        known = dict(zip(wnids, numbers, strict=True))
        wanted = tuple(known.get(str(choice), choice) for choice in wanted)
    positions = choose_classes([names[wnid] for wnid in wnids], wanted, numbers)
    chosen = [wnids[position] for position in positions]
    return assemble(
        entry.id,
        found.images,
        [names[wnid] for wnid in chosen],
        _listing(training_files(found, chosen)),
        _listing(validation_files(found, chosen)),
        replace(options, classes=None),
    )


def _listing(files: Sequence[Sequence[str]]) -> Listing:
    counts = [len(of_class) for of_class in files]
    labels = np.repeat(np.arange(len(files), dtype=np.int64), counts)
    return Listing([file for of_class in files for file in of_class], labels)


CITATION = (
    "O. Russakovsky, J. Deng, H. Su, J. Krause, S. Satheesh, S. Ma, Z. Huang, A. Karpathy, "
    "A. Khosla, M. Bernstein, A. C. Berg, L. Fei-Fei. ImageNet Large Scale Visual Recognition "
    "Challenge. IJCV 115, 211-252, 2015."
)
TERMS = "non-commercial research and education; the photographs belong to their authors"
HOMEPAGE = "https://www.image-net.org/challenges/LSVRC/2012/"
BY_HAND = (
    "ImageNet needs an account: log in at https://www.image-net.org/download-images.php, fetch "
    "ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz, and "
    "unpack them to imagenet/train/n01440764/*.JPEG (a folder for each of the 1,000 archives "
    "inside), imagenet/val/*.JPEG and imagenet/ILSVRC2012_devkit_t12/ in the root. Validation "
    "images in class folders, as torchvision sorts them, will do without the kit; so will "
    "Kaggle's archive, imagenet-object-localization-challenge.zip, unpacked in imagenet/."
)

ENTRY = CatalogEntry(
    id="imagenet",
    title="ImageNet (ILSVRC 2012)",
    classes=CLASSES,
    reader=read,
    description="1,281,167 photographs to train on; the 50,000 official validation images are "
    "the test part. Classes are numbered from 0 by WordNet id.",
    citation=CITATION,
    terms=TERMS,
    homepage=HOMEPAGE,
    images={"train": 1_281_167, "test": CLASSES * VALIDATION_IMAGES_PER_CLASS},
    folder=FOLDERS[0],
    other_folders=FOLDERS[1:],
    is_in=is_imagenet,
    by_hand=BY_HAND,
    samples_per_class=1200.0,
    in_imagenet="its images are ImageNet's",
    is_imagenet=True,
)
