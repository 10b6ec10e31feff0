"""A campaign's summary as typed objects; `to_json` gives what `pcsearch summary --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pcsearch.reporting.published import Published
from pcsearch.search.journal.file import Mismatch
from pcsearch.search.state import Look
from pcsearch.search.trial import Config
from pcsearch.search.verdicts.gain import Gain
from pcsearch.search.verdicts.verdict import Verdict


@dataclass(frozen=True)
class Scores:
    """One metric on the test images, in percent, over confirm seeds; `std` is None of one value."""

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
    """What an arm chose and how well that does. None stands for what is not known (yet).

    `config` holds the hyperparameters of the choice without seed and split, and is empty before
    there is a choice. `lambda_` is None for label smoothing, which has no λ. `val_top1` is the
    score by which the choice was made, in percent, hence optimistic; None for a control that took
    over another arm's choice. `gain` is against the control, in percentage points, and `verdict`
    what it amounts to. `full_trainings` are the search trials that were trained to the end. `edges`
    are the searched values of the choice that lie at an end of their range.
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

    `diverged` had a loss that is not finite; `failed` ended for another reason.
    """

    total: int
    complete: int
    pruned: int
    failed: int
    diverged: int


@dataclass(frozen=True)
class EpochCounts:
    """Epochs of all phases: those run, and those of the plan if no trial were stopped early."""

    run: int
    full_budget: int


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
    """When the test accuracies of the arms were compared."""
    published: Published | None

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
        }


@dataclass(frozen=True)
class Interruptions:
    """What stops and lost workers have cost a campaign.

    Attributes:
        resumed: how often it was gone on with.
        retried: how often a trial was begun again because its worker was lost.
        repeated_epochs: epochs that were trained a second time, being after the last checkpoint.
        repeated_seconds: what these took.
        differing_epochs: how many of these did not measure the same again, bit for bit.
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
    """What a reader must know to judge the numbers, in sentences."""
    mismatches: tuple[Mismatch, ...] = ()
    """Lines of the journal that do not agree with the rest of it."""
    unsealed_lines: int = 0
    """How many of its first lines carry no seal."""

    def to_json(self) -> dict[str, Any]:
        return {
            "campaign": self.campaign,
            "status": self.status,
            "studies": [study.to_json() for study in self.studies],
            "interruptions": asdict(self.interruptions),
            "notes": list(self.notes),
            "mismatches": [asdict(one) for one in self.mismatches],
            "unsealed_lines": self.unsealed_lines,
        }
