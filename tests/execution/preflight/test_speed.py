"""How long a campaign takes here: measured steps, and the hours that follow from them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pcsearch.errors import UserError
from pcsearch.execution import launch
from pcsearch.execution.preflight.lr_ranges import range_test_images
from pcsearch.execution.preflight.model_check import all_plain
from pcsearch.execution.preflight.speed import Forecast, forecast, measure_speeds
from pcsearch.models.compact_cnn import CompactCNN
from pcsearch.recipe import Recipe, load_recipe
from pcsearch.search.budget import SLACK
from pcsearch.search.estimate import Speed, campaign_seconds
from pcsearch.search.observer import Silent
from pcsearch.search.plan import DatasetFacts, ImageCounts, Plan, build_plan
from tests.cli.campaigns import arm, plan

ONE_TRIAL = plan(("digits/compact_cnn",), (arm("control", 1), arm("pc", 1)))


def planned(*overrides: str) -> tuple[Recipe, Plan]:
    recipe = load_recipe("quickstart", list(overrides))
    counts = ImageCounts(fit=80, val=20, train=100, test=30)
    facts = [DatasetFacts(name, 10, counts, "0" * 16) for name in recipe.datasets]
    return recipe, build_plan(recipe, facts, {})


def test_seconds_by_hand() -> None:
    """16 trials of 9 epochs: 2 search, 8 finalists, 6 confirm, which train on 1000 for 800."""
    speeds = {"digits/compact_cnn": Speed(train=0.01, evaluate=0.002, begin=0.5)}
    epoch = 800 * 0.01 + 200 * 0.002
    trials = 16 * (0.5 + 0.3)
    expected, most = campaign_seconds(ONE_TRIAL, speeds, 4)
    assert most == pytest.approx(10 + (SLACK * (90 + 54 * 1.25) * epoch + trials) / 4)
    assert expected == pytest.approx(most)


def test_each_network_and_crop_is_measured_once() -> None:
    recipe, one = planned("datasets=[digits, fieldguide]")
    speeds = measure_speeds(recipe, one, seconds=0.2)
    assert speeds.keys() == {"digits/compact_cnn", "fieldguide/compact_cnn"}
    assert all(speed.train > speed.evaluate > 0 for speed in speeds.values())
    assert speeds["digits/compact_cnn"] != speeds["fieldguide/compact_cnn"]  # of other crops


def test_a_network_that_fails_to_train_has_no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign itself says why."""
    recipe, one = planned("datasets=[digits]", "image.per_dataset={digits: {resize: 8, crop: 8}}")
    assert forecast(recipe, one) is not None
    whole = CompactCNN.forward
    monkeypatch.setattr(CompactCNN, "forward", lambda self, x: whole(self, x) * float("nan"))
    assert forecast(recipe, one) is None


def test_features_are_counted_once_and_epochs_are_cheap() -> None:
    recipe, one = planned("datasets=[digits]")
    frozen_recipe, frozen = planned(
        "datasets=[digits]", "train.freeze=body", "image.per_dataset.digits.flip=true"
    )
    whole, head = (
        measure_speeds(of, plan, seconds=0.4)["digits/compact_cnn"]
        for of, plan in ((recipe, one), (frozen_recipe, frozen))
    )
    assert whole.once == 0 < head.once
    assert head.train < whole.train
    speeds = {"digits/compact_cnn": Speed(0.0, 0.0, 0.0, once=0.5)}
    none = {"digits/compact_cnn": Speed(0.0, 0.0)}
    more = campaign_seconds(frozen, speeds, 2)[0] - campaign_seconds(frozen, none, 2)[0]
    assert more == pytest.approx(0.5 * (100 + 30) / 2)


def test_range_tests_count_their_images() -> None:
    recipe, one = planned("datasets=[digits]", "search.lr=auto", "train.batch_size=16")
    (study,) = one.studies
    assert range_test_images(recipe, study) == 2 * 2 * 51 * 16
    recipe, one = planned("datasets=[digits]")
    assert range_test_images(recipe, one.studies[0]) == 0


def told(seconds: float, at_once: int = 2) -> Forecast:
    speeds = {study.id: Speed(0.1, 0.01) for study in ONE_TRIAL.studies}
    return Forecast(seconds, 2 * seconds, at_once, speeds)


@pytest.mark.parametrize(
    ("seconds", "at_once", "time"),
    [
        (100, 2, "1 min 15 s to 2 min 15 s (measured; 2 trials at once)."),
        (7200, 1, "1 h 30 min to 2 h 42 min (measured; 1 trial at once)."),
    ],
)
def test_what_is_said(seconds: float, at_once: int, time: str) -> None:
    first, *more = told(seconds, at_once).sentences(ONE_TRIAL)
    assert first == f"Time on this machine: {time}"
    assert len(more) == (seconds > 3600)
    assert all("a lighter network than compact_cnn" in line for line in more)


def test_a_budget_in_hours_ends_it_earlier() -> None:
    long, two_hours = told(2 * 86_400), ONE_TRIAL.model_copy(update={"budget_seconds": 7200.0})
    (line,) = long.sentences(two_hours)
    assert line.endswith("(measured; 2 trials at once), or less by budget.hours.")
    assert long.is_above_a_day(ONE_TRIAL)
    assert not long.is_above_a_day(two_hours)
    assert long.is_above_a_day(two_hours.model_copy(update={"budget_seconds": 90_000.0}))


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("days", [0.5, 2.0])
def test_more_than_a_day_is_asked(
    answer: bool, days: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "forecast", lambda recipe, plan: told(days * 86_400))
    monkeypatch.setattr(launch, "all_plain", lambda recipe: False)
    asked: list[bool] = []
    lines: list[str] = []
    watch = Silent()
    watch.noted = lines.append  # type: ignore[method-assign]

    def agree() -> bool:
        asked.append(True)
        return answer

    def tell(asking: Callable[[], bool]) -> None:
        launch._tell_time(load_recipe("cub200"), ONE_TRIAL, watch, asking)

    if days > 1 and not answer:
        with pytest.raises(UserError, match="not started"):
            tell(agree)
    else:
        tell(agree)
    assert bool(asked) == (days > 1)
    assert lines[0].startswith("Time on this machine: ")


@pytest.mark.parametrize(("backbone", "is_told"), [("compact_cnn", False), ("resnet50", True)])
def test_only_the_smallest_network_starts_without_its_time(
    backbone: str, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "forecast", lambda recipe, plan: told(100))
    lines: list[str] = []
    watch = Silent()
    watch.noted = lines.append  # type: ignore[method-assign]
    recipe = load_recipe("quickstart", [f"backbones=[{backbone}]", "image.crop=32"])
    launch._tell_time(recipe, ONE_TRIAL, watch, lambda: True)
    assert bool(lines) == is_told


def test_plain_networks_start_at_once() -> None:
    assert all_plain(load_recipe("quickstart"))
    assert not all_plain(load_recipe("quickstart", ["backbones=[resnet50]", "weights=imagenet"]))
