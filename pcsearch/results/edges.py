"""A regulariser's best strength at the end of its range: what to search next."""

from __future__ import annotations

from collections.abc import Iterator

from pcsearch.recipe.arms import ARMS
from pcsearch.recipe.space import Space
from pcsearch.results import formatting as fmt
from pcsearch.results.objects import StudySummary
from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.selection import nothing_beyond
from pcsearch.search.state import CampaignState

_OWN = ("lambda_over_n", "lambda", "label_smoothing")


def shared_edges(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """A sentence for each shared hyperparameter whose chosen value lies at an end of its range."""
    for arm in plan.arms:
        choice = state.arms[plan.id, arm.name].choice
        for key, end in (choice.edges if choice else {}).items():
            if choice is None or key in _OWN or key not in arm.space:
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
                f"range: a better one may lie beyond it. {advice}"
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
                    f"{fmt.significant(low)} to {fmt.significant(high)}, as its own best or "
                    "another arm's lay there (search.widen: auto)."
                )


def edges(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """A sentence for each arm whose chosen strength lies at an end of its range."""
    for arm in plan.arms:
        choice = state.arms[plan.id, arm.name].choice
        key = ARMS[arm.name].search_key if arm.name in ARMS else None
        if key is not None and state.plan.sampler == "grid":
            key = f"grid.{key}"
        if choice is None or choice.edge is None or arm.parameter is None or key is None:
            continue
        value = float(choice.config[arm.parameter])
        search = state.arms[plan.id, arm.name].trials["search"]
        if len(search) < 2:
            continue  # both ends at once
        whole = sum(trial.state == "COMPLETE" for trial in search)
        of = f"of {len(search)} values tried, {whole} fully trained"
        symbol = {"lambda_over_n": "λ/N", "lambda": "λ"}.get(arm.parameter, "smoothing")
        yield (
            f"{fmt.label(arm.name)}'s best {symbol}, {fmt.significant(value)}, is at the "
            f"{choice.edge} end of what was searched ({of}): {_advice(arm, key, choice.edge)}"
        )


def _advice(arm: ArmPlan, key: str, edge: str) -> str:
    low, high = _ends(arm.space[arm.parameter or ""])
    if key.startswith("grid."):
        return f"a better one may lie beyond it. Add values to search.{key} in a new run."
    if edge == "high":
        upper = min(2 * high, 0.9) if arm.parameter == "label_smoothing" else 2 * high
        return (
            f"a better one may lie above. Widen search.{key} upwards in a new run, "
            f"for example to [{low:.3g}, {upper:.3g}]."
        )
    if low == 0:
        return "that is next to no regularisation, and nothing lies below."
    return (
        f"a better one may lie below. Widen search.{key} downwards in a new run, "
        f"for example to [{low / 2:.3g}, {high:.3g}]."
    )


def _ends(space: Space) -> tuple[float, float]:
    if space.choices:
        return float(min(space.choices)), float(max(space.choices))
    return float(space.low or 0), float(space.high or 0)
