"""Warnings: a best value at an edge of its range, clipped gradients, no room to gain."""

from __future__ import annotations

from collections.abc import Iterator

from pcsearch.arms import CONTROL, search_keys, symbol_of
from pcsearch.recipe.search_space import Space
from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.summary_types import StudySummary
from pcsearch.search.journal.journal_file import Event
from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.selection import nothing_beyond
from pcsearch.search.state import ArmState, CampaignState
from pcsearch.search.trial import Trial
from pcsearch.search.verdicts.verdict import FEWEST_TEST_IMAGES

_NEAR_PERFECT = 99.0
"""Validation accuracy in percent, from which a study can hardly show a gain."""

_FEW_WRONG = 3
"""Validation images; if fewer are wrong, configurations are indistinguishable."""

_MOSTLY_RIGHT = 80.0
"""Percent; below it, few wrong images only mean few images."""


def ceiling(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """A note if the control's best ended search trial leaves too little room for a gain."""
    if CONTROL not in study.arms:
        return
    ended = [trial for trial in state.arms[plan.id, CONTROL].trials["search"] if _measured(trial)]
    best = max((_value(trial) for trial in ended), default=0.0)
    images = plan.images.val
    if images < FEWEST_TEST_IMAGES:
        return  # all may be right by chance
    wrong = _wrong(best, images) if state.plan.metric == "top1" else None
    few = wrong is not None and wrong < _FEW_WRONG and best >= _MOSTLY_RIGHT
    if best < _NEAR_PERFECT and not few:
        return
    has = "" if wrong is None else f" ({wrong} of {images} images wrong)"
    yield (
        f"The control's best validation accuracy is {best:.2f} %{has}. A regulariser "
        f"could gain at most {_room(best)}."
    )


def first_near_perfect(event: Event, state: CampaignState) -> str | None:
    """A message when a study's first search trial ends with nearly no errors."""
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
        f"{trial.spec.trial} has {_value(trial):.2f} % of the validation images right: a "
        f"regulariser could gain at most {_room(_value(trial))} in this study; stop it (Ctrl-C) if "
        "that is too little"
    )


def _near_perfect(trial: Trial) -> bool:
    return trial.spec.phase == "search" and _measured(trial) and _value(trial) >= _NEAR_PERFECT


def _measured(trial: Trial) -> bool:
    return trial.state in ("COMPLETE", "PRUNED") and trial.last_value is not None


def _value(trial: Trial) -> float:
    return trial.last_value or 0.0


def _wrong(percent: float, images: int) -> int:
    return round((100 - percent) / 100 * images)


def _room(percent: float) -> str:
    return f"{max(0.0, 100 - percent):.2f} points"


_MOST_CLIPPED = 50.0
"""Percent of an arm's updates; above it, most steps are shorter than the recipe says."""

_MOST_APART = 20.0
"""Percentage points between two arms; above it, their steps differ."""


