"""`search.lr: auto`: from a recipe to a plan with measured ranges, on scanned digits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pcsearch.code_consent import VARIABLE
from pcsearch.errors import UserError
from pcsearch.execution.preflight.datasets import (
    PreparedDataset,
    open_datasets,
    prepare_datasets,
    split_of,
)
from pcsearch.execution.preflight.lr_ranges import (
    is_automatic,
    lr_sentences,
    shared_ranges,
    with_default,
    with_measured,
)
from pcsearch.recipe import load_recipe
from pcsearch.recipe.load import parse_recipe
from pcsearch.recipe.schema import DEFAULT_LR, Recipe
from pcsearch.recipe.search_space import Space
from pcsearch.search.journal.plan_check import read_plan
from pcsearch.search.observer import Silent
from pcsearch.search.plan import Plan, build_plan
from pcsearch.training.lr_range_test import LossCurve, lr_range


class Watching(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []
        self.lines: list[str] = []

    def preparing(self, what: str, done: int, total: int) -> None:
        self.steps.append((what, done, total))

    def noted(self, line: str) -> None:
        self.lines.append(line)


def recipe(*overrides: str) -> Recipe:
    return load_recipe("quickstart", ["datasets=[digits]", "search.lr=auto", *overrides])


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    chosen, cache = recipe(), tmp_path_factory.mktemp("cache")
    (prepared,) = prepare_datasets(chosen, open_datasets(chosen), cache, lambda *_: None)
    return prepared


def planned(
    chosen: Recipe, dataset: PreparedDataset, known: Plan | None = None, **watch: Any
) -> Plan:
    plan = build_plan(chosen, [dataset.facts])
    return with_measured(plan, chosen, [dataset], known, watch.get("observer", Silent()))


@pytest.fixture(scope="module")
def plan(digits: PreparedDataset) -> Plan:
    return planned(recipe(), digits)


def test_every_arm_gets_a_range_that_holds_the_good_rates(plan: Plan) -> None:
    """Whole trainings reach 94 % and more at each of 0.02 to 0.16, and fail at 1.28."""
    (study,) = plan.studies
    control, pc = study.arms
    assert control.measured == pc.measured == ("lr",)
    for space in (control.space["lr"], pc.space["lr"]):
        assert space.kind == "range"
        assert space.log
        assert 0.002 <= float(space.low or 0) <= 0.02
        assert 0.16 < float(space.high or 0) <= 1.0
    assert list(pc.space) == ["lr", "lambda_over_n"]
    assert not is_automatic(plan)
    assert read_plan(plan.model_dump(mode="json")) == plan


def test_measuring_again_gives_the_same(plan: Plan, digits: PreparedDataset) -> None:
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    observer = Watching()
    assert planned(recipe(), digits, observer=observer) == plan
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    whats, done, totals = zip(*observer.steps, strict=True)
    assert set(whats) == {"digits/compact_cnn: learning-rate range"}
    assert set(totals) == {204}  # 2 arms, 2 tests each, 51 steps
    assert list(done) == sorted(done)
    assert done[-1] == 204
    assert observer.lines[0].startswith("digits/compact_cnn: lr ")


def test_validation_and_test_images_are_not_looked_at(
    digits: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses are the same with other validation images and no test images, bit for bit."""
    seen: list[LossCurve] = []

    def spy(curves: Sequence[LossCurve]) -> tuple[float, float]:
        seen.extend(curves)
        return lr_range(curves)

    monkeypatch.setattr("pcsearch.training.lr_range_test.lr_range", spy)
    planned(recipe(), digits)
    images = np.array(digits.training.store.images)
    split = split_of(recipe(), digits.training, 0)
    store = dataclasses.replace(digits.training.store, images=images)
    training = dataclasses.replace(digits.training, store=store)
    other = dataclasses.replace(digits, training=training, test=None)
    images[split.val] = 255 - images[split.val]
    planned(recipe(), other)
    assert len(seen) == 8
    assert seen[4:] == seen[:4]
    images[split.fit[:100]] = 0  # while these do matter
    planned(recipe(), other)
    assert all(new != old for new, old in zip(seen[8:], seen[:4], strict=True))


def test_what_is_known_is_not_measured_again(plan: Plan, digits: PreparedDataset) -> None:
    """A campaign that is resumed: its journal's plan has the ranges, here made up."""
    (study,) = plan.studies
    own = Space.between(0.123, 0.456, log=True)
    arms = tuple(a.model_copy(update={"space": a.space | {"lr": own}}) for a in study.arms)
    begun = plan.model_copy(update={"studies": (study.model_copy(update={"arms": arms}),)})
    observer = Watching()
    again = planned(recipe("search.trials=13"), digits, begun, observer=observer)
    assert [arm.space["lr"] for arm in again.studies[0].arms] == [own, own]
    assert [arm.measured for arm in again.studies[0].arms] == [("lr",), ("lr",)]
    assert [arm.trials for arm in again.studies[0].arms] == [13, 13]
    assert observer.steps == observer.lines == []


