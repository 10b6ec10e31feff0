"""ImageNet (ILSVRC 2012), in its common layouts. Its validation images are the test part."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pcsearch.data.classes import choose_classes
from pcsearch.data.dataset import CatalogEntry, DataOptions, Dataset
from pcsearch.data.layouts.matlab import read_mat
from pcsearch.data.layouts.official import Listing, assemble, how_to_get, where_else
from pcsearch.data.layouts.text_tables import read_table
from pcsearch.errors import UserError
from pcsearch.io import read_text

CLASSES = 1000
FOLDERS = ("imagenet", "ILSVRC2012", "ILSVRC")
_IMAGES_IN = (".", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
_WNID = re.compile(r"n\d{8}")
_ENDINGS = (".jpeg", ".jpg", ".png")
_NAMES = ("LOC_synset_mapping.txt", "synset_words.txt")
_SOLUTION = "LOC_val_solution.csv"
_DEVKIT = ("ILSVRC2012_devkit_t12/data", "devkit/data")
_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_NUMBER = re.compile(r"_val_(\d{8})\.")


@dataclass(frozen=True)
class ImageNetFolder:
    """ImageNet on disk.

    Attributes:
        images: the folder that holds train/ and val/.
        tables: that folder and those above it within the root; each may hold the tables of class
            names and validation labels.
        wnids: the WordNet ids of the class folders in train/, sorted.
    """

    images: Path
    tables: tuple[Path, ...]
    wnids: tuple[str, ...]

    def table(self, *names: str) -> Path | None:
        """The first of these files that exists."""
        for folder in self.tables:
            for name in names:
                if (folder / name).is_file():
                    return folder / name
        return None


def find_imagenet(root: Path) -> ImageNetFolder | None:
    """ImageNet in `root`, or in a sub-folder with a usual name; None if it is not there.

    Raises:
        UserError: it is there, but not unpacked or without its validation images.
    """
    for base in (*(root / name for name in FOLDERS), root):
        if found := _imagenet_in(base, root):
            return found
    return None


def is_imagenet(folder: Path) -> bool:
    """Whether this folder is ImageNet, complete or not."""
    try:
        return _imagenet_in(folder, folder) is not None
    except UserError:
        return True


def _imagenet_in(base: Path, root: Path) -> ImageNetFolder | None:
    for inner in _IMAGES_IN:
        images = base / inner if inner != "." else base
        if not (images / "train").is_dir():
            continue
        names = _names_in(images / "train")
        wnids = tuple(name for name in names if _WNID.fullmatch(name))
        if not wnids:
            _refuse_archives(images / "train", names)
            continue
        if not (images / "val").is_dir():
            raise UserError(
                f"{images} holds train/, but no val/: unpack ILSVRC2012_img_val.tar into "
                f"{images / 'val'}. Its images are the test part."
            )
        above = images.relative_to(root).parts
        tables = (images, *images.parents[: len(above)])
        return ImageNetFolder(images, tables, wnids)
    return None


def class_names(found: ImageNetFolder) -> dict[str, str]:
    """WordNet id → the first of the class's names; the id itself without a table.

    Classes that share a name (crane, the bird and the machine) have their ids appended.
    """
    words = _words(found)
    first = {wnid: words.get(wnid, wnid).split(",")[0].strip() for wnid in found.wnids}
    counts: dict[str, int] = {}
    for name in first.values():
        counts[name] = counts.get(name, 0) + 1
    return {wnid: name if counts[name] == 1 else f"{name} ({wnid})" for wnid, name in first.items()}


def absent_classes(found: ImageNetFolder) -> tuple[str, ...]:
    """The sorted WordNet ids of known classes without a folder in train/.

    They are known from packed archives in train/, class folders in val/ and the table of names.

    Raises:
        UserError: the table of names cannot be read.
    """
    packed = (name.removesuffix(".tar") for name in _names_in(found.images / "train"))
    known = {*packed, *_names_in(found.images / "val"), *_words(found)}
    return tuple(sorted(filter(_WNID.fullmatch, known - set(found.wnids))))


def strange_classes(found: ImageNetFolder) -> tuple[str, ...]:
    """The WordNet ids of class folders in val/ that train/ lacks, sorted."""
    in_val = filter(_WNID.fullmatch, _names_in(found.images / "val"))
    return tuple(sorted(set(in_val) - set(found.wnids)))


def _words(found: ImageNetFolder) -> dict[str, str]:
    """WordNet id → the names of the class; empty without a table."""
    if path := found.table(*_NAMES):
        return read_table(path)
    if path := found.table(*(f"{folder}/meta.mat" for folder in _DEVKIT)):
        synsets = read_mat(path)
        ids, words = synsets.texts("synsets.WNID"), synsets.texts("synsets.words")
        # inner nodes of WordNet follow the classes; they have no images
        numbers = synsets.numbers("synsets.ILSVRC2012_ID").tolist()
        rows = zip(ids, words, numbers, strict=True)
        return {wnid: names for wnid, names, number in rows if number <= CLASSES}
    return {}


def training_files(found: ImageNetFolder, wnids: Sequence[str]) -> list[list[str]]:
    """The training images of each class, relative to `found.images`, sorted."""
    return [_images_in(found.images, f"train/{wnid}") for wnid in wnids]


def validation_files(found: ImageNetFolder, wnids: Sequence[str]) -> list[list[str]]:
    """The official validation images of each class, relative to `found.images`, sorted.

    They are in class folders, or in one folder with a table: Kaggle's LOC_val_solution.csv or the
    development kit's ground truth.

    Raises:
        UserError: the table is missing or does not fit the images.
    """
    folder = found.images / "val"
    if any((folder / wnid).is_dir() for wnid in wnids):
        return [_images_in(found.images, f"val/{wnid}") for wnid in wnids]
    files = _images_in(found.images, "val")
    if not files:
        raise UserError(
            f"{folder} holds no images of {wnids[0]}: unpack ILSVRC2012_img_val.tar into it."
        )
    if path := found.table(_SOLUTION):
        wnid_of = _kaggle_labels(path, files)
    elif path := found.table(*(f"{folder}/{_TRUTH}" for folder in _DEVKIT)):
        wnid_of = _devkit_labels(path, files)
    else:
        raise UserError(
            f"{folder} holds images, but their classes are unknown: put {_SOLUTION} or the "
            f"development kit's folder {_DEVKIT[0].partition('/')[0]} in {found.images}, or sort "
            "the images into folders named by WordNet id."
        )
    by_class: dict[str, list[str]] = {wnid: [] for wnid in wnids}
    for file, wnid in zip(files, wnid_of, strict=True):
        if wnid in by_class:
            by_class[wnid].append(file)
    return list(by_class.values())


def _kaggle_labels(path: Path, files: Sequence[str]) -> list[str]:
    """`ImageId,PredictionString` lines; a prediction begins with the WordNet id."""
    try:
        lines = read_text(path, encoding="utf-8-sig").splitlines()
        wnid_of = {row[0]: row[1].split()[0] for row in csv.reader(lines) if row}
    except (OSError, UnicodeDecodeError, csv.Error, IndexError) as error:
        raise UserError(f"{path} cannot be read ({error}): download it again.") from error
    stems = [Path(file).stem for file in files]
    unknown = [stem for stem in stems if stem not in wnid_of]
    if unknown:
        raise UserError(
            f"{path} has no line for {unknown[0]} and {len(unknown) - 1} more images: download it "
            "again."
        )
    return [wnid_of[stem] for stem in stems]


def _devkit_labels(path: Path, files: Sequence[str]) -> list[str]:
    """Line k holds the class number of ILSVRC2012_val_k; meta.mat maps numbers to ids."""
    synsets = read_mat(path.parent / "meta.mat")
    ids = synsets.numbers("synsets.ILSVRC2012_ID").tolist()
    wnid_of = dict(zip(ids, synsets.texts("synsets.WNID"), strict=True))
    try:
        lines = [int(line) for line in read_text(path, encoding="ascii").split()]
        return [wnid_of[lines[_image_number(file) - 1]] for file in files]
    except (OSError, ValueError, LookupError) as error:
        raise UserError(
            f"{path} does not fit the {len(files)} images of the validation folder: "
            "unpack the development kit and the images again."
        ) from error


def _image_number(file: str) -> int:
    match = _NUMBER.search(file)
    if match is None or match[1] == "0" * 8:
        raise ValueError(f"{file} has no number")
    return int(match[1])


def _images_in(root: Path, folder: str) -> list[str]:
    names = _names_in(root / folder)
    return [
        f"{folder}/{name}"
        for name in names
        if name.lower().endswith(_ENDINGS) and not name.startswith(".")
    ]


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}.") from error


def _refuse_archives(folder: Path, names: Sequence[str]) -> None:
    if archive := next((name for name in names if _WNID.fullmatch(name.removesuffix(".tar"))), ""):
        raise UserError(
            f"{folder} holds one archive a class, such as {archive}: unpack each into a folder of "
            f"its name, for example {folder / archive.removesuffix('.tar')}."
        )


VALIDATION_IMAGES_PER_CLASS = 50


def read(options: DataOptions) -> Dataset:
    """All 1,000 classes, ordered by WordNet id and numbered from 0 in that order.

    These are the numbers of torchvision's pretrained models. An incomplete ImageNet is read only if
    `data.classes` chooses from it. Then the numbers count the folders in train/.

    Raises:
        UserError: ImageNet is missing or incomplete, or `data.classes` is wrong.
    """
    found = imagenet_folder(ENTRY, options.root)
    if options.classes is None:
        _refuse_part(found)
    return read_classes(ENTRY, found, found.wnids, options)


def imagenet_folder(entry: CatalogEntry, root: Path) -> ImageNetFolder:
    """ImageNet in `root`.

    Raises:
        UserError: it is not there. The message says how to get `entry`.
    """
    found = find_imagenet(root)
    if found is None:
        gone = "" if root.is_dir() else f", and there is no folder {root}"
        raise UserError(
            f"{ENTRY.title} is not at {root / FOLDERS[0]}{gone}. "
            + (
                where_else(entry, root)
                or f"{how_to_get(entry, root)}. If it is elsewhere, set data.root to the folder "
                "that holds its train/ and val/."
            )
        )
    return found


def _refuse_part(found: ImageNetFolder) -> None:
    """Refuse a half-unpacked archive: fewer classes are easier than ImageNet."""
    train = found.images / "train"
    remedies = (
        "unpack the rest, choose existing classes with data.classes, or, if this is a set of your "
        f"own, use the dataset images (--images {found.images})"
    )
    if len(found.wnids) < CLASSES:
        absent = absent_classes(found)
        lacking = f" (it lacks {absent[0]}, for example)" if absent else ""
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
    """The chosen ones of the classes `wnids`. Only their folders are read.

    `options.classes` may hold names, WordNet ids, and numbers (positions in `found.wnids`).

    Raises:
        UserError: a class has no images, or `options.classes` has a mistake.
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
    "ImageNet needs an account: log in at https://www.image-net.org/download-images.php . Fetch "
    "ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz. Unpack "
    "them in the root to imagenet/train/n01440764/*.JPEG (a folder for each of the 1,000 archives "
    "inside), imagenet/val/*.JPEG and imagenet/ILSVRC2012_devkit_t12/. The kit is not needed if "
    "the validation images are in class folders, as torchvision sorts them. Nor is it for Kaggle's "
    "archive, imagenet-object-localization-challenge.zip, unpacked in imagenet/."
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
