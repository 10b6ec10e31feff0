"""Arms by name: rows, combinations and the user's own, from the recipe to a trial's settings."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pcsearch.arms import ARMS, CONTROL, arm_named, colour_of, label_of, search_keys
from pcsearch.losses import VARIANTS
from pcsearch.recipe import Recipe, RecipeError, load_recipe
from pcsearch.reporting.notes import matching
from pcsearch.search.estimate import estimate
from pcsearch.search.plan import DatasetFacts, ImageCounts, Plan, build_plan
from pcsearch.search.sampling.samplers import propose
from pcsearch.search.trial import TrialSpec
from pcsearch.search.trial_config import adopted, search_config
from pcsearch.training.config import TrainConfig
from tests.search.driving import run

OWN = {"gentle": {"loss": "my_losses:gentle", "space": {"strength": [0.1, 10], "bias": [-1, 1]}}}
BASE: dict[str, Any] = {
    "datasets": ["digits"],
    "backbones": ["compact_cnn"],
    "weights": "none",
    "asha": {"max_epochs": 9},
}


def recipe(competing: list[str], **sections: Any) -> Recipe:
    return load_recipe({**BASE, "search": {"arms": competing}, **sections})


def test_rows_fit_what_they_name() -> None:
    fields = TrainConfig.__dataclass_fields__
    for arm in ARMS.values():
        assert arm.variant is None or arm.variant in VARIANTS
        assert re.fullmatch("#[0-9a-f]{6}", arm.colour)
        for parameter in arm.parameters:
            assert parameter.name in ("lambda", "lambda_over_n") or parameter.name in fields
            assert all(parameter.limits.admit(end) for end in parameter.default)
    colours = [arm.colour for arm in ARMS.values()]
    assert len(set(colours)) == len(colours)


def test_a_joint_arm_has_the_parameters_of_both() -> None:
    arm = arm_named("pc+label_smoothing")
    assert arm.label == label_of("pc+label_smoothing") == "PC + label smoothing"
    assert [one.name for one in arm.parameters] == ["lambda_over_n", "label_smoothing"]
    assert arm_named("entropic+mixup").variant == "entropic"
    assert list(search_keys("entropic+mixup")) == ["entropic_lambda", "mixup"]
    assert colour_of("pc+mixup") == colour_of("pc+mixup") != colour_of("pc")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pc+mixupp", 'unknown arm "pc+mixupp"'),
        ("pc+pc", '"pc+pc" names an arm twice'),
        ("pc+entropic", "joins pc and entropic, but a loss has only one penalty with λ"),
        ("pc+control", 'unknown arm "pc+control"'),
        ("pc+", 'unknown arm "pc+"'),
        ("pc+gentle", '"pc+gentle" joins an arm of your own, which + cannot: list it alone'),
    ],
)
def test_what_is_no_arm(name: str, message: str) -> None:
    own = OWN if "gentle" in name else {}
    with pytest.raises(RecipeError, match=re.escape(message)) as error:
        recipe([name], arms=own)
    assert "does not name it" not in str(error.value)


def test_one_arm_under_two_names() -> None:
    with pytest.raises(RecipeError, match=re.escape('"mixup+pc" is the same arm as "pc+mixup"')):
        recipe(["pc+mixup", "mixup+pc"])


@pytest.mark.parametrize(
    ("arms", "listed", "message"),
    [
        (OWN, ["pc"], "is defined, but search.arms does not name it: add gentle there"),
        ({"pc": OWN["gentle"]}, ["pc"], "has the name of an arm that exists"),
        ({"PC": OWN["gentle"]}, ["pc", "PC"], "has the name of an arm that exists"),
        ({"none": OWN["gentle"]}, ["none"], "has the name of an arm that exists"),
        ({"mine": OWN["gentle"], "Mine": OWN["gentle"]}, ["mine", "Mine"], "that exists"),
        ({"a b": OWN["gentle"]}, ["a b"], "is no name for an arm"),
        ({"a" * 41: OWN["gentle"]}, ["a" * 41], "is no name for an arm"),
        ({"a": {"loss": "m:f", "space": {"x" * 41: 1}}}, ["a"], "which is no name for a parameter"),
        ({"a": {"loss": "m:f", "space": {"größe": 1}}}, ["a"], "which is no name for a parameter"),
        ({"a": {"loss": "m:f", "space": {"class": 1}}}, ["a"], "which is no name for a parameter"),
        ({"a": {"loss": "os.system", "space": {"x": 1}}}, ["a"], "but must be module:function"),
        ({"a": {"loss": "m:f", "space": {}}}, ["a"], "must be a mapping from the function's"),
        (
            {"a": {"loss": "m:f", "space": {"lr": 1}}},
            ["a"],
            "the name of a setting: rename",
        ),
        (
            {"a": {"loss": "m:f", "space": {"logits": 1}}},
            ["a"],
            "the name of a setting: rename",
        ),
        ({"a": {"loss": "m:f", "space": {"x": [2, 1]}}}, ["a"], "is mistaken: x is [2, 1]"),
        ({"a": {"loss": "m:f", "space": {"x": "auto"}}}, ["a"], "is mistaken: x is"),
        ({"a": {"loss": "m:f"}}, ["a"], "arms.a.space"),
    ],
)
def test_mistakes_in_an_arm_of_ones_own(arms: Any, listed: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        recipe(listed, arms=arms)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mixup", 0.2),
        ("cutmix", 1),
        ("label_smoothing", 0.1),
        ("focal_gamma", 2),
        ("logit_norm", 1),
        ("class_weights", "balanced"),
        ("class_weights", {"3": 2}),
    ],
)
def test_what_a_loss_of_ones_own_does_not_take(key: str, value: Any) -> None:
    """Arms would differ in more than their loss."""
    with pytest.raises(RecipeError, match=rf"train\.{key} is .*a loss of your own \(gentle\)"):
        recipe(["pc", "gentle"], arms=OWN, train={key: value})
    assert recipe(["pc", "gentle"], arms=OWN, train={"sam_rho": 0.1, "sampling": "balanced"})


def test_a_grid_with_an_arm_of_ones_own() -> None:
    grid = {"lr": [0.01, 0.1]}
    values = {"strength": {"choices": [0.1, 1]}, "bias": 0}
    chosen = {"gentle": {"loss": "my_losses:gentle", "space": values}}
    search = {"arms": ["gentle"], "sampler": "grid", "grid": grid, "trials": 4}
    found = load_recipe({**BASE, "arms": chosen, "search": search})
    assert found.space_for("compact_cnn", "gentle")["strength"].choices == (0.1, 1)
    with pytest.raises(RecipeError) as error:
        load_recipe({**BASE, "arms": OWN, "search": search})
    assert "arms.gentle.space.strength is a range, but search.sampler is grid" in str(error.value)
    assert "search.strength" not in str(error.value)


COUNTS = ImageCounts(fit=80, val=20, train=100, test=50)


def planned(**search: Any) -> Plan:
    asha = {"max_epochs": 9, "grace_epochs": 3, "arm_epochs": {"mixup": 18, "focal": 3}}
    arms = {"arms": ["mixup", "sam", "focal", "pc+sam"], "trials": 10}
    found = load_recipe({**BASE, "asha": asha, "search": arms | search})
    return build_plan(found, [DatasetFacts("digits", 10, COUNTS, "hash")])


@pytest.mark.parametrize(
    ("match", "trials"), [("trials", [10, 10, 10, 10, 10]), ("images", [10, 5, 5, 30, 5])]
)
def test_searches_of_equal_size(match: str, trials: list[int]) -> None:
    """Mixup has twice the epochs, SAM two passes a step, focal loss a third of the epochs."""
    plan = planned(match=match)
    study = plan.studies[0]
    assert [arm.trials for arm in study.arms] == trials
    assert [plan.full_cost(arm, "search") for arm in study.arms] == [9, 18, 18, 3, 18]
    assert [plan.epochs(arm, "confirm") for arm in study.arms] == [9, 18, 9, 3, 9]
    assert list(matching(plan, study)) == [
        f"The searches are matched at equal {match} (search.match). Search trials: "
        + ", ".join(
            f"{count} ({label})"
            for count, label in zip(
                trials, ("control", "mixup", "SAM", "focal loss", "PC + SAM"), strict=True
            )
        )
        + ".",
        "A training costs, in trainings of the control: 2 (mixup), 2 (SAM), 0.333 (focal loss), "
        "2 (PC + SAM).",
    ]


def test_a_setting_of_every_arm_costs_none_more() -> None:
    found = recipe(["sam"], train={"sam_rho": 0.05})
    plan = build_plan(found, [DatasetFacts("digits", 10, COUNTS, "hash")])
    assert [arm.cost for arm in plan.studies[0].arms] == [1.0, 1.0]
    assert list(matching(plan, plan.studies[0])) == []


def test_epochs_and_time_of_arms_of_their_own() -> None:
    """By hand: SAM's epochs count once, and its time twice."""
    found = recipe(
        ["sam"], asha={"max_epochs": 3, "grace_epochs": 3},
        finalists={"configs": 0, "repeats": 0}, confirm={"seeds": 2},
    )  # fmt: skip
    plan = build_plan(found, [DatasetFacts("digits", 10, COUNTS, "hash")])
    most = estimate(plan).at_most
    assert most.epochs == 2 * 20 * 3 + 2 * 2 * 3
    assert most.search_epochs == pytest.approx((1 + 2) * (20 * 3 + 2 * 3 * 100 / 80))


