"""How much room plain cross-entropy leaves: no regulariser gains more than what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from pcsearch.recipe.arms import CONTROL
from pcsearch.results.objects import StudySummary
from pcsearch.search.journal import Event
from pcsearch.search.plan import StudyPlan
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Trial
from pcsearch.search.verdict import FEWEST_TEST_IMAGES

NEAR_PERFECT = 99.0
"""Percent of the validation images, from which on a study can hardly show a gain."""

FEW_WRONG = 3
"""Validation images; where fewer are wrong, configurations cannot be told apart."""

MOSTLY_RIGHT = 80.0
"""Percent; below, few wrong images are few images, and say nothing of the room."""


def ceiling(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """A note where the control's best search trial that has ended leaves too little room."""
    if CONTROL not in study.arms:
        return
    ended = [trial for trial in state.arms[plan.id, CONTROL].trials["search"] if _measured(trial)]
    best = max((_value(trial) for trial in ended), default=0.0)
    images = plan.images.val
    if images < FEWEST_TEST_IMAGES:
        return  # all right by chance
    wrong = _wrong(best, images) if state.plan.metric == "top1" else None
    few = wrong is not None and wrong < FEW_WRONG and best >= MOSTLY_RIGHT
    if best < NEAR_PERFECT and not few:
        return
    has = "" if wrong is None else f" ({wrong} of {images} images wrong)"
    yield (
        f"The control's best validation accuracy is {best:.2f} %{has}. All that a regulariser "
        f"could gain is {_room(best)}."
    )


def first_near_perfect(event: Event, state: CampaignState) -> str | None:
    """What to tell when a study's first search trial ends with next to nothing wrong."""
    trial = state.trials.get(event.get("trial", ""))
    if trial is None or event["event"] != "epoch" or not _near_perfect(trial):
        return None
    study = trial.spec.study
    if state.plan.study(study).images.val < FEWEST_TEST_IMAGES:
        return None
    others = (one for one in state.trials.values() if one is not trial and one.spec.study == study)
    if any(_near_perfect(one) for one in others):
        return None
    return (
        f"{trial.spec.trial} has {_value(trial):.2f} % of the validation images right: all that a "
        f"regulariser could gain in this study is {_room(_value(trial))}; stop it (Ctrl-C) if that "
        "is too little"
    )


def _near_perfect(trial: Trial) -> bool:
    return trial.spec.phase == "search" and _measured(trial) and _value(trial) >= NEAR_PERFECT


def _measured(trial: Trial) -> bool:
    return trial.state in ("COMPLETE", "PRUNED") and trial.last_value is not None


def _value(trial: Trial) -> float:
    return trial.last_value or 0.0


def _wrong(percent: float, images: int) -> int:
    return round((100 - percent) / 100 * images)


def _room(percent: float) -> str:
    return f"{max(0.0, 100 - percent):.2f} points"
