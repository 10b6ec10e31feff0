from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

from pcsearch.cli.views.plan import Rates, plan_json, plan_view
from pcsearch.errors import UserError
from pcsearch.execution.preflight.speed import Forecast
from pcsearch.models import PublishedWeights
from pcsearch.search.budget import SLACK
from pcsearch.search.plan import Plan, StartPoint
from pcsearch.search.verdicts.gain import detectable_gain
from tests.cli.campaigns import arm, plan

NO_RATES = Rates(None, None, 1)
ONE_TRIAL = plan(("digits/compact_cnn",), (arm("control", 1), arm("pc", 1)))


def text_of(one: Plan, rates: Rates, columns: int = 80) -> str:
    console = Console(width=columns, color_system=None)
    with console.capture() as capture:
        console.print(plan_view(one, rates))
    return capture.get()


def test_json_by_hand() -> None:
    # 2 search trials, both retrained twice by both arms, 2 × 3 confirm trials, 9 epochs each;
    # confirm epochs take 1000/800 as long.
    content = plan_json(ONE_TRIAL, Rates(100.0, 2.0, 4))
    assert json.loads(json.dumps(content)) == content
    assert content["trials"] == 16
    assert content["epochs"] == {"expected": 144, "at_most": 144}
    assert content["ladder"] == [{"epoch": epoch, "trials": 1.0} for epoch in (1, 3, 9)]
    hours = SLACK * (90 + 54 * 1.25) * 100 / 3600
    assert content["hours"]["at_most"] == pytest.approx(hours / 4)
    assert content["cost"]["at_most"] == pytest.approx(hours * 2)
    (study,) = content["studies"]
    assert study["images"] == {
        "fit": 800, "val": 200, "train": 1000, "test": 300, "skipped": 0, "first_skipped": None,
        "test_copies": None,
        "val_copies": None,
        "majority": None,
    }  # fmt: skip
    assert study["trials"] == {"search": 2, "finalists": 8, "confirm": 6}
    assert study["arms"] == {"control": 1, "pc": 1}


def test_a_plan_says_how_small_a_gain_its_seeds_can_tell() -> None:
    content = plan_json(ONE_TRIAL, NO_RATES)["detectable_gain"]
    least = detectable_gain(3, 2, 300)
    assert content == {"digits/compact_cnn": least}
    words = " ".join(text_of(ONE_TRIAL, NO_RATES).split())
    assert f"300 test images, a true gain must be about {least:.1f} points for 8 of 10" in words
    assert "One point takes more test images; more seeds do not help." in words
    competing = plan(
        ("digits/compact_cnn",), (arm("control"), arm("pc"), arm("label_smoothing"))
    ).model_copy(update={"confirm_looks": (2, 3)})
    shared = plan_json(competing, NO_RATES)["detectable_gain"]["digits/compact_cnn"]
    assert shared == pytest.approx(detectable_gain(3, 2, 300, alpha=0.04 / 2 / 2))
    assert shared > least, "two looks and two arms share the error rate"
    single = plan(("digits/compact_cnn",), seeds=1)
    assert plan_json(single, NO_RATES)["detectable_gain"] == {"digits/compact_cnn": None}
    assert "a true gain" not in text_of(single, NO_RATES)


def test_the_weights_that_are_kept_are_a_file_an_arm() -> None:
    (study,) = ONE_TRIAL.studies
    sized = ONE_TRIAL.model_copy(
        update={"studies": (study.model_copy(update={"checkpoint_bytes": 3_000_000}),)}
    )
    assert plan_json(sized, NO_RATES)["weights_bytes"] == 2 * 1_500_000  # no momentum, no moments
    words = " ".join(text_of(sized, NO_RATES).split())
    assert "weights of one confirm training of each arm: 2 files, at most 3.0 MB." in words


def test_json_without_rates() -> None:
    content = plan_json(ONE_TRIAL, NO_RATES)
    assert content["hours"] is None
    assert content["cost"] is None
    assert content["budget_hours"] is None


@pytest.mark.parametrize("columns", [80, 100])
def test_view_fits_and_says_everything(columns: int) -> None:
    text = text_of(plan(budget_seconds=7200), Rates(60.0, 1.5, 2), columns)
    assert max(map(len, text.splitlines())) <= columns
    for part in (
        "demo: 2 studies, arms control, pc, at most 68 trials",
        "fieldguide/compact_cnn",
        "1,000",
        "full budget",
        "2 trials at once",
        "Cost: about",
        "fit 2 hours",
    ):
        assert part in text


def test_view_without_rates_says_how_to_get_hours() -> None:
    assert "give --seconds-per-epoch" in text_of(plan(), NO_RATES)


