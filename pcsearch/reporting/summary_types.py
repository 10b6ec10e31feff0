"""A campaign's summary as typed objects; `pcsearch summary --json` prints their `to_json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pcsearch.reporting.published import Published
from pcsearch.search.journal.journal_file import Mismatch
from pcsearch.search.state import Look
from pcsearch.search.trial import Config
from pcsearch.search.verdicts.gain import Gain
from pcsearch.search.verdicts.verdict import Verdict

if TYPE_CHECKING:
    from pcsearch.reporting.analysis import Analysis


@dataclass(frozen=True)
class Scores:
    """One metric on the test images over confirm seeds, in percent; one value has no `std`."""

    mean: float
    std: float | None
    values: tuple[float, ...]
    seeds: tuple[int, ...]

    def by_seed(self) -> dict[int, float]:
        return dict(zip(self.seeds, self.values, strict=True))

    def to_json(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "std": self.std,
            "values": list(self.values),
            "seeds": list(self.seeds),
        }


@dataclass(frozen=True)
class ArmSummary:
    """An arm's choice and its results; None means unknown (yet).

    Attributes:
        lambda_: λ; None for an arm without a penalty, such as label smoothing.
        lambda_over_n: λ divided by the number of classes.
        config: Hyperparameters of the choice without seed and split; empty before the choice.
        variant: The loss variant.
        val_top1: The score that made the choice, in percent, hence optimistic. None for a control
            that uses another arm's choice.
        test_top1: Scores of the confirm trials.
        epochs_run: Epochs of all its trials.
        full_trainings: Search trials that were trained to the end.
        edges: Searched values of the choice at an end of their range.
        gain: Against the control, in percentage points.
        verdict: The verdict on that gain.
        own: The names of its own parameters in `config`.
    """

    lambda_: float | None
    lambda_over_n: float | None
    config: Config
    variant: str
    val_top1: float | None
    test_top1: Scores | None
    epochs_run: int
    full_trainings: int
    edges: Mapping[str, str]
    gain: Gain | None
    verdict: Verdict | None
    own: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "lambda": self.lambda_,
            "lambda_over_n": self.lambda_over_n,
            "config": dict(self.config),
            "variant": self.variant,
            "val_top1": self.val_top1,
            "test_top1": None if self.test_top1 is None else self.test_top1.to_json(),
            "epochs_run": self.epochs_run,
            "full_trainings": self.full_trainings,
            "edges": dict(self.edges),
            "gain": None if self.gain is None else self.gain.to_json(),
            "verdict": None if self.verdict is None else asdict(self.verdict),
        }


@dataclass(frozen=True)
class TrialCounts:
    """Trials of all phases: `total` were started; those in no other count still run.

    `diverged` trials had a loss that is not finite; `failed` ones ended for another reason.
    """

    total: int
    complete: int
    pruned: int
    failed: int
    diverged: int


@dataclass(frozen=True)
class EpochCounts:
    """Epochs of all phases: those run, and those planned without early stopping."""

    run: int
    full_budget: int


@dataclass(frozen=True)
class Neighbours:
    """k-nearest neighbours on frozen features: `test` is the plan's metric, in percent."""

    k: int
    test: float


@dataclass(frozen=True)
class StudySummary:
    """One dataset × one backbone; `seconds` is training time summed over its trials."""

    dataset: str
    backbone: str
    num_classes: int
    arms: Mapping[str, ArmSummary]
    trials: TrialCounts
    epochs: EpochCounts
    seconds: float
    split_hash: str
    looks: tuple[Look, ...]
    """The comparisons of the arms' test accuracies."""
    published: Published | None
    neighbours: Neighbours | None = None
    """A reference without training; None without a frozen body, or before confirm."""
    analysis: Analysis | None = None
    """Of the predictions; None if they were not read."""

    @property
    def id(self) -> str:
        return f"{self.dataset}/{self.backbone}"

    def to_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "backbone": self.backbone,
            "num_classes": self.num_classes,
            "arms": {"control": None} | {name: arm.to_json() for name, arm in self.arms.items()},
            "trials": asdict(self.trials),
            "epochs": asdict(self.epochs),
            "seconds": self.seconds,
            "split_hash": self.split_hash,
            "looks": [{"seeds": look.seeds, "alpha": look.alpha} for look in self.looks],
            "published": None if self.published is None else dict(self.published),
            "neighbours": None if self.neighbours is None else asdict(self.neighbours),
            "analysis": None if self.analysis is None else self.analysis.to_json(),
        }


@dataclass(frozen=True)
class Interruptions:
    """The cost of stops and lost workers.

    Attributes:
        resumed: How often the campaign was resumed.
        retried: How often a trial was restarted because its worker was lost.
        repeated_epochs: Epochs after the last checkpoint that were trained again.
        repeated_seconds: Their training time.
        differing_epochs: How many of them measured different values, compared bit for bit.
    """

    resumed: int = 0
    retried: int = 0
    repeated_epochs: int = 0
    repeated_seconds: float = 0.0
    differing_epochs: int = 0


@dataclass(frozen=True)
class Summary:
    """A whole campaign."""

    campaign: str
    status: str
    studies: tuple[StudySummary, ...]
    interruptions: Interruptions = Interruptions()
    notes: tuple[str, ...] = ()
    """Sentences that a reader needs to judge the numbers."""
    what_now: tuple[str, ...] = ()
    """What follows: which loss to use, and how many seeds would settle the rest."""
    mismatches: tuple[Mismatch, ...] = ()
    """Lines of the journal that contradict the rest."""
    unsealed_lines: int = 0
    """Number of leading journal lines without a seal."""

    def to_json(self) -> dict[str, Any]:
        return {
            "campaign": self.campaign,
            "status": self.status,
            "studies": [study.to_json() for study in self.studies],
            "interruptions": asdict(self.interruptions),
            "notes": list(self.notes),
            "what_now": list(self.what_now),
            "mismatches": [asdict(one) for one in self.mismatches],
            "unsealed_lines": self.unsealed_lines,
        }
