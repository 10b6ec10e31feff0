"""How much work is still certain to come, in seconds of wall time.

Used to close the search phase early enough that finalists and confirm still fit the budget, and
for the remaining time on the screen.
"""

from __future__ import annotations

from pcsearch.search.plan import ArmPlan, Plan, StudyPlan
from pcsearch.search.state import ArmState, CampaignState

SLACK = 1.1
"""Starting workers, evaluating and uneven ends cost more than the epochs alone."""


def seconds_per_image(state: CampaignState) -> dict[str, float]:
    """Measured training seconds an image and epoch, by study; studies without epochs are absent."""
    seconds: dict[str, float] = {}
    images: dict[str, int] = {}
    for trial in state.trials.values():
        study = state.plan.study(trial.spec.study)
        trained = study.images.train if trial.spec.phase == "confirm" else study.images.fit
        seconds[study.id] = seconds.get(study.id, 0.0) + trial.seconds
        images[study.id] = images.get(study.id, 0) + trained * len(trial.epochs)
    return {study: seconds[study] / images[study] for study in seconds if images[study]}


def committed_seconds(state: CampaignState, width: int) -> float | None:
    """Wall seconds of the work that follows even if no further search trial is asked.

    Running trials are counted to their full budget. None while nothing has been measured.
    """
    rates = seconds_per_image(state)
    if not rates:
        return None
    fallback = max(rates.values())
    total = 0.0
    for study in state.plan.studies:
        rate = rates.get(study.id, fallback)
        for arm in study.arms:
            total += rate * _committed_images(state, study, arm)
    return SLACK * total / max(1, width)


def full_trial_seconds(state: CampaignState, study: StudyPlan) -> float:
    """Seconds of one fully trained search trial of a study, 0 while nothing has been measured."""
    rates = seconds_per_image(state)
    rate = rates.get(study.id, max(rates.values(), default=0.0))
    return SLACK * rate * study.images.fit * state.plan.max_epochs


def _committed_images(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> int:
    """Images that the arm's running and certain trials still train on, counted once an epoch."""
    plan, done = state.plan, state.arms[study.id, arm.name]
    images = 0
    for trials in done.trials.values():
        for trial in trials:
            if trial.state == "RUNNING":
                size = study.images.train if trial.spec.phase == "confirm" else study.images.fit
                images += size * (trial.spec.epochs - trial.last_epoch)
    if done.given_up:
        return images
    over = state.search_closed is not None or len(done.trials["search"]) >= arm.trials
    waiting = _waiting_finalists(plan, arm, done, over) if done.choice is None else 0
    seeds = len(plan.confirm_seeds) - len(done.trials["confirm"])
    images += waiting * study.images.fit * plan.max_epochs
    images += seeds * study.images.train * plan.confirm_epochs
    return images + _first_trial_images(plan, study, arm, done)


def _waiting_finalists(plan: Plan, arm: ArmPlan, done: ArmState, search_over: bool) -> int:
    """Finalist trials still to be asked, if every search trial that may be trained fully is."""
    running = sum(trial.state in ("COMPLETE", "RUNNING") for trial in done.trials["search"])
    eligible = running if search_over else arm.trials
    configs = 0 if arm.borrows else min(plan.finalist_configs, eligible)
    return max(0, configs * plan.finalist_repeats - len(done.trials["finalists"]))


def _first_trial_images(plan: Plan, study: StudyPlan, arm: ArmPlan, done: ArmState) -> int:
    """An arm that has not begun still gets one trial, whatever the budget."""
    if arm.borrows or done.trials["search"]:
        return 0
    return study.images.fit * plan.max_epochs
