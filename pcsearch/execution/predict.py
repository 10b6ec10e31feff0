"""Predictions of a kept network for image files and folders of the user's own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pcsearch.data.decode import EXTENSIONS
from pcsearch.data.labelled_set import MatchedClasses, match_classes
from pcsearch.data.layouts.passed_over import is_system_folder
from pcsearch.errors import UserError
from pcsearch.execution.kept_networks import KeptStudy
from pcsearch.io import expanded
from pcsearch.printable import encodable
from pcsearch.reporting.proportions import Share, share
from pcsearch.training.inference import classify, deep_pixels

TOP = 5
"""Classes of an answer."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Prediction:
    """The answer to one image.

    Attributes:
        file: Its path, `encodable`.
        top: Up to five classes, likeliest first, each with its probability.
        label: The class that its folder's name means; None if it means none.
        error: Why the image cannot be used; then `top` is empty.
    """

    file: str
    top: tuple[tuple[str, float], ...]
    label: str | None = None
    error: str | None = None

    @property
    def is_right(self) -> bool | None:
        """Whether the likeliest class is the label; None without a label or an answer."""
        return None if self.label is None or not self.top else self.top[0][0] == self.label

    def to_json(self) -> dict[str, Any]:
        top = [{"class": name, "probability": round(p, 6)} for name, p in self.top]
        return {"file": self.file, "top": top, "label": self.label, "error": self.error}


@dataclass(frozen=True)
class ImageFiles:
    """The images that were named.

    Attributes:
        files: Their paths, in the order of the arguments; folders in alphabetical order.
        folders: For each, the name of the folder that may be its label; None for a single file.
    """

    files: tuple[Path, ...]
    folders: tuple[str | None, ...]


def find_images(arguments: Sequence[str]) -> ImageFiles:
    """The image files that arguments name: files, and folders at any depth.

    An image in a folder may have its label there: the name of the first folder below the argument.

    Raises:
        UserError: there is no such file or folder, or no image in a folder.
    """
    files: list[Path] = []
    folders: list[str | None] = []
    for argument in arguments:
        path = expanded(argument)
        if path.is_dir():
            found = sorted(_below(path))
            if not found:
                raise UserError(f"{path} holds no images, also in its sub-folders; check the path")
            files += found
            folders += [_first_folder(path, file) for file in found]
        elif path.exists():
            files.append(path)
            folders.append(None)
        else:
            raise UserError(f"there is no image or folder {path}; check the path")
    return ImageFiles(tuple(files), tuple(folders))


def _below(folder: Path) -> Iterator[Path]:
    for root, names, files in os.walk(folder):
        names[:] = [n for n in names if not n.startswith(".") and not is_system_folder(n)]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS:
                yield Path(root) / name


def _first_folder(root: Path, file: Path) -> str | None:
    parts = file.relative_to(root).parts
    return encodable(parts[0]) if len(parts) > 1 else None


@dataclass(frozen=True)
class LabelCheck:
    """How predictions agree with the labels that folders give.

    Attributes:
        right: The share of images with a label that were classified correctly.
        confusion: (label, prediction) → number of images.
    """

    right: Share
    confusion: Counter[tuple[str, str]]

    def sentence(self) -> str:
        return (
            f"By the names of the folders, {self.right.hits:,} of {self.right.images:,} images are "
            f"right: {self.right.text()} (95 % interval)."
        )

    def rows(self) -> dict[str, dict[str, int]]:
        """Label → prediction → number of images, most frequent first; labels in their order."""
        rows: dict[str, dict[str, int]] = {}
        for (label, found), number in self.confusion.most_common():
            rows.setdefault(label, {})[found] = number
        return dict(sorted(rows.items()))

    def to_json(self) -> dict[str, Any]:
        return {"accuracy": self.right.to_json(), "confusion": self.rows()}


@dataclass(frozen=True)
class Predictions:
    """The answers of one network to the images that were named.

    Attributes:
        study, arm: The study, and the arm whose network answered.
        why: A sentence on which network this is, and why.
        trial: The trial that trained it.
        predictions: One an image, in the order of the arguments.
        labels: The comparison with labels; None without any.
        notes: Sentences on folders that are no class, and on unreadable images.
    """

    study: str
    arm: str
    why: str
    trial: str
    predictions: tuple[Prediction, ...]
    labels: LabelCheck | None
    notes: tuple[str, ...]

    @property
    def unreadable(self) -> int:
        """The number of images that could not be read."""
        return sum(one.error is not None for one in self.predictions)

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "arm": self.arm,
            "trial": self.trial,
            "why": self.why,
            "predictions": [one.to_json() for one in self.predictions],
            "labels": None if self.labels is None else self.labels.to_json(),
            "unreadable": self.unreadable,
            "notes": list(self.notes),
        }


def predict_images(kept: KeptStudy, arguments: Sequence[str], progress: Progress) -> Predictions:
    """The answers of the study's chosen network to image files and folders.

    Args:
        kept: The study; its arm `best` answers.
        arguments: Files and folders.
        progress: Called with what is counted, the number done and the total.

    Raises:
        UserError: there is no such file or folder, or the weights cannot be used.
    """
    images, network = find_images(arguments), kept.network
    names = network.facts.class_names
    folders = [one for one in images.folders if one is not None]
    classes = match_classes(folders, names)
    found, deep = [], []
    answers = classify([network.load()], network.facts, images.files)
    for done, (answer, folder) in enumerate(zip(answers, images.folders, strict=True), 1):
        number = classes.number.get(folder) if folder is not None else None
        top = tuple((names[place], p) for place, p in answer.likeliest(TOP))
        label = None if number is None else names[number]
        found.append(Prediction(encodable(str(answer.file)), top, label, answer.error))
        deep.append(replace(answer, probabilities=None))
        progress("images", done, len(images.files))
    notes = [*_notes(classes, bool(folders), found)]
    if fault := deep_pixels(deep):
        notes.append(fault)
    labels = _check_labels(found)
    return Predictions(
        kept.study, network.arm, kept.why, network.facts.trial, tuple(found), labels, tuple(notes)
    )


def _notes(
    classes: MatchedClasses, any_folders: bool, found: Sequence[Prediction]
) -> Iterator[str]:
    if any_folders and not classes.number:
        yield "No sub-folder is named as a class of the network, so they are not taken as labels."
    elif classes.unknown:
        yield unknown_classes(classes, "folders")
    if unread := sum(one.error is not None for one in found):
        yield f"{unread:,} of {len(found):,} images cannot be read and are not counted."


_NAMED = 5


def unknown_classes(classes: MatchedClasses, what: str) -> str:
    """A sentence on the names that are no class of the network; `what` is folders or classes."""
    named = [f'"{name}"{hint}' for name, hint in list(classes.unknown.items())[:_NAMED]]
    more = len(classes.unknown) - len(named)
    rest = f"; and {more:,} more" if more else ""
    listed = f"{'; '.join(named)}{rest}"
    one = {"folders": "folder", "classes": "class"}[what]
    return (
        f"{len(classes.unknown):,} {what if len(classes.unknown) > 1 else one} of other "
        "names than the network's classes, whose images are not counted: "
        f"{listed}{'' if listed.endswith('?') else '.'}"
    )


def _check_labels(answers: Sequence[Prediction]) -> LabelCheck | None:
    pairs = Counter((one.label, one.top[0][0]) for one in answers if one.label and one.top)
    if not pairs:
        return None
    hits = sum(count for (label, found), count in pairs.items() if label == found)
    return LabelCheck(share(hits, sum(pairs.values())), pairs)
