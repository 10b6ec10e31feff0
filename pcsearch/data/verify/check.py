"""Verify a dataset: decode every image, count them, and compare each with all others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pcsearch.cpus import usable_cpus
from pcsearch.data.catalog import DATASETS, open_dataset
from pcsearch.data.dataset import CatalogEntry, DataOptions, Dataset, Int64Array, Part
from pcsearch.data.duplicates import FINGERPRINT_BYTES, near_duplicates
from pcsearch.data.prepared import THUMBNAILS
from pcsearch.data.verify.pixels import LEAST_CONTRAST, distinct_files, range_faults
from pcsearch.data.verify.report import (
    ClassBalance,
    Duplicate,
    ImageProblem,
    PartSize,
    VerifyReport,
    verdict,
)
from pcsearch.data.verify.scan import MISSING, Scanned, scan

_ImageRef = tuple[Part, int]


@dataclass(frozen=True)
class AllImages:
    """m images: those of the training part, then those of the test part.

    Attributes:
        places: each image's part and its row there.
        parts: each image's use: `train`, `val` or `test`.
        labels: [m] class numbers.
        class_names: N names.
    """

    places: tuple[_ImageRef, ...]
    parts: tuple[str, ...]
    labels: Int64Array
    class_names: tuple[str, ...]

    def name(self, image: int) -> str:
        """The image's name in messages."""
        part, row = self.places[image]
        return part.images.name(row)

    def label(self, image: int) -> str:
        """The name of its class."""
        return self.class_names[int(self.labels[image])]


def images_of(dataset: Dataset) -> AllImages:
    """The images of all parts."""
    in_train = len(dataset.train.labels)
    names = np.full(in_train, "train", dtype=object)
    if dataset.given_val is not None:
        names[dataset.given_val] = "val"
    places = [(dataset.train, row) for row in range(in_train)]
    labels = dataset.train.labels
    if dataset.test is not None:
        in_test = len(dataset.test.labels)
        places += [(dataset.test, row) for row in range(in_test)]
        names = np.concatenate([names, np.full(in_test, "test", dtype=object)])
        labels = np.concatenate([labels, dataset.test.labels])
    return AllImages(tuple(places), tuple(names.tolist()), labels, dataset.class_names)


_ORDER = {"train": 0, "val": 1, "test": 2}


def clusters_of(scanned: list[Scanned]) -> Int64Array:
    """[m] cluster numbers: the smallest image with the same bytes or the same picture."""
    clusters = np.arange(len(scanned), dtype=np.int64)
    readable = np.array([i for i, one in enumerate(scanned) if one.fingerprint is not None], int)
    rows = [one.fingerprint for one in scanned if one.fingerprint is not None]
    prints = np.array(rows, dtype=np.uint8).reshape(len(rows), FINGERPRINT_BYTES)
    clusters[readable] = readable[near_duplicates(prints)]
    return clusters


def duplicates_in(
    clusters: Int64Array, scanned: list[Scanned], images: AllImages
) -> list[Duplicate]:
    """Every image of a cluster except the first, paired with an earlier image.

    The partner is, in this order of preference: one in another part with the same bytes, one in
    another part, one with the same bytes, the first. Leaking pairs come first.
    """
    order = np.argsort(clusters, kind="stable")
    _, starts = np.unique(clusters[order], return_index=True)
    pairs: list[Duplicate] = []
    for cluster in np.split(order, starts[1:]):
        if len(cluster) > 1:
            members = sorted(cluster.tolist(), key=lambda i: (_ORDER[images.parts[i]], i))
            pairs += _pairs(members, scanned, images)
    return sorted(pairs, key=lambda pair: (not pair.leaks, pair.same_label))


def _pairs(members: list[int], scanned: list[Scanned], images: AllImages) -> list[Duplicate]:
    first_in: dict[str, int] = {}  # part → its first image
    first_with: dict[bytes, dict[str, int]] = {}  # digest → part → its first image with that digest
    pairs = []
    for image in members:
        part = images.parts[image]
        same_bytes = first_with.setdefault(scanned[image].digest, {})
        earlier = [
            *[i for p, i in same_bytes.items() if p != part],
            *[i for p, i in first_in.items() if p != part],
            *same_bytes.values(),
            *first_in.values(),
        ]
        if earlier:
            pairs.append(_pair(earlier[0], image, scanned, images))
        same_bytes.setdefault(part, image)
        first_in.setdefault(part, image)
    return pairs


def _pair(first: int, second: int, scanned: list[Scanned], images: AllImages) -> Duplicate:
    exact = scanned[first].digest == scanned[second].digest
    return Duplicate(
        "exact" if exact else "near",
        (images.parts[first], images.parts[second]),
        (images.name(first), images.name(second)),
        (images.label(first), images.label(second)),
    )


ScanProgress = Callable[[str, int, int], None]

_FEW = 10
_BOX_TOLERANCE = 1.0  # pixels


@dataclass(frozen=True)
class Inspected:
    """A dataset, and the facts about each of its images, training images first."""

    dataset: Dataset
    options: DataOptions
    scanned: list[Scanned]
    seconds: float


