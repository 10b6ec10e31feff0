"""Verifying a dataset: every image decoded, counted and compared with all others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pcsearch.data.catalog import DATASETS, open_dataset
from pcsearch.data.dataset import Dataset
from pcsearch.data.entry import CatalogEntry
from pcsearch.data.options import DataOptions
from pcsearch.data.prepared import THUMBNAILS
from pcsearch.data.verify.listing import Images, images_of
from pcsearch.data.verify.report import ClassBalance, ImageProblem, PartSize, VerifyReport
from pcsearch.data.verify.scan import MISSING, Scanned, cpus, scan
from pcsearch.data.verify.twins import clusters_of, duplicates_in
from pcsearch.data.verify.verdict import verdict

Progress = Callable[[str, int, int], None]

_FEW = 10
_BOX_TOLERANCE = 1.0  # pixels


@dataclass(frozen=True)
class Inspected:
    """A dataset with what is known of each of its images, training images first."""

    dataset: Dataset
    options: DataOptions
    scanned: list[Scanned]
    seconds: float


def inspect(
    dataset_id: str,
    options: DataOptions,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Inspected:
    """Decode all images of all parts; of a half-unpacked dataset, those that are there.

    Args:
        dataset_id: the catalogue's id.
        options: where the dataset is, and which classes to look at.
        workers: threads that decode; default: all CPUs.
        progress: called from this thread with what is being looked at (`training images`, `test
            images`, before them `THUMBNAILS` where a test part is held out), how many are done,
            and how many there are.

    Raises:
        UserError: the dataset cannot be opened; what its reader says.
    """
    began = time.monotonic()
    looking = None if progress is None else partial(progress, THUMBNAILS)
    dataset = open_dataset(dataset_id, replace(options, half_unpacked="list", progress=looking))
    scanned = _scan_all(dataset, workers or cpus(), progress)
    return Inspected(dataset, options, scanned, time.monotonic() - began)


def verify(
    dataset_id: str,
    options: DataOptions,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """`report_on` what `inspect` finds."""
    return report_on(inspect(dataset_id, options, workers=workers, progress=progress))


def report_on(inspected: Inspected) -> VerifyReport:
    """Compare the images with each other and with the official numbers; say what is wrong."""
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
    problems, warnings = verdict(
        entry, dataset.num_classes, parts, missing, undecodable, duplicates, balance, boxes
    )
    return VerifyReport(
        dataset=dataset.id,
        title=entry.title,
        classes=dataset.num_classes,
        classes_in_all=entry.classes,
        parts=parts,
        missing=missing,
        undecodable=undecodable,
        oddities=dict(Counter(kind for one in scanned for kind in one.oddities)),
        boxes_outside=boxes,
        duplicates=duplicates,
        balance=balance,
        problems=problems,
        warnings=warnings,
        seconds=inspected.seconds + time.monotonic() - began,
    )


def _scan_all(dataset: Dataset, workers: int, progress: Progress | None) -> list[Scanned]:
    found: list[Scanned] = []
    for what, part in (("training images", dataset.train), ("test images", dataset.test)):
        if part is not None:
            total = len(part.labels)

            def told(done: int, what: str = what, total: int = total) -> None:
                if progress is not None:
                    progress(what, done, total)

            found += scan(part.images, workers, told)
    return found


def _problem(images: Images, image: int, reason: str) -> ImageProblem:
    return ImageProblem(images.parts[image], images.name(image), reason)


def _sizes(dataset: Dataset, entry: CatalogEntry, images: Images) -> tuple[PartSize, ...]:
    """Official numbers are of all classes: there is none for some of them."""
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


def _boxes_outside(images: Images, scanned: list[Scanned]) -> list[ImageProblem]:
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