def test_arm_that_searches_nothing_is_told() -> None:
    single = plan(arms=(arm("control", borrows="pc"), arm("pc")))
    assert "control (takes pc's choice)" in text_of(single, NO_RATES)


@pytest.mark.parametrize(
    ("seconds", "price"), [(-1.0, None), (float("inf"), None), (1.0, -2.0), (None, 2.0)]
)
def test_rates_are_checked(seconds: float | None, price: float | None) -> None:
    with pytest.raises(UserError, match=r"--seconds-per-epoch|--price-per-hour"):
        Rates.checked(seconds, price, 1, measures=False)


def test_the_cost_at_the_measured_speed_counts_every_trial_at_once() -> None:
    """Two hours, three at most, of four trials at once, at 1.5 an hour of one trial's resources."""
    measured = replace(Rates.checked(None, 1.5, 1), forecast=Forecast(7200.0, 10_800.0, 4, {}))
    assert measured.cost(plan()) == {"expected": 12.0, "at_most": 18.0}
    assert Rates.checked(None, 1.5, 1).cost(plan()) is None, "nothing was measured"


def test_a_budget_in_money_is_told_with_its_price() -> None:
    paid = plan().model_copy(update={"budget_cost": 12.5, "price_per_node_hour": 0.8})
    line = "The search ends early enough to keep the cost to 12.5, at 0.8 a node-hour."
    assert line in text_of(paid, NO_RATES)
    assert "keep the cost" not in text_of(plan(), NO_RATES)


def test_measured_ranges_are_shown_for_each_arm() -> None:
    measured = {"measured": ("lr",)}
    arms = (arm("control").model_copy(update=measured), arm("pc").model_copy(update=measured))
    whole = plan(("digits/compact_cnn",), arms)
    assert "digits/compact_cnn: lr 0.01 to 0.3, measured (control, pc)" in text_of(whole, NO_RATES)
    (study,) = plan_json(whole, NO_RATES)["studies"]
    assert study["measured"] == {"control": {"lr": [0.01, 0.3]}, "pc": {"lr": [0.01, 0.3]}}
    assert "measured" not in text_of(ONE_TRIAL, NO_RATES)
    assert plan_json(ONE_TRIAL, NO_RATES)["studies"][0]["measured"] == {}


def test_start_points_are_shown_with_the_run_that_they_come_from() -> None:
    values = {"control": {"lr": 0.1}, "pc": {"lr": 0.1, "lambda_over_n": 0.12}}
    source = {"run": "/runs/first", "trial": "digits/compact_cnn/pc/search-003"}
    point = StartPoint.model_validate({**source, "values": values})
    (study,) = plan(("digits/compact_cnn",)).studies
    given = study.model_copy(update={"start_points": (point,)})
    whole = plan().model_copy(update={"studies": (given,)})
    text = " ".join(text_of(whole, NO_RATES).split())
    assert (
        "digits/compact_cnn: search trial 0 of each arm has lr 0.1, lambda_over_n 0.12 (pc) "
        "(from /runs/first, digits/compact_cnn/pc/search-003; values outside this recipe's "
        "ranges are moved to their end)"
    ) in text
    (told,) = plan_json(whole, NO_RATES)["studies"]
    assert told["start_points"] == [{**source, "values": values}]
    assert plan_json(plan(), NO_RATES)["studies"][0]["start_points"] == []


def test_the_licence_of_published_weights_is_shown() -> None:
    one = PublishedWeights("net-0123abcd.pth", "torchvision", None, "https://example.org/recipe")
    two = PublishedWeights("timm/net.a_in1k", "timm", "cc-by-nc-4.0")
    published = {"net": one, "timm/net.a_in1k": two}
    assert plan_json(ONE_TRIAL, NO_RATES)["published_weights"] == {}
    assert plan_json(ONE_TRIAL, NO_RATES, published)["published_weights"] == {
        "net": {
            "file": "net-0123abcd.pth",
            "library": "torchvision",
            "licence": None,
            "origin": "https://example.org/recipe",
        },
        "timm/net.a_in1k": {
            "file": "timm/net.a_in1k",
            "library": "timm",
            "licence": "cc-by-nc-4.0",
            "origin": None,
        },
    }
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(plan_view(ONE_TRIAL, NO_RATES, published))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert (
        "net: weights net-0123abcd.pth of torchvision; licence not stated by torchvision; "
        "origin https://example.org/recipe"
    ) in lines
    assert ("timm/net.a_in1k: weights timm/net.a_in1k of timm; licence cc-by-nc-4.0") in lines