def inspect(
    dataset_id: str,
    options: DataOptions,
    *,
    workers: int | None = None,
    progress: ScanProgress | None = None,
) -> Inspected:
    """Decode all images of all parts; in a half-unpacked dataset, the existing ones.

    Args:
        dataset_id: the catalogue's id.
        options: where the dataset is, and which classes to check.
        workers: threads that decode; default: all CPUs.
        progress: called from this thread with the current step, the number of images done and of
            all images. Steps are `THUMBNAILS` (if a test part is held out), `training images` and
            `test images`.

    Raises:
        UserError: the dataset cannot be opened, with its reader's message.
    """
    began = time.monotonic()
    looking = None if progress is None else partial(progress, THUMBNAILS)
    dataset = open_dataset(dataset_id, replace(options, half_unpacked="list", progress=looking))
    scanned = _scan_all(dataset, workers or usable_cpus(), progress)
    return Inspected(dataset, options, scanned, time.monotonic() - began)


def verify_dataset(
    dataset_id: str,
    options: DataOptions,
    *,
    workers: int | None = None,
    progress: ScanProgress | None = None,
) -> VerifyReport:
    """`inspect` a dataset and `report_on` it."""
    return report_on(inspect(dataset_id, options, workers=workers, progress=progress))


def report_on(inspected: Inspected) -> VerifyReport:
    """Compare the images with each other and with the official numbers; list what is wrong."""
    began = time.monotonic()
    dataset, scanned = inspected.dataset, inspected.scanned
    entry = DATASETS[dataset.id]
    images = images_of(dataset)
    unreadable = [(i, one.reason) for i, one in enumerate(scanned) if one.reason is not None]
    missing = tuple(_problem(images, i, why) for i, why in unreadable if why == MISSING)
    undecodable = tuple(_problem(images, i, why) for i, why in unreadable if why != MISSING)
    duplicates = tuple(duplicates_in(clusters_of(scanned), scanned, images))
    parts = _sizes(dataset, entry, images)
    balance = _balance(dataset, entry)
    boxes = tuple(_boxes_outside(images, scanned))
    flat = [i for i, one in enumerate(scanned) if one.contrast < LEAST_CONTRAST]
    low = [(i, scanned[i].contrast) for i in flat if scanned[i].contrast > 0]
    report = VerifyReport(
        dataset=dataset.id,
        title=entry.title,
        classes=dataset.num_classes,
        classes_in_all=entry.classes,
        parts=parts,
        missing=missing,
        undecodable=undecodable,
        oddities=dict(Counter(kind for one in scanned for kind in one.oddities)),
        boxes_outside=boxes,
        one_colour=tuple(
            _problem(images, i, "one colour") for i in flat if scanned[i].contrast == 0
        ),
        low_contrast=tuple(
            _problem(images, i, f"its values differ by {most} of 255 at most") for i, most in low
        ),
        distinct_files=tuple(distinct_files(images.labels, dataset.class_names, scanned)),
        duplicates=duplicates,
        balance=balance,
        problems=(),
        warnings=(),
        seconds=inspected.seconds + time.monotonic() - began,
    )
    names = [images.name(i) for i in range(len(scanned))]
    faults = range_faults(names, [part == "test" for part in images.parts], scanned)
    problems, warnings = verdict(entry, report, faults, dataset.notes)
    return replace(report, problems=problems, warnings=warnings)


def _scan_all(dataset: Dataset, workers: int, progress: ScanProgress | None) -> list[Scanned]:
    found: list[Scanned] = []
    for what, part in (("training images", dataset.train), ("test images", dataset.test)):
        if part is not None:
            total = len(part.labels)

            def told(done: int, what: str = what, total: int = total) -> None:
                if progress is not None:
                    progress(what, done, total)

            found += scan(part.images, workers, told)
    return found


def _problem(images: AllImages, image: int, reason: str) -> ImageProblem:
    return ImageProblem(images.parts[image], images.name(image), reason)


def _sizes(dataset: Dataset, entry: CatalogEntry, images: AllImages) -> tuple[PartSize, ...]:
    """The parts' sizes. Official numbers exist only for the whole set of classes."""
    counts = Counter(images.parts)
    whole = entry.classes is None or dataset.num_classes == entry.classes
    expected = dict(entry.images) if whole else {}
    if dataset.given_val is None and "val" in expected and "train" in expected:
        expected["train"] += expected.pop("val")
    names = [part for part in ("train", "val", "test") if counts[part] or part in expected]
    return tuple(PartSize(part, counts[part], expected.get(part)) for part in names)


def _balance(dataset: Dataset, entry: CatalogEntry) -> ClassBalance:
    counts = np.bincount(dataset.train.labels, minlength=dataset.num_classes)
    few = [(int(counts[i]), dataset.class_names[i]) for i in np.flatnonzero(counts < _FEW)]
    return ClassBalance(
        least=int(counts.min()),
        median=float(np.median(counts)),
        mean=float(counts.mean()),
        most=int(counts.max()),
        published=entry.samples_per_class,
        few=tuple((name, count) for count, name in sorted(few)),
    )


def _boxes_outside(images: AllImages, scanned: list[Scanned]) -> list[ImageProblem]:
    found = []
    for image, (part, row) in enumerate(images.places):
        if part.boxes is None or scanned[image].reason is not None:
            continue
        x, y, width, height = (float(value) for value in part.boxes[row])
        across, down = scanned[image].size
        over = max(-x, -y, x + width - across, y + height - down)
        if not over <= _BOX_TOLERANCE or not (width > 0 and height > 0):
            reason = f"box {x:g}, {y:g}, {width:g} x {height:g} in an image of {across} x {down}"
            found.append(_problem(images, image, reason))
    return found
