"""What a study's predictions say beyond its accuracy: classes, confusions, calibration.

The predictions of each confirm trial are read from the run one after the other. A file that is
missing or is not the one that the journal names is left out, and named in `problems`. Runs from
before predictions were kept have what the journal holds: top-5, log-likelihood, calibration error
and training accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pcsearch.arms import CONTROL
from pcsearch.errors import PcsearchError
from pcsearch.reporting import class_statistics as statistics
from pcsearch.reporting.class_statistics import ClassGain, Floats, McNemar
from pcsearch.reporting.summary_types import Scores
from pcsearch.search.plan import StudyPlan
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import PREDICTIONS, Trial, predictions_name
from pcsearch.search.verdicts.gain import mean_std
from pcsearch.search.verdicts.verdict import confirmed
from pcsearch.training.predictions_file import ImagePredictions, read_predictions

ReadFile = Callable[[str], bytes]
"""Returns a file of the run by its name there; OSError or StorageError if it cannot."""

MOST_PAIRS = 10


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that an arm's networks take for each other.

    Attributes:
        first, second: The classes.
        first_as_second: Images of the first taken for the second, the mean over trainings.
        second_as_first: The reverse.
        confusion: D_EC of the predictions for their images, in [0, 2], the mean over trainings;
            None if a class has no test images.
    """

    first: int
    second: int
    first_as_second: float
    second_as_first: float
    confusion: float | None

    @property
    def errors(self) -> float:
        return self.first_as_second + self.second_as_first


@dataclass(frozen=True)
class ArmAnalysis:
    """One arm's confirm trainings. None means unknown.

    Attributes:
        train_top1: In the last epoch, on augmented images, in percent.
        top5, nll, ece: On the test images, as in the journal.
        temperature: Fitted to validation images of the choice's finalists.
        nll_calibrated, ece_calibrated: On the test images, with this temperature.
        seeds: Of the trainings whose predictions could be read. What follows is of these.
        class_top1: Percent of each class's test images, the mean over trainings.
        pairs: The most confused ones.
        within, between: Mean D_EC of the images of one class, and of two different ones.
        counts: [N, N] images of the row's class taken for the column's, the mean over trainings.
        confusions: [N, N] D_EC of two classes, the mean over trainings.
    """

    train_top1: Scores | None
    top5: Scores | None
    nll: Scores | None
    ece: Scores | None
    temperature: float | None = None
    nll_calibrated: Scores | None = None
    ece_calibrated: Scores | None = None
    seeds: tuple[int, ...] = ()
    class_top1: tuple[float | None, ...] | None = None
    pairs: tuple[ConfusedPair, ...] = ()
    within: float | None = None
    between: float | None = None
    counts: Floats | None = field(default=None, compare=False, repr=False)
    confusions: Floats | None = field(default=None, compare=False, repr=False)

    def pair(self, first: int, second: int) -> ConfusedPair | None:
        """How two classes are confused; None without predictions."""
        if self.counts is None or self.confusions is None:
            return None
        confusion = float(self.confusions[first, second])
        return ConfusedPair(
            first,
            second,
            float(self.counts[first, second]),
            float(self.counts[second, first]),
            None if np.isnan(confusion) else confusion,
        )

    def to_json(self) -> dict[str, Any]:
        scores = ("train_top1", "top5", "nll", "ece", "nll_calibrated", "ece_calibrated")
        told = {name: getattr(self, name) for name in scores}
        return {
            **{name: None if one is None else one.to_json() for name, one in told.items()},
            "temperature": self.temperature,
            "seeds": list(self.seeds),
            "class_top1": None if self.class_top1 is None else list(self.class_top1),
            "pairs": [asdict(pair) for pair in self.pairs],
            "confusion_within": self.within,
            "confusion_between": self.between,
        }


@dataclass(frozen=True)
class Comparison:
    """An arm against the control, on the seeds that both have predictions of."""

    mcnemar: Mapping[int, McNemar]
    """By seed."""
    classes: tuple[ClassGain, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "mcnemar": [{"seed": seed, **asdict(one)} for seed, one in self.mcnemar.items()],
            "classes": [asdict(one) for one in self.classes],
        }


