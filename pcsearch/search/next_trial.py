"""Which trial is next, as a function of the campaign's state: search, finalists, confirm."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator

from pcsearch.search import trial_config as configs
from pcsearch.search.estimate import ArmRef, Step, pick_study
from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.sampling.ranges import current_space
from pcsearch.search.sampling.samplers import propose, seen
from pcsearch.search.selection import Candidate, candidates
from pcsearch.search.state import ArmState, CampaignState, Choice
from pcsearch.search.trial import Config, Phase, TrialSpec


def arms_of(state: CampaignState) -> Iterator[ArmRef]:
    """Every arm of every study, in the plan's order."""
    for study in state.plan.studies:
        for arm in study.arms:
            yield study, arm, state.arms[study.id, arm.name]


def search_open(state: CampaignState, arm_ref: ArmRef) -> bool:
    """Whether the arm asks for further search trials."""
    _, plan, arm = arm_ref
    asked = len(arm.trials["search"])
    room = asked < plan.trials and (state.search_closed is None or asked == 0)
    return arm.given_up is None and room


def search_over(state: CampaignState, arm_ref: ArmRef) -> bool:
    """Whether the arm's search trials have all been asked and have ended."""
    _, plan, arm = arm_ref
    return plan.borrows is None and not search_open(state, arm_ref) and not arm.running("search")


def searches_over(state: CampaignState, study: StudyPlan) -> bool:
    """Whether every arm of the study has ended its search, so that the finalists are known."""
    arms = ((study, arm, state.arms[study.id, arm.name]) for arm in study.arms)
    return all(
        arm_ref[1].borrows is not None
        or arm_ref[2].given_up is not None
        or search_over(state, arm_ref)
        for arm_ref in arms
    )


def finalists_over(state: CampaignState, arm_ref: ArmRef) -> bool:
    """Whether the arm has retrained every finalist as often as planned."""
    study, _, arm = arm_ref
    if not (state.plan.finalist_configs and state.plan.finalist_repeats):
        return True
    return (
        searches_over(state, study)
        and next(missing_finalists(state, arm_ref), None) is None
        and not arm.running("finalists")
    )


def settled(state: CampaignState, arm_ref: ArmRef) -> bool:
    """Whether no trial of the arm will follow."""
    study, _, arm = arm_ref
    chosen = arm.choice is not None and not unconfirmed(state, study, arm)
    return arm.given_up is not None or chosen


def nothing_left(state: CampaignState) -> bool:
    """Whether every study is decided and confirmed, so that no trial will ever follow."""
    if state.running or not all(settled(state, arm_ref) for arm_ref in arms_of(state)):
        return False
    return not any(look_due(state, study) for study in state.plan.studies)


def look_due(state: CampaignState, study: StudyPlan) -> bool:
    """Whether all confirm trials up to the next look have ended, some since the last look."""
    arms = [(study, arm, state.arms[study.id, arm.name]) for arm in study.arms]
    running = any(arm_ref[2].running("confirm") for arm_ref in arms)
    return study.id in state.unseen and not running and all(settled(state, p) for p in arms)


def next_step(
    state: CampaignState, decoded: Collection[str] = frozenset(), *, timed: bool = True
) -> Step | None:
    """The next step; None while every step waits for running trials.

    `decoded` and `timed` are as in `estimate.pick_study`.
    """
    steps = [step for study in state.plan.studies if (step := _step(state, study)) is not None]
    return pick_study(state, steps, decoded, timed=timed) if steps else None


def _step(state: CampaignState, study: StudyPlan) -> Step | None:
    """A study's next step: a search trial of the least advanced arm, then finalists, then confirm.

    Finalist and confirm trials are long and their number is known, so they fill the gaps that early
    stopping leaves.
    """
    arms = [(study, arm, state.arms[study.id, arm.name]) for arm in study.arms]
    searching = [arm_ref for arm_ref in arms if search_open(state, arm_ref)]
    if searching:
        return Step("search", min(searching, key=_how_far))
    for arm_ref in arms:
        if next(missing_finalists(state, arm_ref), None) is not None:
            return Step("finalists", arm_ref)
    for arm_ref in arms:
        if arm_ref[2].choice is not None and unconfirmed(state, study, arm_ref[2]):
            return Step("confirm", arm_ref)
    return None


