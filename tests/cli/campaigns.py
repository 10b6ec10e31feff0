"""Real campaigns over made-up learning curves, for the tests of the views."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pcsearch.recipe.search_space import Space
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import Event, Journal, MemoryJournal
from pcsearch.search.plan import ArmPlan, ImageCounts, Plan, StudyPlan, confirm_seeds
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import TrialSpec

LR = Space.between(0.01, 0.3, log=True)
LAMBDA = Space.between(0.05, 0.15)
SMOOTHING = Space.between(0.02, 0.3)
Listener = Callable[[Event, CampaignState], None]
Tick = Callable[[CampaignState, float], None]


def arm(name: str, trials: int = 6, borrows: str | None = None) -> ArmPlan:
    parameter = {"pc": "lambda_over_n", "label_smoothing": "label_smoothing"}.get(name)
    own = {"lambda_over_n": LAMBDA, "label_smoothing": SMOOTHING}
    return ArmPlan.model_validate(
        {
            "name": name,
            "variant": "euclidean",
            "parameter": parameter,
            "trials": 0 if borrows else trials,
            "space": {}
            if borrows
            else {"lr": LR, **({parameter: own[parameter]} if parameter else {})},
            "fixed": {},
            "borrows": borrows,
        }
    )


def study(name: str, arms: Sequence[ArmPlan]) -> StudyPlan:
    dataset, backbone = name.split("/", 1)
    counts = ImageCounts(fit=800, val=200, train=1000, test=300)
    return StudyPlan(
        id=name,
        dataset=dataset,
        backbone=backbone,
        num_classes=20,
        images=counts,
        split_hash="0123456789abcdef",
        arms=tuple(arms),
    )


def plan(
    studies: Sequence[str] = ("digits/compact_cnn", "fieldguide/compact_cnn"),
    arms: Sequence[ArmPlan] = (arm("control"), arm("pc")),
    *,
    finalists: tuple[int, int] = (2, 2),
    seeds: int = 3,
    budget_seconds: float | None = None,
) -> Plan:
    return Plan(
        name="demo",
        metric="top1",
        studies=tuple(study(name, arms) for name in studies),
        max_epochs=9,
        grace_epochs=1,
        reduction_factor=3,
        sampler="random",
        startup_trials=3,
        seed=0,
        finalist_configs=finalists[0],
        finalist_repeats=finalists[1],
        confirm_seeds=confirm_seeds(0, seeds),
        confirm_epochs=9,
        budget_seconds=budget_seconds,
    )


def value(spec: TrialSpec, epoch: int) -> float:
    """A curve that rises to a height given by the configuration."""
    height = 95 - 10 * abs(math.log(spec.config.get("lr", 0.05) / 0.05))
    return height * (1 - math.exp(-epoch / 2))


def drive(
    plan: Plan,
    *,
    listener: Listener,
    tick: Tick = lambda state, seconds: None,
    max_concurrent: int = 3,
    fails: Callable[[TrialSpec], bool] = lambda spec: False,
    until: float = math.inf,
    journal: Journal | None = None,
) -> Campaign:
    """Run a campaign with `max_concurrent` trials at once; every epoch takes one second."""
    now = [0.0]
    campaign = Campaign(
        plan,
        journal or MemoryJournal(),
        clock=lambda: now[0],
        max_concurrent=max_concurrent,
        listener=listener,
    )
    live: list[tuple[TrialSpec, int]] = []
    while not campaign.done and now[0] < until:
        while len(live) < max_concurrent and (spec := campaign.next_trial()) is not None:
            live.append((spec, 0))
        now[0] += 1.0
        going = []
        for spec, epoch in live:
            if fails(spec):
                campaign.fail(spec.trial, "loss became nan at epoch 1, step 3: lower search.lr")
                continue
            last = epoch + 1 == spec.epochs
            confirm = spec.phase == "confirm"
            reached = None if confirm else value(spec, epoch + 1)
            test = {"top1": 90.0 + spec.index} if confirm and last else None
            if campaign.report(spec.trial, epoch + 1, reached, 1.0, {}, test):
                going.append((spec, epoch + 1))
        live = going
        tick(campaign.state, now[0])
    return campaign


def silent(event: Event, state: CampaignState) -> None:
    """A listener that does nothing."""
