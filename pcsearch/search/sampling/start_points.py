"""`search.prior`: start points of a search, from the choices of earlier runs.

Each study takes them from the earlier study with the same dataset, backbone, number of classes,
losses and metric. First come the arms' choices, then finalists by the mean of their repeats. A
start point is a configuration alone, found with validation images; test images have no part in it.
The plan holds the start points. So a resumed campaign does not read the earlier runs again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from pcsearch.errors import UserError
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.search_space import SHARED, Number
from pcsearch.search.plan import (
    ArmPlan,
    DatasetFacts,
    ImageCounts,
    Plan,
    StartPoint,
    StudyPlan,
    build_plan,
)
from pcsearch.search.selection import candidates
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Config
from pcsearch.search.trial_config import middle

_MOST_A_RUN = 3
"""The most start points that one run gives to a study."""


@dataclass(frozen=True)
class EarlierRun:
    """A run that a recipe names under `search.prior`."""

    address: str
    state: CampaignState


@dataclass(frozen=True)
class _Found:
    """A configuration of an earlier study, and the arm that it was trained in."""

    arm: str
    trial: str
    config: Config


def check_fit(
    recipe: Recipe, num_classes: Mapping[str, int], earlier: Sequence[EarlierRun]
) -> None:
    """Check, before images are decoded, that every earlier run has a study that fits the recipe.

    Raises:
        UserError: a run has no such study. The message lists every such run, and all differences.
    """
    if not earlier:
        return
    none = ImageCounts(fit=0, val=0, train=0, test=0)
    facts = [DatasetFacts(name, count, none, "") for name, count in num_classes.items()]
    _check_all(build_plan(recipe, facts), earlier, ())


def with_start_points(
    plan: Plan, earlier: Sequence[EarlierRun], held_out: Collection[str] = ()
) -> tuple[Plan, tuple[str, ...]]:
    """The plan with its start points, and sentences on their origin.

    Args:
        plan: Its ranges are measured; points are moved into them.
        earlier: The earlier runs, in the recipe's order.
        held_out: Datasets whose test images were held out of the user's own images.

    Raises:
        UserError: a run has no study that fits. The message lists every such run, and all
            differences.
    """
    _check_all(plan, earlier, held_out)
    studies = tuple(_with_points(plan, study, earlier, held_out) for study in plan.studies)
    lines = [line for study in studies for line in prior_sentences(study)]
    lines += [line for run in earlier for line in _remarks(plan, run, held_out)]
    return plan.model_copy(update={"studies": studies}), tuple(lines)


def with_known_points(plan: Plan, begun: Plan) -> Plan:
    """The plan with the start points that the campaign began with; new studies have none."""
    known = {study.id: study.start_points for study in begun.studies}
    studies = (
        study.model_copy(update={"start_points": known.get(study.id, ())}) for study in plan.studies
    )
    return plan.model_copy(update={"studies": tuple(studies)})


def prior_sentences(study: StudyPlan) -> Iterator[str]:
    """A line for each start point: its values, and the run and trial that they come from."""
    for number, point in enumerate(study.start_points):
        values, source = ", ".join(_described(point)), f"{point.run}, {point.trial}"
        yield (
            f"{study.id}: search trial {number} of each arm has {values} (from {source}; "
            "values outside this recipe's ranges are moved to their end)"
        )


def _described(point: StartPoint) -> Iterator[str]:
    """Each dimension with its value, and with its arms if their values differ."""
    keys = dict.fromkeys(key for values in point.values.values() for key in values)
    for key in keys:
        arms: dict[Number, list[str]] = {}
        for arm, values in point.values.items():
            if key in values:
                arms.setdefault(values[key], []).append(arm)
        for value, names in arms.items():
            who = "" if len(names) == len(point.values) else f" ({', '.join(names)})"
            yield f"{key} {value:.4g}{who}"


def _check_all(plan: Plan, earlier: Sequence[EarlierRun], held_out: Collection[str]) -> None:
    problems = []
    for run in earlier:
        misfits = {s.id: list(_misfits(plan, s, run.state, held_out)) for s in plan.studies}
        if all(misfits.values()):
            lines = "\n".join(f"  {study}: {', '.join(why)}" for study, why in misfits.items())
            problems.append(f"search.prior: {run.address} has no study that fits:\n{lines}")
    if problems:
        raise UserError(
            "\n".join(problems) + "\nleave it out, or name a run of the same dataset, backbone, "
            "classes, loss and metric"
        )


def _remarks(plan: Plan, run: EarlierRun, held_out: Collection[str]) -> Iterator[str]:
    """Remarks for the user on an earlier run whose points are used."""
    for study in plan.studies:
        if misfits := list(_misfits(plan, study, run.state, held_out)):
            yield f"{study.id}: no start points from {run.address}: {', '.join(misfits)}"
        elif not any(
            run.state.arms[study.id, arm.name].choice for arm in _shared(study, run.state)
        ):
            yield (
                f"{study.id}: {run.address} has chosen nothing yet, so its best fully trained "
                "search trials are the start points"
            )
    if run.state.plan.seed == plan.seed:
        yield (
            f"search.seed is {plan.seed} as in {run.address}: where configurations are the same, "
            "finalists and confirm repeat its trainings. Set another search.seed for new ones"
        )


def _misfits(
    plan: Plan, study: StudyPlan, state: CampaignState, held_out: Collection[str]
) -> Iterator[str]:
    """All reasons why an earlier run gives a study no start points."""
    earlier = state.plan
    datasets = dict.fromkeys(one.dataset for one in earlier.studies)
    backbones = dict.fromkeys(one.backbone for one in earlier.studies)
    if study.dataset not in datasets:
        yield f"its dataset is {', '.join(datasets)}, not {study.dataset}"
    if study.backbone not in backbones:
        yield f"its backbone is {', '.join(backbones)}, not {study.backbone}"
    if earlier.metric != plan.metric:
        yield f"its metric is {earlier.metric}, not {plan.metric}"
    for of in [one for one in earlier.studies if one.dataset == study.dataset][:1]:
        if of.num_classes != study.num_classes:
            yield f"its number of classes is {of.num_classes}, not {study.num_classes}"
        if study.dataset in held_out and of.split_hash != study.split_hash:
            yield (
                "its images were split another way: images that chose its configurations may be "
                "test images now (give a test part of your own)"
            )
    here = next((one for one in earlier.studies if one.id == study.id), None)
    if here is None:
        return
    variants = {arm.name: arm.variant for arm in here.arms}
    other = {
        f"{variants[arm.name]}, not {arm.variant}": None
        for arm in study.arms
        if variants.get(arm.name, arm.variant) != arm.variant
    }
    yield from (f"its loss is {what}" for what in other)
    arms = _shared(study, state)
    if not arms:
        yield f"it searched {', '.join(variants)} only, and this recipe searches none of them"
    elif not any(_of_arm(state, here, arm) for arm in arms):
        yield "none of its search trials was trained to the end"


def _shared(study: StudyPlan, state: CampaignState) -> list[ArmPlan]:
    """The arms that both this study and the earlier run's study of this name search."""
    names = {arm.name for arm in study.arms if arm.borrows is None}
    earlier = state.plan.study(study.id).arms
    return [arm for arm in earlier if arm.borrows is None and arm.name in names]


