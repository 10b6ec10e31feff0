"""One row of a registry is enough: a campaign with an arm, a metric and an augmentation of ours."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pcsearch.losses import PAIRINGS, VARIANTS
from pcsearch.recipe import RecipeError, load_recipe
from pcsearch.training.config import PairingName, VariantName

ROOT = Path(__file__).resolve().parents[1]
OVERRIDES = (
    "datasets=[digits]",
    "data.classes=[3, 5, 8]",
    "metric=late_top1",
    "image.darkening=0.4",
    "search.arms=[small,small+label_smoothing,mixup]",
    "search.trials=3",
    "search.small_lambda=[0.01,0.02]",
    "asha.max_epochs=2",
    "asha.grace_epochs=1",
    "finalists.configs=1",
    "finalists.repeats=2",
    "confirm.seeds=2",
    "confirm.epochs=2",
)


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.three_rows", *OVERRIDES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def test_the_recipe_has_a_key_for_each(told: dict[str, Any]) -> None:
    recipe = told["recipe"]
    assert recipe["search"]["small_lambda"] == {"low": 0.01, "high": 0.02, "log": False}
    assert recipe["image"]["darkening"] == 0.4
    assert recipe["metric"] == "late_top1"


def test_the_arm_searched_its_range_with_its_penalty(told: dict[str, Any]) -> None:
    own = [trial["config"]["lambda"] for trial in told["trials"] if trial["arm"] == "small"]
    assert own
    assert all(0.01 <= value <= 0.02 for value in own)
    assert len(set(own)) > 1
    assert told["calls"]["penalty"] > 0
    assert told["calls"]["images"] > 0


def test_joined_by_a_plus_it_searches_both_parameters(told: dict[str, Any]) -> None:
    name = "small+label_smoothing"
    configs = [trial["config"] for trial in told["trials"] if trial["arm"] == name]
    assert configs
    assert all(0.01 <= one["lambda"] <= 0.02 for one in configs)
    assert all(0.02 <= one["label_smoothing"] <= 0.3 for one in configs)
    for trial in told["trials"]:
        if trial["arm"] in ("control", "small"):
            assert "label_smoothing" not in trial["config"]
    line = next(line for line in told["notes"] if line.startswith("small logits + label smoothing"))
    assert re.search(r"λ 0\.01\d*, smoothing 0\.\d+, val top-1", line)


def test_arms_with_settings_of_their_own_leave_the_others_alone(told: dict[str, Any]) -> None:
    for trial in told["trials"]:
        config = trial["config"]
        assert ("mixup" in config) == (trial["arm"] == "mixup")
        if trial["arm"] == "mixup":
            assert 0.05 <= config["mixup"] <= 1
            assert config["lambda"] == 0


def test_the_metric_decides_and_is_measured_on_the_test_images(told: dict[str, Any]) -> None:
    tests = [trial["test"] for trial in told["trials"] if trial["test"]]
    assert len(tests) == 8
    assert all({"late_top1", "top1", "ece"} <= set(test) for test in tests)
    (study,) = told["summary"]["studies"]
    arm = study["arms"]["small"]
    means = sorted(test["late_top1"] for test in tests)
    assert means[0] <= arm["test_top1"]["mean"] <= means[-1]
    assert arm["gain"]["parts"]["images"] is not None  # weights of images reach the interval
    assert any("the last class counts double (metric: late_top1)" in line for line in told["notes"])


def test_the_figure_has_its_colour_and_its_name(told: dict[str, Any]) -> None:
    assert "#123456" in told["figure"]
    assert "small logits" in re.sub(r"<[^>]+>", "", told["figure"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("search.small_lambda=1", "unknown key"),
        ("image.darkening=0.4", "unknown key"),
        ("metric=late_top1", "but must be top1, mean_class_top1"),
        ("metric=nll", "but must be top1, mean_class_top1"),
    ],
)
def test_without_the_row_each_is_a_mistake(given: str, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        load_recipe("quickstart", [given])


def test_names_that_recipes_know_are_those_of_the_losses() -> None:
    """Recipes are read without PyTorch, so these names stand in two places."""
    assert set(VariantName.__args__) == set(VARIANTS)  # type: ignore[attr-defined]
    assert set(PairingName.__args__) == set(PAIRINGS)  # type: ignore[attr-defined]
