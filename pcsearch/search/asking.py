"""Which trial is next, as a function of the campaign's state: search, finalists, confirm."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from pcsearch.search import configs
from pcsearch.search.arm_state import ArmState
from pcsearch.search.optuna_study import propose, seen
from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Config, Phase, TrialSpec

Place = tuple[StudyPlan, ArmPlan, ArmState]


def places(state: CampaignState) -> Iterator[Place]:
    """Every arm of every study, in the plan's order."""
    for study in state.plan.studies:
        for arm in study.arms:
            yield study, arm, state.arms[study.id, arm.name]


def search_open(state: CampaignState, place: Place) -> bool:
    """Whether the arm asks for further search trials."""
    _, plan, arm = place
    asked = len(arm.trials["search"])
    room = asked < plan.trials and (state.search_closed is None or asked == 0)
    return arm.given_up is None and room


def search_over(state: CampaignState, place: Place) -> bool:
    """Whether the arm's search trials have all been asked and have ended."""
    _, plan, arm = place
    return plan.borrows is None and not search_open(state, place) and not arm.running("search")


def finalists_over(state: CampaignState, arm: ArmState) -> bool:
    """Whether the arm's best configurations have been retrained as often as planned."""
    best = {trial.spec.trial for trial in arm.best(state.plan.finalist_configs)}
    asked = sum(trial.spec.source in best for trial in arm.trials["finalists"])
    wanted = len(best) * state.plan.finalist_repeats
    return asked == wanted and not arm.running("finalists")


def settled(state: CampaignState, place: Place) -> bool:
    """Whether no trial of the arm will follow."""
    _, _, arm = place
    chosen = arm.choice is not None and not _unconfirmed(state, arm)
    return arm.given_up is not None or chosen


def nothing_left(state: CampaignState) -> bool:
    """Whether every study is decided and confirmed, so that no trial will ever follow."""
    return not state.live and all(settled(state, place) for place in places(state))


def next_search(state: CampaignState) -> Place | None:
    """The arm whose search is the least far, among those that ask for more."""
    waiting = [place for place in places(state) if search_open(state, place)]
    if not waiting:
        return None
    return min(waiting, key=lambda place: len(place[2].trials["search"]) / place[1].trials)


def search_trial(state: CampaignState, place: Place) -> TrialSpec:
    """The arm's next search trial, with the values that the sampler proposes."""
    study, arm, done = place
    index = len(done.trials["search"])
    sampled = propose(state.plan, study.id, arm, index, seen(done))
    config = configs.search_config(state.plan, study, arm, index, sampled)
    return _spec(state, study, arm, "search", index, config)


def finalist_trial(state: CampaignState) -> TrialSpec | None:
    """The next retraining of one of an arm's best configurations, on a further split."""
    plan = state.plan
    for study, arm, done in places(state):
        if done.choice or done.given_up or not search_over(state, (study, arm, done)):
            continue
        asked = {(t.spec.source, t.spec.config["split"]) for t in done.trials["finalists"]}
        for trial in done.best(plan.finalist_configs):
            for repeat in range(1, plan.finalist_repeats + 1):
                if (trial.spec.trial, repeat) not in asked:
                    config = configs.finalist_config(plan, trial.spec.config, repeat)
                    index = len(done.trials["finalists"])
                    source = trial.spec.trial
                    return _spec(state, study, arm, "finalists", index, config, source)
    return None


def confirm_trial(state: CampaignState) -> TrialSpec | None:
    """The next retraining of a chosen configuration, with a seed it has not had."""
    for study, arm, done in places(state):
        if done.choice is None:
            continue
        for index in _unconfirmed(state, done):
            config = configs.confirm_config(state.plan, done.choice.config, index)
            return _spec(state, study, arm, "confirm", index, config, done.choice.source)
    return None


def _unconfirmed(state: CampaignState, arm: ArmState) -> list[int]:
    """Numbers of the confirm seeds that the arm's choice has not been trained with."""
    asked = {trial.spec.config["seed"] for trial in arm.trials["confirm"]}
    return [k for k, seed in enumerate(state.plan.confirm_seeds) if seed not in asked]


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
    # an arm that was confirmed, searched further and chosen anew has used the name before
    others = (f"{name}-c{number}" for number in itertools.count(2))
    return TrialSpec(
        trial=next(n for n in itertools.chain([name], others) if n not in state.trials),
        study=study.id,
        arm=arm.name,
        phase=phase,
        index=index,
        epochs=plan.confirm_epochs if phase == "confirm" else plan.max_epochs,
        variant=arm.variant,
        config=config,
        source=source,
        keep_weights=phase == "confirm" and index == 0 and arm.name == "pc",
    )