@dataclass(frozen=True)
class Analysis:
    """A study's analysis.

    Attributes:
        class_names: N names; None without predictions.
        class_images: N numbers of test images.
        arms: By name.
        comparisons: By the name of the arm that is compared with the control.
        problems: Sentences on predictions that could not be read.
    """

    class_names: tuple[str, ...] | None
    class_images: tuple[int, ...] | None
    arms: Mapping[str, ArmAnalysis]
    comparisons: Mapping[str, Comparison]
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "class_names": None if self.class_names is None else list(self.class_names),
            "class_images": None if self.class_images is None else list(self.class_images),
            "arms": {name: arm.to_json() for name, arm in self.arms.items()},
            "comparisons": {name: one.to_json() for name, one in self.comparisons.items()},
            "problems": list(self.problems),
        }


def analyse(state: CampaignState, study: StudyPlan, read: ReadFile) -> Analysis:
    """The analysis of a study, at its end or while it runs."""
    reader = Reader(study, read)
    hits: dict[str, dict[int, npt.NDArray[np.bool_]]] = {}
    arms = {}
    for arm in study.arms:
        arms[arm.name], hits[arm.name] = _arm(state, study, arm.name, reader)
    control = hits.get(CONTROL, {})
    comparisons = {
        name: _compared(mine, control, common, reader)
        for name, mine in hits.items()
        if name != CONTROL and (common := [seed for seed in mine if seed in control])
    }
    images = None
    if reader.labels is not None:
        images = tuple(np.bincount(reader.labels, minlength=study.num_classes).tolist())
    return Analysis(reader.class_names, images, arms, comparisons, tuple(reader.problems))


def confirm_trials(state: CampaignState, study: StudyPlan, arm: str) -> list[Trial]:
    """The trainings behind an arm's test accuracy, in the order of seeds."""
    seeds = {
        trial.spec.config["seed"]: trial
        for trial in state.arms[study.id, arm].trials["confirm"]
        if trial.state == "COMPLETE" and trial.comparable and trial.test is not None
    }
    return [seeds[seed] for seed in confirmed(state, study, arm)]


class Reader:
    """Reads a study's predictions, and checks that they belong together.

    Attributes:
        labels: [I] of the test images; None before the first file.
        class_names: N names; None before the first file.
        image_names: I names; empty if unknown.
        problems: Sentences on files that could not be used.
    """

    def __init__(self, study: StudyPlan, read: ReadFile) -> None:
        self._study = study
        self._read = read
        self.labels: npt.NDArray[np.int32] | None = None
        self.class_names: tuple[str, ...] | None = None
        self.image_names: tuple[str, ...] = ()
        self.problems: list[str] = []

    def of(self, trial: Trial) -> ImagePredictions | None:
        """A trial's predictions; None if none were kept or they cannot be used."""
        if trial.predictions is None:
            return None
        name = f"{PREDICTIONS}/{predictions_name(trial.spec.trial)}"
        try:
            found = read_predictions(self._read(name), trial.predictions)
            self._check(found, trial)
        except FileNotFoundError:
            self.problems.append(f"{name} is missing")
        except (OSError, PcsearchError, ValueError) as error:
            told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.problems.append(f"{name} cannot be used: {told}")
        else:
            return found
        return None

    def _check(self, found: ImagePredictions, trial: Trial) -> None:
        """Check that they are of this study, and take names and labels from the first file."""
        if found.log_probabilities.shape[1] != self._study.num_classes:
            raise ValueError("it has other classes than the study")
        if self.class_names not in (None, found.class_names):
            raise ValueError("its classes have other names than those before")
        self.class_names = found.class_names
        if trial.spec.phase != "confirm":
            return
        if len(found.labels) != self._study.images.test:
            raise ValueError("it has other test images than the study")
        if self.labels is not None and not np.array_equal(self.labels, found.labels):
            raise ValueError("its labels are not those before")
        self.labels = found.labels
        self.image_names = self.image_names or found.image_names


