"""The verdict on an arm: helps, no clear difference, hurts, or withheld with the reason.

It comes from the gain's interval. It is withheld where the interval would blame or praise a
regulariser for something else:

- an arm learned nothing, or the control was not tuned;
- the luck of the search is unknown;
- a range ends where the worse arm is best.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pcsearch.arms import CONTROL, label_of
from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.selection import candidates, nothing_beyond
from pcsearch.search.state import CampaignState
from pcsearch.search.verdicts.gain import (
    Confirmed,
    FloatArray,
    Gain,
    alpha_of,
    holm_levels,
    measured_gain,
    unpack_classes,
)
from pcsearch.training.metrics import deciding_metrics

_Word = Literal["helps", "no clear difference", "hurts", "withheld"]

FEWEST_TEST_IMAGES = 20
"""Below this, the scatter of test images is not known well enough for any verdict."""

_FEWEST_STRENGTHS = 3
"""An arm with a parameter of its own is not blamed after fewer search trials."""

_GUESSING = 1.2
"""Up to this multiple of the accuracy of guessing, an arm has learned nothing, unless chance does
not explain its accuracy."""


@dataclass(frozen=True)
class Verdict:
    """What a campaign says of an arm, and why if it is withheld."""

    word: _Word
    reason: str | None = None


def look_at(state: CampaignState, study: StudyPlan) -> dict[str, Any]:
    """The event of a look at the study's test accuracies: gains, verdicts and error rate."""
    alpha = _next_alpha(state, study)
    seen = {}
    for arm in study.arms:
        gain = gain_of(state, study, arm.name, alpha)
        if gain is not None:
            word = verdict_on(state, study, arm.name, gain).word
            ends = {"low": gain.low, "high": gain.high, "p_value": gain.p_value}
            seen[arm.name] = {"mean": gain.mean, **ends, "word": word}
    return {
        "event": "looked",
        "study": study.id,
        "seeds": state.wanted_seeds(study.id),
        "alpha": alpha,
        "gains": seen,
        "decided": all(_is_decided(gain) for gain in seen.values()),
    }


def _is_decided(gain: Mapping[str, Any]) -> bool:
    """Whether a look's verdict ends the study. Without scatter, more seeds are needed."""
    return gain["word"] != "no clear difference" and gain["low"] is not None


def gain_of(
    state: CampaignState, study: StudyPlan, arm: str, alpha: float | None = None
) -> Gain | None:
    """The arm's gain over the control so far; None without a control or a common seed.

    `alpha` is the look's error rate; by default that of the latest look, or of the next one.
    Several arms share it, by Holm's procedure (see `holm_levels`).
    """
    if arm == CONTROL or (study.id, CONTROL) not in state.arms:
        return None
    if alpha is None:
        looks = state.looks[study.id]
        seen = looks and study.id not in state.unseen
        alpha = looks[-1].alpha if seen else _next_alpha(state, study)
    competing = [other.name for other in study.arms if other.name != CONTROL]
    shared = alpha / len(competing)  # Bonferroni
    if state.plan.comparisons == "bonferroni" or len(competing) == 1:
        return _gain_at(state, study, arm, shared)
    gains = {name: _gain_at(state, study, name, shared) for name in competing}
    levels = holm_levels({name: g.p_value if g else None for name, g in gains.items()}, alpha)
    return gains[arm] if levels[arm] == shared else _gain_at(state, study, arm, levels[arm])


def _gain_at(state: CampaignState, study: StudyPlan, arm: str, alpha: float) -> Gain | None:
    """The arm's gain with an interval that covers 1 − alpha."""
    treated, control = confirmed(state, study, arm), confirmed(state, study, CONTROL)
    finalists = [scores for name in (arm, CONTROL) if (scores := _scores(state, study, name)).size]
    images = study.images.test
    classes = unpack_classes(study.test_classes, images)
    weights = None if classes is None else deciding_metrics()[state.plan.metric].weights(classes)
    return measured_gain(treated, control, finalists, images, alpha, weights)


def _next_alpha(state: CampaignState, study: StudyPlan) -> float:
    """The error rate of the study's next look at its test accuracies."""
    spent = [look.alpha for look in state.looks[study.id] if look.could_decide]
    return alpha_of(spent, len(state.plan.looks))


def confirmed(state: CampaignState, study: StudyPlan, arm: str) -> dict[int, Confirmed]:
    """The fully trained confirm trials of an arm's choice, by seed, in the plan's order."""
    metric = state.plan.metric
    measured = {
        trial.spec.config["seed"]: Confirmed(trial.test[metric], trial.hits)
        for trial in state.arms[study.id, arm].trials["confirm"]
        if trial.state == "COMPLETE" and trial.comparable and trial.test is not None
    }
    return {seed: measured[seed] for seed in state.plan.confirm_seeds if seed in measured}