def test_a_campaign_with_arms_of_other_lengths() -> None:
    plan = planned(match="images")
    campaign = run(plan, lambda spec, epoch: 50.0 + epoch)
    for trial in campaign.state.trials.values():
        expected = {"mixup": 18, "focal": 3}.get(trial.spec.arm, 9)
        assert trial.spec.epochs == expected
        assert trial.state == "COMPLETE" or len(trial.epochs) in (3, 9)
    asked = {arm.name: arm.trials for arm in plan.studies[0].arms}
    for name, count in asked.items():
        assert len(campaign.state.arms["digits/compact_cnn", name].trials["search"]) == count


@pytest.mark.parametrize(
    ("asha", "search", "message"),
    [
        ({"arm_epochs": {"mixupp": 9}}, {}, "asha.arm_epochs.mixupp is no arm of this recipe"),
        ({"arm_epochs": {"control": 9}}, {}, "asha.arm_epochs.control is the control"),
        (
            {"arm_epochs": {"mixup": 2}, "grace_epochs": 3},
            {},
            "asha.arm_epochs.mixup is 2, but must be at least asha.grace_epochs (3)",
        ),
        ({"arm_epochs": {"mixup": 0}}, {}, "asha.arm_epochs.mixup"),
        ({}, {"match": "images", "control": "none"}, "search.match is images, but needs"),
        ({}, {"match": "images", "sampler": "grid", "grid": {"lr": [0.1]}}, "sampler is grid"),
    ],
)
def test_mistakes_in_matching(asha: Any, search: Any, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(
            {**BASE, "asha": {"max_epochs": 9, **asha}, "search": {"arms": ["mixup"], **search}}
        )
    assert message in str(error.value)


def test_from_recipe_to_trial() -> None:
    """Own parameters are in the arm's configurations alone, and adopted ones keep them."""
    found = recipe(["pc+label_smoothing", "gentle"], arms=OWN)
    plan = build_plan(found, [DatasetFacts("digits", 10, COUNTS, "hash")])
    study = plan.studies[0]
    control, joint, own = (study.arm(name) for name in (CONTROL, "pc+label_smoothing", "gentle"))
    assert joint.own == ("lambda_over_n", "label_smoothing")
    assert own.own == ("strength", "bias")
    assert (joint.variant, own.variant) == ("euclidean", "own_loss")
    assert control.own == ()
    ours = {"lr": 0.01, "lambda_over_n": 0.1, "label_smoothing": 0.2}
    config = search_config(plan, study, joint, 0, ours)
    assert config["lambda"] == pytest.approx(1.0)
    assert (config["lambda_over_n"], config["label_smoothing"]) == (0.1, 0.2)
    plain = adopted(config, control, None, 10)
    assert plain["lambda"] == plain["lambda_over_n"] == 0
    assert "label_smoothing" not in plain
    theirs = adopted(config, own, None, 10)
    assert theirs["lr"] == 0.01
    assert (theirs["strength"], theirs["bias"]) == (5.05, 0.0)  # the middles of their ranges
    assert "label_smoothing" not in theirs
    assert adopted(theirs, joint, config, 10)["label_smoothing"] == 0.2


def test_start_up_points_of_a_joint_arm_have_the_shared_values_of_all() -> None:
    found = recipe(["pc", "pc+label_smoothing"])
    counts = ImageCounts(fit=80, val=20, train=100, test=50)
    plan = build_plan(found, [DatasetFacts("digits", 10, counts, "hash")])
    study = plan.studies[0]
    points = {
        arm.name: [propose(plan, study.id, arm, index, [], arm.space) for index in range(4)]
        for arm in study.arms
    }
    rates = {name: [point["lr"] for point in of] for name, of in points.items()}
    assert rates["control"] == rates["pc"] == rates["pc+label_smoothing"]
    joint = points["pc+label_smoothing"]
    for name, low, high in (("lambda_over_n", 0.05, 0.15), ("label_smoothing", 0.02, 0.3)):
        quarters = sorted(int(4 * (point[name] - low) / (high - low)) for point in joint)
        assert quarters == [0, 1, 2, 3]  # as a Sobol sequence fills its range


def test_settings_of_a_trial() -> None:
    from pcsearch.execution.trial_run import train_config

    def spec(arm: str, variant: str, **config: float) -> TrialSpec:
        base = {"lambda": 0.0, "lambda_over_n": 0.0, "seed": 1, "split": 0, "lr": 0.01}
        return TrialSpec("t", "s", arm, "search", 0, 9, variant, {**base, **config})

    found = recipe(["gentle", "sam"], arms=OWN, train={"mixup": 0.0})
    sam = train_config(found, "compact_cnn", spec("sam", "euclidean", sam_rho=0.05))
    assert (sam.sam_rho, sam.variant, sam.own_loss) == (0.05, "euclidean", None)
    own = train_config(found, "compact_cnn", spec("gentle", "own_loss", strength=2.0, bias=0.5))
    assert own.own_loss is not None
    assert own.own_loss.reference == "my_losses:gentle"
    assert dict(own.own_loss.values) == {"strength": 2.0, "bias": 0.5}
    assert own.variant == "euclidean"


def test_a_setting_of_all_arms() -> None:
    found = recipe(["pc"], train={"mixup": 0.2, "label_smoothing": 0.1})
    assert found.train_for("compact_cnn")["mixup"] == 0.2
    with pytest.raises(RecipeError, match=r"train\.mixup"):
        recipe(["pc"], train={"mixup": -1})


def test_recipes_with_own_arms_survive_a_round_trip() -> None:
    found = recipe(["gentle", "pc+mixup"], arms=OWN)
    assert load_recipe(found.to_mapping()) == found
    assert set(found.code) == {"compact_cnn", "my_losses:gentle"}
