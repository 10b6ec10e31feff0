"""What of a recipe may change when its campaign is gone on with."""

from __future__ import annotations

import pytest

from pcsearch.errors import UserError
from pcsearch.recipe.extend import check_extension
from pcsearch.recipe.load import load_recipe
from pcsearch.recipe.schema import Recipe


def changed(*overrides: str) -> tuple[Recipe, Recipe]:
    before = load_recipe("quickstart")
    return before, load_recipe(before.to_mapping(), overrides)


@pytest.mark.parametrize(
    "override",
    [
        "search.trials=400",
        "confirm.seeds=20",
        "budget.hours=3",
        "resources.max_concurrent=1",
        "resources.cpus_per_trial=2",
        "data.root=/elsewhere",
        "data.allow_pretraining_overlap=true",
        "datasets=[digits, fieldguide, cub200]",
        "datasets=[fieldguide, digits]",
        "search.startup_trials=7",
    ],
)
def test_it_may_become_wider(override: str) -> None:
    check_extension(*changed(override))


def test_a_new_backbone_brings_its_own_settings() -> None:
    check_extension(
        *changed(
            "backbones=[compact_cnn, squeezenet1_1]",
            "weights={squeezenet1_1: none, compact_cnn: none}",
            "train.per_backbone={squeezenet1_1: {momentum: 0.8}}",
        )
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.trials=1", "search.trials: is 10 and cannot become 1; it can only grow"),
        ("datasets=[digits]", "datasets: fieldguide would be removed"),
        ("image.crop=20", "image.crop: is 32, not 20: another preparation"),
        ("image.per_dataset={digits: {crop: 20}}", "image.per_dataset.digits"),
        ("data.split_seed=1", "data.split_seed: is 0, not 1: trials on other images"),
        ("data.val_fraction=0.3", "data.val_fraction"),
        ("search.arms=[pc, entropic]", "search.arms"),
        ("search.lambda_over_n=[0.01, 0.5]", "search.lambda_over_n"),
        ("asha.max_epochs=90", "asha.max_epochs"),
        ("finalists={configs: 1, repeats: 1}", "finalists.configs"),
        ("asha.rule=plain", "asha.rule"),
        ("asha.full_trainings=1", "asha.full_trainings"),
        ("search.widen=never", "search.widen"),
        ("confirm.until=decided", "confirm.until"),
        ("confirm.max_seeds=30", "confirm.max_seeds"),
        ("train.momentum=0.5", "train.momentum"),
        ("train.per_backbone={compact_cnn: {momentum: 0.5}}", "train.per_backbone.compact_cnn"),
        ("metric=mean_class_top1", "metric"),
        ("search.seed=5", "search.seed"),
        (
            "search.prior=[first]",
            'search.prior: is [], not ["first"]: the trials so far depend on their arms, ranges',
        ),
    ],
)
def test_it_may_not_become_another(override: str, message: str) -> None:
    before, after = changed(override)
    with pytest.raises(UserError, match="start a new run") as caught:
        check_extension(before, after)
    assert message in str(caught.value)


def test_a_range_is_told_as_one_change() -> None:
    with pytest.raises(UserError) as caught:
        check_extension(*changed("search.lr=[0.001, 0.5]"))
    _, change, _ = str(caught.value).splitlines()
    assert "{low: 0.02, high: 0.3, log: true}, not {low: 0.001, high: 0.5, log: false}" in change


def test_all_that_is_refused_is_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        check_extension(*changed("image.crop=20", "search.trials=1", "train.momentum=0.5"))
    assert len(str(caught.value).splitlines()) == 5
