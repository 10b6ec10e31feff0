"""What one arm of a study has done so far.

Sums and orders that decisions need are kept up to date trial by trial, so that a decision costs the
same after a hundred thousand trials as after a hundred.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from pcsearch.search.asha import Ladder
from pcsearch.search.ranking import Rank, last_value, rank
from pcsearch.search.trial import UNTRAINED, Config, Phase, Trial


@dataclass(frozen=True)
class Choice:
    """The configuration an arm goes into confirm with."""

    config: Config
    source: str
    """The search trial it comes from."""
    score: float | None
    """Mean over fresh repeats of the last epoch's metric, in percent (without finalists: the search
    trial's own); None for a borrowed choice."""
    values: tuple[float, ...]
    edge: Literal["low", "high"] | None = None
    """The end of its range that the regulariser's strength lies at, if it does."""
    edges: dict[str, Literal["low", "high"]] = field(default_factory=dict)
    """Every searched value at an end of its range, with that end."""


@dataclass
class ArmState:
    """An arm of a study, folded from the journal."""

    ladder: Ladder
    trials: dict[Phase, list[Trial]] = field(
        default_factory=lambda: {"search": [], "finalists": [], "confirm": []}
    )
    choice: Choice | None = None
    given_up: str | None = None
    """Why nothing could be chosen, if so."""
    forgiven: int = 0
    """Search trials asked before the search was opened again: what failed them may be mended."""
    earlier: list[Trial] = field(default_factory=list)
    """Confirm trials of choices that a wider search has set aside; one that is made again has
    its trials back."""
    epochs_left: Counter[tuple[Phase, int]] = field(default_factory=Counter)
    """How many trials run, by phase and by the epochs to their full budget."""
    complete: int = 0
    """Search trials that were trained to their full budget."""
    trained: int = 0
    """Search trials that ended well, stopped ones too, and saw whole batches."""
    _ranked: list[tuple[Rank, Trial]] = field(default_factory=list)

    def add(self, trial: Trial) -> None:
        """Take a trial that was asked."""
        self.trials[trial.spec.phase].append(trial)
        self.epochs_left[trial.spec.phase, trial.epochs_left] += 1

    def moved(self, trial: Trial, epochs_left: int) -> None:
        """Take note that a running trial, with `epochs_left` until now, got on or ended."""
        phase = trial.spec.phase
        self.epochs_left[phase, epochs_left] -= 1
        if not self.epochs_left[phase, epochs_left]:
            del self.epochs_left[phase, epochs_left]
        if trial.state == "RUNNING":
            self.epochs_left[phase, trial.epochs_left] += 1
        elif phase == "search" and trial.state not in UNTRAINED:
            self.complete += trial.state == "COMPLETE"
            self.trained += trial.comparable
            if trial.state == "COMPLETE" and trial.comparable:
                insort(
                    self._ranked,
                    (rank([last_value(trial)], trial.spec.config, trial), trial),
                    key=_first,
                )

    def best(self, count: int) -> list[Trial]:
        """The best fully trained search trials that saw whole batches, best first."""
        return [trial for _, trial in self._ranked[:count]]

    def reopen(self) -> None:
        """Take the choice back, for a search that goes on."""
        self.earlier += self.trials["confirm"]
        self.trials["confirm"] = []
        self.choice = self.given_up = None
        self.forgiven = len(self.trials["search"])

    def choose(self, choice: Choice) -> None:
        """Set the choice; what has confirmed it before counts."""
        self.choice = choice
        mine = [trial for trial in self.earlier if _same(trial.spec.config, choice.config)]
        self.earlier = [trial for trial in self.earlier if trial not in mine]
        self.trials["confirm"] += mine

    @property
    def judged(self) -> list[Trial]:
        """The search trials that say whether there is hope: all but the failures forgiven."""
        search = self.trials["search"]
        trained = [t for t in search[: self.forgiven] if t.comparable and t.state not in UNTRAINED]
        return trained + search[self.forgiven :]

    def running(self, phase: Phase) -> int:
        """How many of its trials run."""
        return sum(count for (of, _), count in self.epochs_left.items() if of == phase)


def _same(one: Config, other: Config) -> bool:
    """Whether two configurations differ in nothing but seed and split."""
    own = ("seed", "split")
    return {k: v for k, v in one.items() if k not in own} == {
        k: v for k, v in other.items() if k not in own
    }


def _first(ranked: tuple[Rank, Trial]) -> Rank:
    return ranked[0]