def _how_far(arm_ref: ArmRef) -> float:
    return len(arm_ref[2].trials["search"]) / arm_ref[1].trials


def make_trial(state: CampaignState, step: Step) -> TrialSpec:
    """The trial that a step asks for."""
    done = step.arm_ref[2]
    if step.phase == "search":
        return _search_trial(state, step.arm_ref)
    if step.phase == "finalists" or done.choice is None:
        return finalist_trial(state, step.arm_ref)
    return confirm_trial(state, step.arm_ref, done.choice)


def _search_trial(state: CampaignState, arm_ref: ArmRef) -> TrialSpec:
    """The arm's next search trial, with the values that the sampler proposes."""
    study, arm, done = arm_ref
    index = len(done.trials["search"])
    space = current_space(state, study, arm)
    sampled = propose(state.plan, study.id, arm, index, seen(done), space)
    config = configs.search_config(state.plan, study, arm, index, sampled)
    return _spec(state, study, arm, "search", index, config)


def finalist_trial(state: CampaignState, arm_ref: ArmRef) -> TrialSpec:
    """The next retraining of one of an arm's best configurations, on a further split."""
    study, arm, done = arm_ref
    candidate, repeat = next(missing_finalists(state, arm_ref))
    config = configs.finalist_config(state.plan, candidate.config, repeat)
    index = len(done.trials["finalists"])
    return _spec(state, study, arm, "finalists", index, config, candidate.source.spec.trial)


def confirm_trial(state: CampaignState, arm_ref: ArmRef, choice: Choice) -> TrialSpec:
    """The next retraining of a chosen configuration, with a new seed."""
    study, arm, done = arm_ref
    index = unconfirmed(state, study, done)[0]
    config = configs.confirm_config(state.plan, choice.config, index)
    return _spec(state, study, arm, "confirm", index, config, choice.source)


def missing_finalists(state: CampaignState, arm_ref: ArmRef) -> Iterator[tuple[Candidate, int]]:
    """Configurations that the arm still has to retrain, each with its split number."""
    plan, (study, arm, done) = state.plan, arm_ref
    if not (plan.finalist_configs and plan.finalist_repeats) or arm.borrows is not None:
        return
    if done.choice or done.given_up or not searches_over(state, study):
        return
    found = candidates(state, study, arm)
    for repeat in range(1, plan.finalist_repeats + 1):
        for candidate in found:
            if all(trial.spec.config["split"] != repeat for trial in candidate.repeats):
                yield candidate, repeat


def unconfirmed(state: CampaignState, study: StudyPlan, arm: ArmState) -> list[int]:
    """Numbers of the confirm seeds, up to the next look, that the arm's choice has not had."""
    asked = {trial.spec.config["seed"] for trial in arm.trials["confirm"]}
    wanted = state.plan.confirm_seeds[: state.wanted_seeds(study.id)]
    return [k for k, seed in enumerate(wanted) if seed not in asked]


def _spec(
    state: CampaignState,
    study: StudyPlan,
    arm: ArmPlan,
    phase: Phase,
    index: int,
    config: Config,
    source: str | None = None,
) -> TrialSpec:
    plan = state.plan
    name = f"{study.id}/{arm.name}/{phase}-{index:03d}"
    # the name is taken if the arm was confirmed, searched further and chosen again
    others = (f"{name}-c{number}" for number in itertools.count(2))
    return TrialSpec(
        trial=next(n for n in itertools.chain([name], others) if n not in state.trials),
        study=study.id,
        arm=arm.name,
        phase=phase,
        index=index,
        epochs=plan.epochs(arm, phase),
        variant=arm.variant,
        config=config,
        source=source,
        keep_weights=phase == "confirm" and index == 0,
    )