def clipping(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """A note if the chosen configurations trained with many clipped gradients."""
    found = {arm.name: _clipped_percent(state.arms[plan.id, arm.name]) for arm in plan.arms}
    shares = {name: share for name, share in found.items() if share is not None}
    if not shares:
        return
    differ = max(shares.values()) - min(shares.values()) > _MOST_APART
    if max(shares.values()) <= _MOST_CLIPPED and not differ:
        return
    each = ", ".join(f"{fmt.label(name)} {share:.0f} %" for name, share in shares.items())
    line = (
        f"Confirm updates whose gradient was clipped (train.clip_norm): {each}. Such a step is "
        "shorter than search.lr says."
    )
    if differ:
        line += " The arms differ in this, so clipping may be part of a gain."
    yield f"{line} Raise train.clip_norm, or remove it."


def _clipped_percent(arm: ArmState) -> float | None:
    """Percent of clipped updates in an arm's complete confirm trials; None if not counted.

    All epochs of a trial have the same number of updates, so the mean of their shares is exact.
    """
    shares = [
        share
        for trial in arm.trials["confirm"]
        if trial.state == "COMPLETE" and trial.comparable
        for epoch in trial.epochs
        if (share := epoch.metrics.get("clipped")) is not None
    ]
    return sum(shares) / len(shares) if shares else None


def shared_edges(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """A sentence for each shared hyperparameter chosen at an end of its range."""
    for arm in plan.arms:
        choice = state.arms[plan.id, arm.name].choice
        for key, end in (choice.edges if choice else {}).items():
            if choice is None or key in arm.own or key not in arm.space:
                continue
            if nothing_beyond(key, end, arm.space[key]):
                continue
            value = fmt.significant(float(choice.config[key]))
            way = "upwards" if end == "high" else "downwards"
            advice = f"Widen search.{key} {way} in a new run."
            if state.plan.sampler == "grid":
                advice = f"Add values to search.grid.{key} in a new run."
            yield (
                f"{fmt.label(arm.name)}'s best {key}, {value}, is at the {end} end of its "
                f"range: a better value may be beyond it. {advice}"
            )


def beyond(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """A sentence for each range that the search left, by `search.widen` or by a finalist."""
    for arm in plan.arms:
        done = state.arms[plan.id, arm.name]
        for key, stated in arm.space.items():
            if stated.kind != "range":
                continue
            trials = (*done.trials["search"], *done.trials["finalists"])
            tried = [float(t.spec.config[key]) for t in trials if key in t.spec.config]
            low, high = _ends(stated)
            outside = [value for value in tried if not low <= value <= high]
            if outside:
                ends = " to ".join(map(fmt.significant, (min(tried), max(tried))))
                yield (
                    f"{fmt.label(arm.name)} tried {key} from {ends}, beyond the stated "
                    f"{fmt.significant(low)} to {fmt.significant(high)}: its own best value, or "
                    "another arm's, was at that end (search.widen: auto)."
                )


def edges(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """A sentence for each arm whose chosen strength is at an end of its range."""
    for arm in plan.arms:
        choice = state.arms[plan.id, arm.name].choice
        search = state.arms[plan.id, arm.name].trials["search"]
        if choice is None or len(search) < 2:  # a single value would be at both ends
            continue
        keys = {one.name: key for key, one in search_keys(arm.name).items()}
        whole = sum(trial.state == "COMPLETE" for trial in search)
        of = f"of {len(search)} values tried, {whole} fully trained"
        for name in arm.own:
            if (edge := choice.edges.get(name)) is None:
                continue
            value = fmt.significant(float(choice.config[name]))
            grid = "grid." if state.plan.sampler == "grid" else ""
            key = f"search.{grid}{keys[name]}" if name in keys else f"arms.{arm.name}.space.{name}"
            yield (
                f"{fmt.label(arm.name)}'s best {symbol_of(name)}, {value}, is at the {edge} end "
                f"of what was searched ({of}): {_advice(arm, name, key, edge)}"
            )


def _advice(arm: ArmPlan, name: str, key: str, edge: str) -> str:
    low, high = _ends(arm.space[name])
    if key.startswith("search.grid."):
        return f"a better value may be beyond it. Add values to {key} in a new run."
    if edge == "high":
        upper = min(2 * high, 0.9) if name == "label_smoothing" else 2 * high
        return (
            f"a better value may be above. Widen {key} upwards in a new run, "
            f"for example to [{low:.3g}, {upper:.3g}]."
        )
    if low == 0:
        return "that is nearly no regularisation, and there is nothing below."
    return (
        f"a better value may be below. Widen {key} downwards in a new run, "
        f"for example to [{low / 2:.3g}, {high:.3g}]."
    )


def _ends(space: Space) -> tuple[float, float]:
    if space.choices:
        return float(min(space.choices)), float(max(space.choices))
    return float(space.low or 0), float(space.high or 0)