def _arm(
    state: CampaignState, study: StudyPlan, arm: str, reader: Reader
) -> tuple[ArmAnalysis, dict[int, npt.NDArray[np.bool_]]]:
    """An arm's analysis, and its hits [I] by seed."""
    trials = confirm_trials(state, study, arm)
    top5, nll, ece = (
        _scores({_seed(trial): (trial.test or {}).get(name) for trial in trials})
        for name in ("top5", "nll", "ece")
    )
    train_top1 = _scores({_seed(trial): _train_top1(trial) for trial in trials})
    temperature = _temperature(state, study, arm, reader)
    analysis = ArmAnalysis(train_top1, top5, nll, ece, temperature)
    total = _Total(study.num_classes)
    for trial in trials:
        found = reader.of(trial)
        if found is not None:
            total.add(_seed(trial), found, analysis.temperature)
    return total.into(analysis, reader.labels), total.hits


class _Total:
    """Sums over an arm's trainings; one file's predictions are in memory at a time."""

    def __init__(self, classes: int) -> None:
        self.hits: dict[int, npt.NDArray[np.bool_]] = {}
        self._counts = np.zeros((classes, classes))
        self._confusions = np.zeros((classes, classes))
        self._nll: dict[int, float | None] = {}
        self._ece: dict[int, float | None] = {}

    def add(self, seed: int, found: ImagePredictions, temperature: float | None) -> None:
        classes = len(self._counts)
        self.hits[seed] = found.predicted == found.labels
        self._counts += statistics.confusion_counts(found.labels, found.predicted, classes)
        self._confusions += statistics.point_set_confusions(
            found.log_probabilities, found.labels, classes
        )
        if temperature is not None:
            self._nll[seed], self._ece[seed] = statistics.calibration(
                found.log_probabilities, found.predicted, found.labels, temperature
            )

    def into(self, analysis: ArmAnalysis, labels: npt.NDArray[np.int32] | None) -> ArmAnalysis:
        """The analysis with these sums as means over trainings."""
        if not self.hits or labels is None:
            return analysis
        counts = self._counts / len(self.hits)
        confusions = self._confusions / len(self.hits)
        images = counts.sum(axis=1)
        within, between = statistics.within_and_between(confusions)
        known = replace(
            analysis,
            nll_calibrated=_scores(self._nll),
            ece_calibrated=_scores(self._ece),
            seeds=tuple(self.hits),
            class_top1=tuple(
                100.0 * hits / of if of else None
                for hits, of in zip(np.diag(counts).tolist(), images.tolist(), strict=True)
            ),
            within=within,
            between=between,
            counts=counts,
            confusions=confusions,
        )
        pairs = [known.pair(*pair) for pair in statistics.most_confused(counts, MOST_PAIRS)]
        return replace(known, pairs=tuple(pair for pair in pairs if pair is not None))


def _compared(
    arm: Mapping[int, npt.NDArray[np.bool_]],
    control: Mapping[int, npt.NDArray[np.bool_]],
    seeds: list[int],
    reader: Reader,
) -> Comparison:
    assert reader.labels is not None
    assert reader.class_names is not None
    differences = np.stack([100.0 * arm[seed] - 100.0 * control[seed] for seed in seeds])
    classes = statistics.class_gains(differences, reader.labels, len(reader.class_names))
    tests = {seed: statistics.mcnemar(arm[seed], control[seed]) for seed in seeds}
    return Comparison(tests, tuple(classes))


def _temperature(state: CampaignState, study: StudyPlan, arm: str, reader: Reader) -> float | None:
    """Fitted to what the finalists of the arm's choice said of their validation images."""
    found = [
        (predictions.log_probabilities, predictions.labels)
        for trial in _finalists(state, study, arm)
        if (predictions := reader.of(trial)) is not None
    ]
    return statistics.fitted_temperature(found) if found else None


def _finalists(state: CampaignState, study: StudyPlan, arm: str) -> Iterator[Trial]:
    of = state.arms[study.id, arm]
    for trial in of.trials["finalists"]:
        chosen = of.choice is not None and trial.spec.source == of.choice.source
        if chosen and trial.state == "COMPLETE" and trial.comparable:
            yield trial


def _seed(trial: Trial) -> int:
    return int(trial.spec.config["seed"])


def _train_top1(trial: Trial) -> float | None:
    return trial.epochs[-1].metrics.get("train_top1") if trial.epochs else None


def _scores(by_seed: Mapping[int, float | None]) -> Scores | None:
    """Over the seeds that have a value; None without one."""
    known = {seed: value for seed, value in by_seed.items() if value is not None}
    if not known:
        return None
    values = tuple(known.values())
    return Scores(*mean_std(values), values, tuple(known))
