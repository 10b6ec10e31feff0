"""One test image or one class in detail, from the predictions of a study's confirm trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pcsearch.reporting.analysis import Reader, ReadFile, confirm_trials
from pcsearch.reporting.summary_types import Scores
from pcsearch.search.plan import StudyPlan
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Trial
from pcsearch.search.verdicts.gain import mean_std
from pcsearch.training.predictions_file import ImagePredictions

_LIKELIEST = 3


@dataclass(frozen=True)
class Answer:
    """What one network answered to an image.

    Attributes:
        arm, seed: The network's.
        predicted: Its likeliest class.
        probability: Of this class, as it is, without a temperature.
        of_label: Probability of the correct class.
        likeliest: The three likeliest classes with their probabilities.
    """

    arm: str
    seed: int
    predicted: str
    probability: float
    of_label: float
    likeliest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ImageDetails:
    """A test image in one study, with the answers of every confirm training."""

    study: str
    image: str
    label: str
    answers: tuple[Answer, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "answers": [asdict(one) for one in self.answers]}


@dataclass(frozen=True)
class WrongImage:
    """An image of a class that some network took for another.

    `taken_for` has, for each arm, the other classes with the number of trainings that said so.
    """

    image: str
    taken_for: Mapping[str, Mapping[str, int]]

    @property
    def errors(self) -> int:
        return sum(sum(counts.values()) for counts in self.taken_for.values())


@dataclass(frozen=True)
class ClassDetails:
    """A class in one study.

    Attributes:
        study: The study.
        name: The class.
        images: Number of its test images.
        trainings: Number of an arm's confirm trainings with predictions.
        accuracy: Of each arm over seeds, in percent.
        taken_for: Of each arm, how often its images were taken for other classes, the mean over
            trainings, most often first.
        taken_for_it: Of each arm, how often images of other classes were taken for it.
        wrong: Its images that were taken for another class, those of most trainings first.
    """

    study: str
    name: str
    images: int
    trainings: Mapping[str, int]
    accuracy: Mapping[str, Scores | None]
    taken_for: Mapping[str, Mapping[str, float]]
    taken_for_it: Mapping[str, Mapping[str, float]]
    wrong: tuple[WrongImage, ...]

    def to_json(self) -> dict[str, Any]:
        scores = self.accuracy.items()
        return {
            **asdict(self),
            "accuracy": {arm: None if one is None else one.to_json() for arm, one in scores},
            "wrong": [asdict(one) for one in self.wrong],
        }


class StudyPredictions:
    """The names in a study's predictions, and access to these.

    Attributes:
        class_names: N names; empty without predictions.
        image_names: I names of test images; empty without predictions.
        problems: Sentences on files that could not be used.
    """

    def __init__(self, state: CampaignState, study: StudyPlan, read: ReadFile) -> None:
        self._state = state
        self._study = study
        self._reader = Reader(study, read)
        next(self._files(), None)  # the first has the names

    @property
    def study(self) -> str:
        return self._study.id

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._reader.class_names or ()

    @property
    def image_names(self) -> tuple[str, ...]:
        return self._reader.image_names

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._reader.problems))

    def image(self, name: str) -> ImageDetails:
        """A test image with this name."""
        row = self.image_names.index(name)
        answers = []
        label = ""
        for trial, found in self._files():
            label = found.class_names[found.labels[row]]
            answers.append(_answer(trial, found, row))
        return ImageDetails(self.study, name, label, tuple(answers))

    def of_class(self, name: str) -> ClassDetails:
        """A class with this name."""
        index = self.class_names.index(name)
        by_arm: dict[str, list[tuple[int, float]]] = {arm.name: [] for arm in self._study.arms}
        away: dict[str, Counter[str]] = {arm: Counter() for arm in by_arm}
        into: dict[str, Counter[str]] = {arm: Counter() for arm in by_arm}
        wrong: dict[int, dict[str, Counter[str]]] = {}
        rows = np.array([], dtype=np.int64)
        for trial, found in self._files():
            arm, rows = trial.spec.arm, np.flatnonzero(found.labels == index)
            right = found.predicted[rows] == index
            if len(rows):
                by_arm[arm].append((trial.spec.config["seed"], 100 * float(right.mean())))
            for row in rows[~right].tolist():
                other = found.class_names[found.predicted[row]]
                away[arm][other] += 1
                wrong.setdefault(row, {}).setdefault(arm, Counter())[other] += 1
            others = (found.predicted == index) & (found.labels != index)
            into[arm].update(found.class_names[label] for label in found.labels[others])
        trainings = {arm: len(values) for arm, values in by_arm.items()}
        images = [
            WrongImage(
                self._name_of(row), {arm: dict(by.most_common()) for arm, by in taken.items()}
            )
            for row, taken in wrong.items()
        ]
        return ClassDetails(
            self.study,
            name,
            len(rows),
            trainings,
            {arm: _scores(values) for arm, values in by_arm.items()},
            {arm: _means(away[arm], trainings[arm]) for arm in by_arm},
            {arm: _means(into[arm], trainings[arm]) for arm in by_arm},
            tuple(sorted(images, key=lambda one: -one.errors)),
        )

    def _name_of(self, row: int) -> str:
        return self.image_names[row] if self.image_names else f"test image {row}"

    def _files(self) -> Iterator[tuple[Trial, ImagePredictions]]:
        for arm in self._study.arms:
            for trial in confirm_trials(self._state, self._study, arm.name):
                found = self._reader.of(trial)
                if found is not None:
                    yield trial, found


def _answer(trial: Trial, found: ImagePredictions, row: int) -> Answer:
    probabilities = np.exp(found.log_probabilities[row].astype(np.float64))
    probabilities /= probabilities.sum()
    predicted = int(found.predicted[row])
    order = [predicted, *(int(i) for i in np.argsort(-probabilities) if i != predicted)]
    likeliest = [(found.class_names[i], float(probabilities[i])) for i in order[:_LIKELIEST]]
    return Answer(
        trial.spec.arm,
        trial.spec.config["seed"],
        *likeliest[0],
        float(probabilities[found.labels[row]]),
        tuple(likeliest),
    )


def _scores(values: Sequence[tuple[int, float]]) -> Scores | None:
    if not values:
        return None
    seeds, accuracies = zip(*values, strict=True)
    return Scores(*mean_std(accuracies), accuracies, seeds)


def _means(counts: Counter[str], trainings: int) -> dict[str, float]:
    return {name: count / trainings for name, count in counts.most_common()}