def test_of_a_wider_campaign_the_new_studies_are_measured(
    plan: Plan, digits: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "tests")
    wider = recipe("backbones=[compact_cnn,tests.execution.preflight.test_lr_ranges:silent]")
    observer = Watching()
    with pytest.raises(UserError) as caught:
        planned(wider, digits, plan, observer=observer)
    message = str(caught.value)
    network = "tests.execution.preflight.test_lr_ranges:silent"
    assert message.startswith(f"digits/{network}: search.lr is auto")
    for part in ("arm control", "between 1e-05", "nothing is learned", "search.lr=[0.0001,0.01]"):
        assert part in message
    assert {what.split(":")[-2] for what, _, _ in observer.steps} == {"silent"}


class Silence(torch.nn.Module):
    """Says the same of every image, whatever it is taught: its gradients are zero."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(1, classes, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(images.new_zeros(len(images), 1))


def silent(num_classes: int) -> torch.nn.Module:
    return Silence(num_classes)


def test_arms_that_agree_share_the_range_of_the_first_to_diverge() -> None:
    ranges = {"control": (0.002, 0.1), "pc": (0.001, 0.05), "jeffreys": (0.0001, 0.005)}
    low = Space.between(0.001, 0.05, log=True)
    own = Space.between(0.0001, 0.005, log=True)
    assert shared_ranges(ranges) == {"control": low, "pc": low, "jeffreys": own}
    assert list(lr_sentences("a/b", shared_ranges(ranges))) == [
        "a/b: lr 0.001 to 0.05, measured (control, pc)",
        "a/b: lr 0.0001 to 0.005, measured (jeffreys)",
    ]


def test_arms_share_a_range_only_where_all_of_them_agree() -> None:
    """0.1 and 0.06 agree, 0.06 and 0.035 do, 0.1 and 0.035 do not: the first two share."""
    found = shared_ranges({"control": (0.002, 0.1), "a": (0.0012, 0.06), "b": (0.0007, 0.035)})
    assert [found[name].high for name in ("control", "a", "b")] == [0.06, 0.06, 0.035]


def test_an_arm_that_searches_nothing_is_not_measured(digits: PreparedDataset) -> None:
    observer = Watching()
    found = planned(recipe("search.control=single"), digits, observer=observer)
    control, pc = found.studies[0].arms
    assert (control.measured, control.space) == ((), {})
    assert pc.measured == ("lr",)
    assert observer.steps[-1][1:] == (102, 102)


def test_simulations_take_a_stated_range(digits: PreparedDataset) -> None:
    found = with_default(build_plan(recipe(), [digits.facts]))
    assert {arm.space["lr"] for arm in found.studies[0].arms} == {DEFAULT_LR}
    assert {arm.measured for arm in found.studies[0].arms} == {()}


def test_a_plan_that_was_not_measured_is_none_to_run(digits: PreparedDataset) -> None:
    raw = build_plan(recipe(), [digits.facts]).model_dump(mode="json")
    with pytest.raises(ValueError, match=r"the space of .lr. is not a range"):
        read_plan(raw)


def test_journals_from_before_are_read(plan: Plan) -> None:
    raw = plan.model_dump(mode="json")
    for arm in raw["studies"][0]["arms"]:
        del arm["measured"]
    assert [arm.measured for arm in read_plan(raw).studies[0].arms] == [(), ()]


def test_recipes_say_auto_and_say_it_again(tmp_path: Path) -> None:
    chosen = load_recipe(
        {
            "datasets": ["digits"],
            "backbones": ["resnet50", "vgg16"],
            "asha": {"max_epochs": 9},
            "search": {"lr": [0.1, 0.2], "per_backbone": {"vgg16": {"lr": "auto"}}},
        }
    )
    assert chosen.space_for("vgg16", "pc")["lr"] == Space.auto()
    assert chosen.space_for("resnet50", "pc")["lr"] == Space.between(0.1, 0.2)
    assert chosen.measures_lr
    assert parse_recipe(chosen.dump_yaml()) == chosen
    assert "lr: auto" in chosen.dump_yaml()
    assert not load_recipe("cub200").measures_lr
    assert load_recipe("cub200", ["search.lr=auto"]).measures_lr
    for own in (["my-images", "data.images=x"], ["my-manifest", "data.manifest=x.csv"]):
        assert load_recipe(own[0], own[1:]).measures_lr
    assert not load_recipe("my-images", ["data.images=x", "search.lr=0.1"]).measures_lr


def test_a_stated_rate_is_still_meant() -> None:
    chosen = load_recipe(
        {
            "datasets": ["digits"],
            "backbones": ["resnet50"],
            "asha": {"max_epochs": 9},
            "train": {"lr": 0.1},
        }
    )
    assert not chosen.measures_lr
    assert "lr" not in chosen.space_for("resnet50", "pc")
