"""Drive a real campaign without training: a learning-curve function stands for the trainer."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from pcsearch.recipe.search_space import Space
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from pcsearch.search.plan import ArmPlan, ImageCounts, Plan, StudyPlan, confirm_seeds
from pcsearch.search.trial import TrialSpec

Curve = Callable[[TrialSpec, int], float]

LR = Space("range", low=0.01, high=0.3, log=True)
FIXED = {"weight_decay": 1e-4, "batch_size": 32}


def control_arm(trials: int = 12, **changes: Any) -> ArmPlan:
    values: dict[str, Any] = {
        "name": "control", "variant": "euclidean", "parameter": None, "trials": trials,
        "space": {"lr": LR}, "fixed": FIXED,
    }  # fmt: skip
    return ArmPlan(**values | changes)


def pc_arm(trials: int = 12, low: float = 0.05, high: float = 0.15, **changes: Any) -> ArmPlan:
    values: dict[str, Any] = {
        "name": "pc", "variant": "euclidean", "parameter": "lambda_over_n", "trials": trials,
        "space": {"lr": LR, "lambda_over_n": Space("range", low=low, high=high)}, "fixed": FIXED,
    }  # fmt: skip
    return ArmPlan(**values | changes)


def study_plan(name: str = "digits", arms: tuple[ArmPlan, ...] | None = None) -> StudyPlan:
    return StudyPlan(
        id=f"{name}/compact_cnn",
        dataset=name,
        backbone="compact_cnn",
        num_classes=10,
        images=ImageCounts(fit=80, val=20, train=100, test=300),
        split_hash="0123456789abcdef",
        arms=arms or (control_arm(), pc_arm()),
    )


def make_plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "name": "demo", "metric": "top1", "studies": (study_plan(),), "max_epochs": 9,
        "grace_epochs": 1, "reduction_factor": 3, "sampler": "tpe", "startup_trials": 3, "seed": 0,
        "finalist_configs": 0, "finalist_repeats": 0, "confirm_seeds": confirm_seeds(0, 3),
        "confirm_epochs": 9,
    }  # fmt: skip
    return Plan(**values | changes)


def smooth_curve(spec: TrialSpec, epoch: int) -> float:
    """Learns best at lr 0.1 and λ/N 0.1, with a little noise that depends on the seed."""
    miss = abs(spec.config["lr"] - 0.1) + abs(spec.config["lambda_over_n"] - 0.1)
    noise = random.Random(f"{spec.config['seed']} {epoch}").random()
    return 90 * (1 - miss) * (1 - 0.5**epoch) + noise


def drive(
    campaign: Campaign,
    curve: Curve = smooth_curve,
    *,
    seconds_per_epoch: float = 1.0,
    order_seed: int | None = None,
    fails: Mapping[str, int] | None = None,
    most_epochs: int | None = None,
    in_parallel: bool = False,
) -> None:
    """Run a campaign to its end, `campaign.max_concurrent` trials at once, one epoch at a time.

    Args:
        order_seed: None takes the running trials in turn; else which one reports next is random.
        fails: Trial id → the epoch in which it fails.
        in_parallel: An epoch of every running trial takes the same `seconds_per_epoch`, so a slot
            without a trial is time lost; otherwise the work is shared without loss.
        most_epochs: Stop (as a killed driver would) after that many reports.
    """
    clock = campaign._clock
    assert isinstance(clock, Clock)
    rng = random.Random(order_seed)
    live: list[tuple[TrialSpec, int]] = []
    ready: dict[str, float] = {}
    reports = 0
    while not campaign.done or live:
        while len(live) < campaign.max_concurrent and (spec := campaign.next_trial()) is not None:
            live.append((spec, 0))
            ready[spec.trial] = clock.now + seconds_per_epoch
        spec, epoch = live.pop(0 if order_seed is None else rng.randrange(len(live)))
        if in_parallel:  # the queue is in the order in which epochs end
            clock.now = ready[spec.trial]
            ready[spec.trial] += seconds_per_epoch
        else:
            clock.now += seconds_per_epoch / campaign.max_concurrent
        if (fails or {}).get(spec.trial) == epoch + 1:
            campaign.fail(spec.trial, "loss became nan")
            continue
        value = curve(spec, epoch + 1)
        confirm = spec.phase == "confirm"
        last = epoch + 1 == spec.epochs
        test = {"top1": value, "mean_class_top1": value - 1} if confirm and last else None
        goes_on = campaign.report(
            spec.trial, epoch + 1, None if confirm else value, seconds_per_epoch, {"lr": 0.1}, test
        )
        reports += 1
        if reports == most_epochs:
            return
        if goes_on:
            live.append((spec, epoch + 1))


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(
    plan: Plan, curve: Curve = smooth_curve, max_concurrent: int = 1, **options: Any
) -> Campaign:
    """A campaign driven to its end over a journal in memory."""
    campaign = Campaign(plan, MemoryJournal(), Clock(), max_concurrent=max_concurrent)
    drive(campaign, curve, **options)
    return campaign
