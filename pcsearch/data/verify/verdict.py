"""What follows from the findings: problems and warnings, each one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from pcsearch.data.entry import CatalogEntry
from pcsearch.data.verify.report import ClassBalance, Duplicate, ImageProblem, PartSize

_BALANCE_TOLERANCE = 0.1


def verdict(
    entry: CatalogEntry,
    classes: int,
    parts: Sequence[PartSize],
    missing: Sequence[ImageProblem],
    undecodable: Sequence[ImageProblem],
    duplicates: Sequence[Duplicate],
    balance: ClassBalance,
    boxes_outside: Sequence[ImageProblem],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(problems, warnings) in sentences, the gravest first."""
    problems: list[str] = []
    for found, what in ((missing, "missing"), (undecodable, "undecodable")):
        if found:
            problems.append(f"{_images(len(found))} {what} ({found[0].name}: {found[0].reason}).")
    for part in parts:
        if part.expected is not None and part.images != part.expected:
            problems.append(
                f"{part.part} has {part.images:,} images, officially {part.expected:,}."
            )
    warnings: list[str] = []
    if entry.classes is not None and classes != entry.classes:
        warnings.append(
            f"{classes} of {entry.classes} classes are there: the official numbers of images "
            "could not be compared."
        )
    duplicated, others = _duplicates(duplicates)
    warnings += others
    warnings += _classes(entry, classes, balance)
    if boxes_outside:
        first = boxes_outside[0]
        warnings.append(
            f"{_images(len(boxes_outside))} with a box that reaches outside ({first.name}: "
            f"{first.reason})."
        )
    return (*problems, *duplicated), tuple(warnings)


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
