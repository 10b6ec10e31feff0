"""Tables as people see them: everything is there, and nothing is cut off, at any width."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.summary import summarise, trial_rows
from pcsearch.reporting.summary_types import Summary
from pcsearch.reporting.tables import accuracies, summary_table, trials_table
from pcsearch.reporting.trials_table import shown_rows
from pcsearch.search.state import CampaignState
from tests.reporting.simulated_campaigns import (
    campaign_plan,
    harmful,
    other_study,
    simulate,
    smoothing_arm,
    useless,
)
from tests.search.driving import control_arm, pc_arm, study_plan

WIDTHS = (80, 100, 140, 200)


def rendered(table: RenderableType, width: int, *, colour: bool = False) -> str:
    system = "standard" if colour else None
    console = Console(file=io.StringIO(), width=width, color_system=system)  # type: ignore[arg-type]
    console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


@pytest.fixture(scope="module")
def state() -> CampaignState:
    plan = campaign_plan(
        study_plan("digits"),
        other_study("fieldguide", "compact_cnn", 20),
        other_study("imagenet_random", "densenet161", 117),
    )
    return simulate(plan, seconds_per_epoch=97.0)


@pytest.fixture(scope="module")
def summary(state: CampaignState) -> Summary:
    return summarise(state, "complete")


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", text)


@pytest.mark.parametrize("width", [30, 50, 60, 79, *WIDTHS])
def test_every_number_of_every_study_stands_whole_in_the_table(
    summary: Summary, width: int
) -> None:
    text = rendered(summary_table(summary, width), width)
    assert "…" not in text
    assert max(cell_len(line) for line in text.splitlines()) <= width
    found = numbers(text)
    for study in summary.studies:
        arm, control = study.arms["pc"], study.arms["control"]
        assert study.dataset in text
        assert study.backbone in text
        assert arm.gain is not None
        wanted = [
            fmt.regulariser_text(arm),
            fmt.fraction(arm),
            fmt.percent(arm.val_top1),
            fmt.scores(arm.test_top1),
            fmt.scores(control.test_top1),
            fmt.gain_text(arm.gain),
            f"{study.num_classes} {study.trials.total} {study.trials.pruned}",
            f"{study.epochs.run} {study.epochs.full_budget}",
            fmt.duration(study.seconds),
        ]
        for number in numbers(" ".join(wanted)):
            assert number in found


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_row_a_study_from_80_columns_on(width: int) -> None:
    """The quickstart's own two studies need no stacked blocks at the usual widths."""
    plan = campaign_plan(study_plan("digits"), other_study("fieldguide", "compact_cnn", 20))
    text = rendered(summary_table(summarise(simulate(plan)), width), width)
    heading = text.splitlines()[1:4]
    assert any("best λ" in line for line in heading)
    assert text.count("best λ") == 1


def test_a_wide_terminal_has_one_line_a_study(summary: Summary) -> None:
    lines = rendered(summary_table(summary, 200), 200).splitlines()
    row = next(line for line in lines if line.startswith("fieldguide"))
    study = summary.studies[1]
    assert fmt.gain_text(study.arms["pc"].gain) in row
    assert f"{study.trials.total} / {study.trials.pruned} / 0" in row
    assert f"{study.epochs.run} of {study.epochs.full_budget}" in row
    assert fmt.duration(study.seconds) in row


def test_long_names_are_folded_not_cut() -> None:
    backbone = "a_package_of_my_own.with_modules.deep_inside:build_a_backbone_of_some_kind"
    plan = campaign_plan(other_study("images", backbone, 1234))
    for width in (40, 80, 100):
        text = rendered(summary_table(summarise(CampaignState(plan)), width), width)
        assert "…" not in text
        assert backbone in re.sub(r"\s", "", text)


def test_before_any_result_there_are_dashes(state: CampaignState) -> None:
    text = rendered(summary_table(summarise(CampaignState(state.plan)), 100), 100)
    assert "0 / 0 / 0" in text
    assert f"0 of {summarise(state).studies[0].epochs.full_budget}" in text
    assert fmt.ABSENT in text


