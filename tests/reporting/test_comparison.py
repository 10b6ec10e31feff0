"""Runs side by side: differences, results in order, and the mean over datasets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from pcsearch.reporting.comparison import ComparedRun, compare, comparison_view
from pcsearch.reporting.summary import Summary, summarise
from pcsearch.search.verdicts.gain import Gain
from tests.reporting.simulated_campaigns import campaign_plan, simulate, smoothing_arm
from tests.search.driving import control_arm, pc_arm, study_plan


def with_gains(gains: dict[str, float]) -> Summary:
    """A summary of studies whose PC has these gains."""
    whole = summarise(simulate(campaign_plan()))
    pattern = whole.studies[0]
    studies = []
    for dataset, gain in gains.items():
        told = Gain(gain, gain - 1, gain + 3, 0.5)
        arms = {**pattern.arms, "pc": replace(pattern.arms["pc"], gain=told)}
        studies.append(replace(pattern, dataset=dataset, arms=arms))
    return replace(whole, studies=tuple(studies))


def shown(*runs: ComparedRun, width: int = 120) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(comparison_view(compare(runs), width))
    return capture.get()


def test_what_differs_and_what_does_not() -> None:
    one, other = with_gains({"birds": 1.0}), with_gains({"birds": 2.0})
    other = replace(other, studies=tuple(replace(s, split_hash="b" * 16) for s in other.studies))
    found = compare(
        [
            ComparedRun("one", one, {"search.trials": 10, "metric": "top1", "train.mixup": 0.2}),
            ComparedRun("other", other, {"search.trials": 20, "metric": "top1"}),
        ]
    )
    old = one.studies[0].split_hash
    assert found.differences == {
        "search.trials": (10, 20),
        "train.mixup": (0.2, None),
        f"images and splits of {one.studies[0].id}": (old, "b" * 16),
    }


def test_the_mean_over_datasets_and_wilcoxons_test() -> None:
    """By hand: six gains of one sign have the least two-sided p-value, 2 / 2^6."""
    gains = {f"d{index}": float(index) for index in range(1, 7)}
    (overall,) = compare([ComparedRun("one", with_gains(gains), {})]).overall
    assert (overall.arm, overall.mean) == ("pc", 3.5)
    assert overall.p_value == pytest.approx(2 / 64)
    gains["d1"] = -1.0  # a rank sum of 1 on the other side: the two least of 64, on both sides
    (overall,) = compare([ComparedRun("one", with_gains(gains), {})]).overall
    assert overall.p_value == pytest.approx(4 / 64)


def test_few_datasets_have_no_p_value_and_runs_of_one_dataset_count_once() -> None:
    runs = [
        ComparedRun("one", with_gains({"birds": 1.0, "cars": 4.0}), {}),
        ComparedRun("other", with_gains({"birds": 2.0}), {}),
    ]
    (overall,) = compare(runs).overall
    assert overall.gains == {"birds": 1.5, "cars": 4.0}
    assert (overall.mean, overall.p_value) == (2.75, None)
    text = shown(*runs)
    assert "PC over 2 datasets: mean gain +2.75 (birds +1.50, cars +4.00)." in text
    assert "needs at least 6" in text


def test_the_forest_plot_by_hand() -> None:
    """Half the width is three half intervals: 6 points in 10 characters."""
    text = shown(ComparedRun("one", with_gains({"birds": 3.0}), {}), width=140)
    line = next(line for line in text.splitlines() if line.startswith("PC"))
    assert "│  ──●─────" in line  # from 2 to 6: 13 to 20 of 20; the gain at 15
    narrow = shown(ComparedRun("one", with_gains({"birds": 3.0}), {}), width=80)
    assert "●" not in narrow
    assert all(len(line) <= 80 for line in narrow.splitlines())


def test_a_run_without_results_and_one_without_control() -> None:
    nothing = summarise(simulate(campaign_plan(seeds=0)))
    alone = summarise(simulate(campaign_plan(study_plan(arms=(pc_arm(),)))))
    found = compare([ComparedRun("nothing", nothing, {}), ComparedRun("alone", alone, {})])
    assert [(one.run, one.name, one.arm.gain) for one in found.results] == [("alone", "pc", None)]
    assert "alone" in shown(*found.runs)


def test_arms_stand_together() -> None:
    several = study_plan(arms=(control_arm(), pc_arm(), smoothing_arm()))
    summary = summarise(simulate(campaign_plan(several)))
    found = compare([ComparedRun("one", summary, {}), ComparedRun("other", summary, {})])
    assert [(one.name, one.run) for one in found.results] == [
        (arm, run) for arm in ("control", "pc", "label_smoothing") for run in ("one", "other")
    ]
