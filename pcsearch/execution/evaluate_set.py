"""The kept networks of a study on a second, labelled set of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pcsearch.arms import CONTROL
from pcsearch.data.labelled_set import LabelledSet, MatchedClasses, match_classes, open_labelled
from pcsearch.errors import UserError
from pcsearch.execution.kept_networks import KeptStudy
from pcsearch.execution.predict import Progress, unknown_classes
from pcsearch.printable import encodable
from pcsearch.reporting.formatting import label, points
from pcsearch.reporting.proportions import PairedDifference, Share, paired_difference, share
from pcsearch.training.inference import Answer, classify, deep_pixels

_Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ArmOnSet:
    """A network on the set: its accuracy over all images, and for each of the set's `classes`."""

    arm: str
    trial: str
    accuracy: Share
    per_class: tuple[Share, ...]


@dataclass(frozen=True)
class ArmsOnSet:
    """The difference of two networks on the same images: `first` minus `second`."""

    first: str
    second: str
    difference: PairedDifference

    def sentence(self) -> str:
        one, other, found = label(self.first), label(self.second), self.difference
        ends = f"[{points(found.low, 1)}, {points(found.high, 1)}]"
        return (
            f"{one} − {other}: {points(found.points, 1)} points {ends}. "
            f"Images that {one} alone knows: {found.only_first:,}; {other} alone: "
            f"{found.only_second:,} (McNemar's exact test: p = {found.p_value:.2g})."
        )


@dataclass(frozen=True)
class SetEvaluation:
    """How the networks of a study do on a set.

    Attributes:
        study: Its id.
        set: The folder or manifest.
        part: The part of it that was taken, such as `test`; "" for all.
        images: Images that were measured.
        classes: The network's classes that occur in the set.
        num_classes: N, among which the networks choose.
        arms: One result a network.
        differences: Each other network against the control, or against the first without it.
        unreadable: Path and reason of each image that could not be read; they are not counted.
        notes: What a reader needs to judge the numbers.
    """

    study: str
    set: str
    part: str
    images: int
    classes: tuple[str, ...]
    num_classes: int
    arms: tuple[ArmOnSet, ...]
    differences: tuple[ArmsOnSet, ...]
    unreadable: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "set": self.set,
            "part": self.part or None,
            "images": self.images,
            "num_classes": self.num_classes,
            "arms": {
                one.arm: {
                    "trial": one.trial,
                    "accuracy": one.accuracy.to_json(),
                    "per_class": {
                        name: found.to_json()
                        for name, found in zip(self.classes, one.per_class, strict=True)
                    },
                }
                for one in self.arms
            },
            "differences": [
                {"first": one.first, "second": one.second, **one.difference.to_json()}
                for one in self.differences
            ],
            "unreadable": [{"file": file, "error": error} for file, error in self.unreadable],
            "notes": list(self.notes),
        }


def evaluate_set(kept: KeptStudy, path: str, progress: Progress) -> SetEvaluation:
    """Measure all networks of `kept` on the labelled images of a folder or a manifest.

    Args:
        kept: The networks. They have the same classes and preprocessing.
        path: See `open_labelled`.
        progress: Called with what is counted, the number done and the total.

    Raises:
        UserError: there is no such set, none of its classes is one of the networks', none of its
            images can be read, or weights cannot be used.
    """
    facts = kept.networks[0].facts
    if any(replace(one.facts, trial="", config={}) != _shared(kept) for one in kept.networks):
        raise UserError(
            f"the networks of {kept.study} differ in classes or preprocessing, so its weights are "
            "not all of this run; name one with --arm, or restore the run from a copy"
        )
    given = open_labelled(Path(path))
    classes = match_classes(given.labels, facts.class_names)
    if not classes.number:
        known = f'"{facts.class_names[0]}" to "{facts.class_names[-1]}"'
        raise UserError(
            f"{path} has no class of the network, which knows {len(facts.class_names):,}, {known}. "
            f"{unknown_classes(classes, 'classes')}"
        )
    rows = [at for at, name in enumerate(given.labels) if name in classes.number]
    modules = [one.load() for one in kept.networks]
    answers, hits = [], []
    labels = np.array([classes.number[given.labels[at]] for at in rows], dtype=np.int64)
    found = classify(modules, facts, [given.files[at] for at in rows])
    for done, (answer, number) in enumerate(zip(found, labels.tolist(), strict=True), 1):
        if answer.probabilities is not None:
            hits.append(answer.probabilities.argmax(axis=1) == number)
        answers.append(replace(answer, probabilities=None))
        progress("images", done, len(rows))
    read = np.array([answer.error is None for answer in answers])
    if not read.any():
        raise UserError(
            f"none of the {len(rows):,} images of {path} can be read: {_first(answers)}"
        )
    return _result(kept, given, path, classes, labels[read], np.array(hits).T, answers)


def _shared(kept: KeptStudy) -> object:
    return replace(kept.networks[0].facts, trial="", config={})


def _first(answers: Sequence[Answer]) -> str:
    return f"{encodable(str(answers[0].file))}: {answers[0].error}"


def _result(
    kept: KeptStudy,
    given: LabelledSet,
    path: str,
    classes: MatchedClasses,
    labels: npt.NDArray[np.int64],
    hits: _Bools,
    answers: Sequence[Answer],
) -> SetEvaluation:
    """Accuracies and differences from labels [I] and hits [K, I] of K networks."""
    names, present = kept.networks[0].facts.class_names, np.unique(labels).tolist()
    arms = tuple(
        ArmOnSet(
            one.arm,
            one.facts.trial,
            share(int(own.sum()), len(own)),
            tuple(share(int(own[labels == n].sum()), int((labels == n).sum())) for n in present),
        )
        for one, own in zip(kept.networks, hits, strict=True)
    )
    order = [one.arm for one in kept.networks]
    base = order.index(CONTROL) if CONTROL in order else 0
    differences = tuple(
        ArmsOnSet(
            order[at],
            order[base],
            paired_difference(
                int((hits[at] & ~hits[base]).sum()),
                int((~hits[at] & hits[base]).sum()),
                len(labels),
            ),
        )
        for at in range(len(order))
        if at != base
    )
    unreadable = tuple(
        (encodable(str(one.file)), one.error) for one in answers if one.error is not None
    )
    return SetEvaluation(
        study=kept.study,
        set=encodable(path),
        part=given.part,
        images=len(labels),
        classes=tuple(names[number] for number in present),
        num_classes=len(names),
        arms=arms,
        differences=differences,
        unreadable=unreadable,
        notes=tuple(_notes(classes, given, answers, len(arms))),
    )


def _notes(
    classes: MatchedClasses, given: LabelledSet, answers: Sequence[Answer], networks: int
) -> Iterator[str]:
    if given.part:
        yield f"The set has parts; only its {given.part} images were measured."
    if classes.unknown:
        yield unknown_classes(classes, "classes")
    bad = [answer for answer in answers if answer.error is not None]
    if bad:
        yield (
            f"{len(bad):,} of {len(answers):,} images cannot be read and are not counted; the "
            f"first is {_first(bad)}"
        )
    if fault := deep_pixels(answers):
        yield fault
    if networks > 1:
        yield (
            "Each arm is one network here, that of its first confirm seed. So the difference is "
            "one of these networks; the run's own gain is over all its seeds."
        )
