"""Whole campaigns, really decided, whose trials learn by a made-up curve."""

from __future__ import annotations

from typing import Any

from pcsearch.recipe.search_space import Space
from pcsearch.search.campaign import Campaign
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan, confirm_seeds
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import TrialSpec
from tests.search.driving import LR, control_arm, make_plan, run, study_plan

FAILURE = "loss became nan"


def campaign_plan(*studies: StudyPlan, seeds: int = 5, **changes: Any) -> Plan:
    """By default one study of control and PC, 12 trials each, 2 × 2 finalists, 5 seeds."""
    defaults: dict[str, Any] = {
        "studies": studies or (study_plan(),),
        "sampler": "random",
        "finalist_configs": 2,
        "finalist_repeats": 2,
        "confirm_seeds": confirm_seeds(0, seeds),
    }
    return make_plan(**defaults | changes)


def simulate(plan: Plan, **options: Any) -> CampaignState:
    """The state after a campaign; options as in `tests.search.driving.run`."""
    campaign: Campaign = run(plan, **{"curve": helpful, **options})
    return campaign.state


def other_study(dataset: str, backbone: str, num_classes: int) -> StudyPlan:
    changes = {"id": f"{dataset}/{backbone}", "backbone": backbone, "num_classes": num_classes}
    return study_plan(dataset).model_copy(update=changes)


def borrowing_control() -> ArmPlan:
    return control_arm(trials=0, space={}, fixed={}, borrows="pc")


def smoothing_arm(trials: int = 12) -> ArmPlan:
    space = {"lr": LR, "label_smoothing": Space.between(0.02, 0.3)}
    return control_arm(trials, name="label_smoothing", parameter="label_smoothing", space=space)


def entropic_arm(trials: int = 12) -> ArmPlan:
    space = {"lr": LR, "lambda": Space.between(0.01, 1.0, log=True)}
    changes: dict[str, Any] = {"name": "entropic", "variant": "entropic", "parameter": "lambda"}
    return control_arm(trials, space=space, **changes)


def luck(seed: int) -> float:
    return (seed % 97) / 97


def helpful(spec: TrialSpec, epoch: int) -> float:
    """Percent: PC gains about two points, best at λ/N 0.1; each arm has its own luck by seed."""
    gain = 2 - 40 * abs(float(spec.config["lambda_over_n"]) - 0.1) if spec.arm == "pc" else 0.0
    own = luck(spec.config["seed"] // (97 if spec.arm == "pc" else 89))
    return (80 - 20 * abs(float(spec.config["lr"]) - 0.1) + gain) * (1 - 0.5**epoch) + 0.3 * own


def useless(spec: TrialSpec, epoch: int) -> float:
    """PC gains and loses at random: each arm's luck is far larger than any difference."""
    own = luck(spec.config["seed"] // (97 if spec.arm == "pc" else 89))
    return 80 * (1 - 0.5**epoch) + 5 * own


def harmful(spec: TrialSpec, epoch: int) -> float:
    return helpful(spec, epoch) - (6 if spec.arm == "pc" else 0)


def likes_strong(spec: TrialSpec, epoch: int) -> float:
    """The stronger the regulariser, the better: the best lies beyond the range's high end."""
    key = "label_smoothing" if "label_smoothing" in spec.config else "lambda_over_n"
    return (60 + 100 * float(spec.config[key])) * (1 - 0.5**epoch)