@pytest.mark.parametrize(
    ("curve", "code"), [(None, "\x1b[32m"), (harmful, "\x1b[31m"), (useless, None)]
)
def test_colour_is_kept_for_intervals_without_zero(curve: object, code: str | None) -> None:
    options = {} if curve is None else {"curve": curve}
    summary = summarise(simulate(campaign_plan(), **options), "complete")
    text = rendered(summary_table(summary, 100), 100, colour=True)
    assert ("\x1b[32m" in text) == (code == "\x1b[32m")
    assert ("\x1b[31m" in text) == (code == "\x1b[31m")


def test_the_table_is_about_the_arm_that_competes() -> None:
    plan = campaign_plan(study_plan(arms=(control_arm(), smoothing_arm())))
    text = rendered(summary_table(summarise(simulate(plan)), 100), 100)
    assert "smoothing" in text
    assert "PC" not in text


@pytest.mark.parametrize("width", [60, *WIDTHS])
def test_the_table_of_trials_cuts_nothing_off(width: int) -> None:
    plan = campaign_plan(study_plan(arms=(control_arm(), pc_arm(), smoothing_arm())))
    fails = {"digits/compact_cnn/pc/search-001": 2}
    rows = trial_rows(simulate(plan, fails=fails))
    text = rendered(trials_table(rows, width), width)
    assert "…" not in text
    assert max(cell_len(line) for line in text.splitlines()) <= width
    if width >= 80:  # below, names are folded
        assert text.count("search-0") == 36
        assert text.count("confirm-00") == 15
    assert "loss became nan" in " ".join(text.split())
    for row in rows:
        if row["epochs"] and row["phase"] != "confirm":
            assert fmt.percent(row["epochs"][-1][1]) in text


def test_trials_show_what_differs_among_them() -> None:
    text = rendered(trials_table(trial_rows(simulate(campaign_plan())), 140), 140)
    assert "lr=" in text
    assert re.search(r"λ=\d\S* \(\d\S*·N\)", text)
    assert "weight_decay" not in text
    with_seed = [line for line in text.splitlines() if "seed=" in line]
    assert len(with_seed) == 10, "confirm trials differ in nothing else"
    assert all("confirm-" in line for line in with_seed)
    assert rendered(trials_table([], 80), 80).strip() == "no trials yet"


@pytest.mark.parametrize("width", WIDTHS)
def test_trials_say_what_was_set_aside_and_keep_lambda_in_one_piece(width: int) -> None:
    state = simulate(campaign_plan())
    state.arms["digits/compact_cnn", "pc"].reopen()
    rows = trial_rows(state)
    text = rendered(trials_table(rows, width), width)
    assert text.count("superseded") == sum(row["set_aside"] for row in rows) == 5
    whole = re.findall(r"λ=\d\S* \(\d\S*·N\)", text)
    assert len(whole) == sum(bool(row["config"]["lambda"]) for row in rows)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (92, "1 min 32 s"),
        (3599.8, "1 h 00 min"),
        (7530, "2 h 06 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert fmt.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (2.1, "2.10"), (19.26, "19.3"), (0.0964, "0.0964"), (200, "200"), (1500, "1500")],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert fmt.significant(value) == text


def test_signs_of_differences() -> None:
    assert [fmt.points(v) for v in (1.234, -0.5, 0.001, -0.001)] == [
        "+1.23",
        "-0.50",
        "0.00",
        "0.00",
    ]


def test_one_seed_has_neither_deviation_nor_interval() -> None:
    one = accuracies(summarise(simulate(campaign_plan(seeds=1))), "PC")
    assert one.endswith("test: of 1 confirm seed, which gives neither ± nor an interval.")
    two = accuracies(summarise(simulate(campaign_plan(seeds=2))), "PC")
    assert "mean ± std over 2 confirm seeds" in two
    assert "96 % interval" in two


def test_nobody_trains_the_open_trials_of_a_run_that_was_killed() -> None:
    rows = [{"state": "RUNNING", "trial": "a"}, {"state": "COMPLETE", "trial": "b"}]
    assert shown_rows(rows, running=True) == rows
    assert [row["state"] for row in shown_rows(rows, running=False)] == ["INTERRUPTED", "COMPLETE"]
    assert rows[0]["state"] == "RUNNING", "scripts read this one"