def _with_points(
    plan: Plan, study: StudyPlan, earlier: Sequence[EarlierRun], held_out: Collection[str]
) -> StudyPlan:
    """The study with its start points: at most half of an arm's trials, each run's best first."""
    of_runs = [
        [_point(study, run, found) for found in _of_run(study, run.state)]
        for run in earlier
        if not any(_misfits(plan, study, run.state, held_out))
    ]
    in_turn = [point for row in zip_longest(*of_runs) for point in row if point is not None]
    different: dict[str, StartPoint] = {}
    for point in in_turn:
        different.setdefault(_key(study, point), point)
    searching = [arm.trials for arm in study.arms if arm.borrows is None]
    most = min(searching, default=0) // 2
    return study.model_copy(update={"start_points": tuple(different.values())[:most]})


def _key(study: StudyPlan, point: StartPoint) -> str:
    """Points with equal keys are the same: shared hyperparameters, or all if none is searched.

    A second one would only repeat the control's trial.
    """
    shared = {
        arm: {key: value for key, value in values.items() if key in SHARED}
        for arm, values in point.values.items()
    }
    return repr(shared if any(shared.values()) else point.values)


def _of_run(study: StudyPlan, state: CampaignState) -> list[_Found]:
    """An earlier run's configurations, best first: choices, then the rest."""
    here = state.plan.study(study.id)
    scored = [one for arm in _shared(study, state) for one in _of_arm(state, here, arm)]
    scored.sort(key=lambda one: (not one[0], -one[1]))
    keys = [key for key in SHARED if any(key in arm.space for arm in study.arms)]
    different: dict[str, _Found] = {}
    for _, _, found in scored:
        different.setdefault(repr([found.config.get(key) for key in keys]), found)
    return list(different.values())[:_MOST_A_RUN]


def _of_arm(
    state: CampaignState, study: StudyPlan, arm: ArmPlan
) -> list[tuple[bool, float, _Found]]:
    """(chosen, score in percent, configuration) of each of an arm's best configurations.

    If nothing is chosen or retrained yet, as in an interrupted run, fully trained search trials
    stand in: a start point need not be right.
    """
    done = state.arms[study.id, arm.name]
    found = [
        (False, one.mean, _Found(arm.name, one.source.spec.trial, one.config))
        for one in candidates(state, study, arm)
        if one.mean is not None
    ]
    if done.choice is not None:
        chosen = _Found(arm.name, done.choice.source, done.choice.config)
        found.append((True, done.choice.score or 0.0, chosen))
    return found or [
        (False, trial.last_value or 0.0, _Found(arm.name, trial.spec.trial, trial.spec.config))
        for trial in done.best(_MOST_A_RUN)
    ]


def _point(study: StudyPlan, run: EarlierRun, found: _Found) -> StartPoint:
    """A configuration's start point: a value for each dimension of each searching arm."""
    values = {
        arm.name: {
            key: space.nearest(_value(arm, key, run.state, study, found))
            for key, space in arm.space.items()
        }
        for arm in study.arms
        if arm.borrows is None
    }
    return StartPoint(run=run.address, trial=found.trial, values=values)


def _value(arm: ArmPlan, key: str, state: CampaignState, study: StudyPlan, found: _Found) -> Number:
    """The configuration's value. An arm's own parameter comes from the same arm in the earlier run.

    If that run did not search the arm, the middle of the range stands in.
    """
    config: Config | None = found.config
    if key in arm.own and arm.name != found.arm:
        done = state.arms.get((study.id, arm.name))
        best = [trial.spec.config for trial in done.best(1)] if done is not None else []
        chosen = done.choice.config if done is not None and done.choice is not None else None
        config = chosen or next(iter(best), None)
    value = None if config is None else config.get(key)
    return middle(arm.space[key]) if value is None else value