def verdict_on(state: CampaignState, study: StudyPlan, arm: str, gain: Gain | None) -> Verdict:
    """The verdict on an arm with the gain from `gain_of`."""
    reason = next(_reasons(state, study, arm, gain), None)
    if reason is not None or gain is None or gain.low is None or gain.high is None:
        return Verdict("withheld", reason or "no seed was measured in both arms")
    if gain.low <= 0 <= gain.high:
        return Verdict("no clear difference")
    word: _Word = "helps" if gain.mean > 0 else "hurts"
    worse = study.arm(CONTROL if word == "helps" else arm)
    unfair = _open_end(state, study, worse) or _few_strengths(state, study, worse)
    return Verdict(word) if unfair is None else Verdict("withheld", unfair)


def learned_nothing(state: CampaignState, study: StudyPlan, arm: str) -> bool:
    """Whether all the arm's confirm trainings, two at least, ended at the accuracy of guessing."""
    values = [one.value for one in confirmed(state, study, arm).values()]
    chance = study.guessing(state.plan.metric)
    deviation = math.sqrt(chance * (100 - chance) / max(1, study.images.test))
    return len(values) > 1 and max(values) <= min(_GUESSING * chance, chance + 3 * deviation)


def _reasons(state: CampaignState, study: StudyPlan, arm: str, gain: Gain | None) -> Iterator[str]:
    """Why there is no verdict, most serious reason first."""
    control = study.arm(CONTROL) if (study.id, CONTROL) in state.arms else None
    if control is None:
        yield "there is no control"
        return
    for name in (arm, CONTROL):
        label = label_of(name)
        if learned_nothing(state, study, name):
            yield f"{label} learned nothing"
        trials = state.arms[study.id, name].trials["confirm"]
        if diverged := sum(trial.state == "DIVERGED" for trial in trials):
            yield f"{diverged} of {len(trials)} confirm trainings of {label} diverged"
        if any(trial.state == "RUNNING" for trial in trials) or len(trials) < state.wanted_seeds(
            study.id
        ):
            yield "not all confirm seeds are measured yet"
        if not state.arms[study.id, name].complete and not study.arm(name).borrows:
            yield f"no search trial of {label} was trained to the end"
    if gain is None or gain.low is None:
        pairs = len(confirmed(state, study, arm).keys() & confirmed(state, study, CONTROL).keys())
        wanted = state.wanted_seeds(study.id)
        if pairs < min(2, wanted):
            yield f"only {pairs} of {wanted} confirm seeds were trained to the end in both arms"
        elif pairs == 1:
            yield "one pair of trainings gives no interval (confirm.seeds)"
        else:
            yield f"all {pairs} pairs of trainings differ equally, which gives no interval"
    if study.images.test < FEWEST_TEST_IMAGES:
        yield f"there are only {study.images.test} test images"
    if control.borrows is not None:
        yield "the control was not tuned for itself (search.control: single)"
    elif gain is not None and gain.parts.search is None:
        yield (
            "the luck of the search was not measured (set finalists.configs to 1 or more and "
            "finalists.repeats to 2 or more)"
        )


def _open_end(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> str | None:
    """Why the worse arm may be better than shown: its choice is at an end of a range."""
    choice = state.arms[study.id, arm.name].choice
    for key, end in (choice.edges if choice else {}).items():
        if key in arm.space and not nothing_beyond(key, end, arm.space[key]):
            label = label_of(arm.name)
            return (
                f"{label} is worse, but its best {key} is at the {end} end of its range: beyond "
                "that end, it may do better"
            )
    return None


def _few_strengths(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> str | None:
    """Why the worse arm may be better than shown: too few values of its own were tried."""
    space = arm.space.get(arm.parameter or "")
    tried = state.arms[study.id, arm.name].trained
    if space is None or space.kind == "fixed" or tried >= _FEWEST_STRENGTHS:
        return None
    label = label_of(arm.name)
    values = "1 value" if tried == 1 else f"{tried} values"
    return (
        f"{label} is worse, but its search tried only {values} of {arm.parameter}, too few to find "
        f"the best (raise search.trials to at least {_FEWEST_STRENGTHS})"
    )


def _scores(state: CampaignState, study: StudyPlan, arm: str) -> FloatArray:
    """[m, R] scores of the candidates that were fully retrained R times; empty if none was."""
    plan = study.arm(arm)
    if plan.borrows is not None:
        return np.empty((0, 0))
    scored = [one.scores for one in candidates(state, study, plan)]
    most = max((len(scores) for scores in scored), default=0)
    whole = [scores for scores in scored if len(scores) == most and most]
    return np.array(whole) if whole else np.empty((0, 0))
