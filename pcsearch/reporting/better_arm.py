"""Which of a study's networks to use, by the run's own test results."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pcsearch.arms import CONTROL
from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.summary_types import StudySummary


@dataclass(frozen=True)
class BetterArm:
    """An arm, and what it has that makes it the one to use, as the object of a sentence."""

    arm: str
    why: str


def better_arm(study: StudySummary, kept: Collection[str]) -> BetterArm:
    """The arm with the best mean on the test images, among those whose weights are kept.

    Args:
        study: The summary of the study.
        kept: Names of the arms whose weights are kept; at least one.
    """
    measured = {name: arm.test_top1 for name, arm in study.arms.items() if arm.test_top1}
    of_kept = [name for name in study.arms if name in kept]
    ranked = sorted((name for name in of_kept if name in measured), key=lambda n: -measured[n].mean)
    if not ranked:
        return BetterArm(of_kept[0], "weights, but no arm was measured to the end")
    best = ranked[0]
    if len(ranked) == 1:
        only = "is the only arm" if len(measured) == 1 else "alone has weights here"
        return BetterArm(best, f"{_score(study, best)}, and {only}")
    second = ranked[1]
    why = f"{_score(study, best)}, {fmt.label(second)} {measured[second].mean:.2f} %"
    other = best if best != CONTROL else second
    gain = study.arms[other].gain
    if CONTROL in (best, second) and gain is not None:
        ends = f" {fmt.interval(gain)}" if gain.low is not None else ", without an interval"
        verdict = study.arms[other].verdict
        word = f": {verdict.word}" if verdict else ""
        why += f". Gain of {fmt.label(other)}: {fmt.points(gain.mean)}{ends}{word}"
    if lost := [name for name in measured if name not in kept]:
        why += f". The run keeps no weights of {', '.join(map(fmt.label, lost))}"
    return BetterArm(best, why)


def _score(study: StudySummary, arm: str) -> str:
    scores = study.arms[arm].test_top1
    if scores is None:
        return "not measured"
    seeds = len(scores.values)
    over = f"mean of {seeds} seeds" if seeds > 1 else "one seed"
    return f"{scores.mean:.2f} % on the test images ({over})"
