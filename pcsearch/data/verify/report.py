"""The results of a verification, and the problems and warnings that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pcsearch.data.dataset import CatalogEntry
from pcsearch.data.verify.pixels import ClassFiles


@dataclass(frozen=True)
class PartSize:
    """The size of a part.

    Attributes:
        part: `train`, `val` (given validation images) or `test`.
        images: number of listed images.
        expected: the official number for these classes; None if unknown.
    """

    part: str
    images: int
    expected: int | None


@dataclass(frozen=True)
class ImageProblem:
    """One image and its problem."""

    part: str
    name: str
    reason: str


@dataclass(frozen=True)
class Duplicate:
    """Two images of one picture. A cluster of k images is listed as k - 1 pairs.

    Attributes:
        kind: `exact` (same file content, or same pixels if there are no files) or `near`.
        parts: parts of the first and the second image; (`train`, `test`) is leakage.
        names: names of both images.
        labels: class names of both images; different ones are a contradiction.
    """

    kind: Literal["exact", "near"]
    parts: tuple[str, str]
    names: tuple[str, str]
    labels: tuple[str, str]

    @property
    def same_label(self) -> bool:
        """Whether both images are in the same class."""
        return self.labels[0] == self.labels[1]

    @property
    def leaks(self) -> bool:
        """Whether the images are in different parts."""
        return self.parts[0] != self.parts[1]


@dataclass(frozen=True)
class ClassBalance:
    """Images of a class in training and given validation images together.

    Attributes:
        least, median, mean, most: images a class.
        published: the mean in Table 1 of the paper, None if not listed.
        few: classes with fewer than 10 images and their numbers of images, the smallest first.
    """

    least: int
    median: float
    mean: float
    most: int
    published: float | None
    few: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class VerifyReport:
    """The result of `verify`.

    Attributes:
        dataset, title: the catalogue's id and name.
        classes: number of classes that were checked.
        classes_in_all: the dataset's official number of classes, None if unknown.
        parts: sizes of the parts.
        missing: listed files that do not exist.
        undecodable: files that cannot be read as images.
        oddities: unusual but supported images, counted by kind (`grey`, `CMYK`, `palette`,
            `16-bit`, `alpha`, `EXIF-rotated`, `animated`).
        boxes_outside: images whose box extends beyond the image by more than a pixel.
        one_colour: images whose pixels are all equal.
        low_contrast: images that use a small part of the range of their pixels.
        distinct_files: classes whose kind of file differs from the other classes'.
        duplicates: see `Duplicate`; the leaking ones first.
        balance: images a class.
        problems: sentences on what must be repaired or decided before results can be trusted.
        warnings: sentences on what is worth knowing.
        seconds: time that it took.
    """

    dataset: str
    title: str
    classes: int
    classes_in_all: int | None
    parts: tuple[PartSize, ...]
    missing: tuple[ImageProblem, ...]
    undecodable: tuple[ImageProblem, ...]
    oddities: Mapping[str, int]
    boxes_outside: tuple[ImageProblem, ...]
    one_colour: tuple[ImageProblem, ...]
    low_contrast: tuple[ImageProblem, ...]
    distinct_files: tuple[ClassFiles, ...]
    duplicates: tuple[Duplicate, ...]
    balance: ClassBalance
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    @property
    def images(self) -> int:
        """All listed images."""
        return sum(part.images for part in self.parts)

    @property
    def leaks(self) -> tuple[Duplicate, ...]:
        """The duplicates across parts."""
        return tuple(pair for pair in self.duplicates if pair.leaks)

    @property
    def label_conflicts(self) -> tuple[Duplicate, ...]:
        """The duplicates with two labels."""
        return tuple(pair for pair in self.duplicates if not pair.same_label)

    def to_json(self) -> dict[str, Any]:
        """All fields, and `ok`, as values that `json.dump` takes."""
        fields = asdict(self)
        for pair, found in zip(fields["duplicates"], self.duplicates, strict=True):
            pair |= {"same_label": found.same_label, "leaks": found.leaks}
        return {"ok": self.ok, **fields}


_BALANCE_TOLERANCE = 0.1


def verdict(
    entry: CatalogEntry, report: VerifyReport, faults: Sequence[str], notes: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(problems, warnings) in sentences, the gravest first.

    Args:
        entry: the dataset's entry in the catalogue.
        report: all findings, still without these sentences.
        faults: see `pixels.range_faults`.
        notes: see `Dataset`.
    """
    problems: list[str] = []
    for found, what in ((report.missing, "missing"), (report.undecodable, "undecodable")):
        if found:
            problems.append(f"{_images(len(found))} {what} ({found[0].name}: {found[0].reason}).")
    problems += faults
    for part in report.parts:
        if part.expected is not None and part.images != part.expected:
            problems.append(
                f"{part.part} has {part.images:,} images, officially {part.expected:,}."
            )
    warnings: list[str] = []
    if entry.classes is not None and report.classes != entry.classes:
        warnings.append(
            f"{report.classes} of {entry.classes} classes are there, so the numbers of images "
            "could not be compared with the official ones."
        )
    duplicated, others = _duplicates(report.duplicates)
    warnings += others
    warnings += _classes(entry, report.classes, report.balance)
    if report.boxes_outside:
        first = report.boxes_outside[0]
        warnings.append(
            f"{_images(len(report.boxes_outside))} with a box beyond the image ({first.name}: "
            f"{first.reason})."
        )
    warnings += _pixels(report, faults)
    warnings += [note[:1].upper() + note[1:] for note in notes]
    return (*problems, *duplicated), tuple(warnings)


def _pixels(report: VerifyReport, faults: Sequence[str]) -> list[str]:
    found = []
    if report.one_colour and not faults:  # rescaled images may have more colours
        found.append(
            f"{_images(len(report.one_colour))} of one colour ({report.one_colour[0].name}): "
            "nothing can be learnt from them. Replace or remove them."
        )
    if report.low_contrast and not faults:
        first = report.low_contrast[0]
        found.append(
            f"{_images(len(report.low_contrast))} nearly of one colour ({first.name}: "
            f"{first.reason}). If they look black, scale the values of all images alike."
        )
    if report.distinct_files:
        one = report.distinct_files[0]
        number = len(report.distinct_files)
        found.append(
            f"{number} class{'' if number == 1 else 'es'} with other files than the other classes "
            f"({one.name}: {one.share:.0%} are {one.kind}, elsewhere {one.elsewhere:.0%}): a "
            "network may recognise them by this. Save all images in one format and mode."
        )
    return found


def _duplicates(duplicates: Sequence[Duplicate]) -> tuple[list[str], list[str]]:
    problems: list[str] = []
    warnings: list[str] = []
    for first, second, effect in (
        ("train", "test", "test accuracy is too high"),
        ("val", "test", "test accuracy is too high"),
        ("train", "val", "validation accuracy is too high"),
    ):
        found = [pair for pair in duplicates if pair.parts == (first, second)]
        if found:
            sentence = (
                f"{_images(len(found))} of {second} in {first} too ({found[0].names[1]} is "
                f"{found[0].names[0]}): {effect}."
            )
            (problems if second == "test" else warnings).append(sentence)
    within = [pair for pair in duplicates if not pair.leaks]
    if within:
        exact = sum(pair.kind == "exact" for pair in within)
        warnings.append(
            f"{_images(len(within))} more than once in one part ({exact} exact, "
            f"{len(within) - exact} near; {within[0].names[1]} is {within[0].names[0]})."
        )
    conflicts = [pair for pair in duplicates if not pair.same_label]
    if conflicts:
        (a, b), names = conflicts[0].labels, conflicts[0].names
        problems.append(
            f"{_images(len(conflicts))} with two labels ({names[0]} is {a}, {names[1]} is {b}): "
            "one of them is wrong."
        )
    return problems, warnings


def _classes(entry: CatalogEntry, classes: int, balance: ClassBalance) -> list[str]:
    found = []
    whole = entry.classes is None or classes == entry.classes
    if whole and balance.published is not None:
        off = abs(balance.mean - balance.published) / balance.published
        if off > _BALANCE_TOLERANCE:
            found.append(
                f"{balance.mean:.1f} training images a class; the paper's Table 1 has "
                f"{balance.published:g}."
            )
    if balance.few:
        name, count = balance.few[0]
        number = f"{len(balance.few)} class{'' if len(balance.few) == 1 else 'es'}"
        found.append(f"{number} with fewer than 10 training images ({name}: {count}).")
    return found


def _images(number: int) -> str:
    return f"{number:,} image{'' if number == 1 else 's'}"
