"""Markdown, LaTeX and CSV of a summary."""

from __future__ import annotations

import csv
import io

from pcsearch.reporting.result_rows import COLUMNS, formatted, result_rows
from pcsearch.reporting.summary import summarise
from tests.reporting.simulated_campaigns import (
    campaign_plan,
    other_study,
    simulate,
    smoothing_arm,
)
from tests.search.driving import control_arm, pc_arm, study_plan

SUMMARY = summarise(
    simulate(campaign_plan(study_plan(arms=(control_arm(), pc_arm(), smoothing_arm()))))
)


def test_csv_has_all_digits_of_every_arm() -> None:
    rows = list(csv.DictReader(io.StringIO(formatted(SUMMARY, "csv"))))
    study = SUMMARY.studies[0]
    assert [row["arm"] for row in rows] == ["control", "pc", "label_smoothing"]
    assert list(rows[0]) == list(COLUMNS)
    for row in rows:
        arm = study.arms[row["arm"]]
        assert arm.test_top1 is not None
        assert float(row["test_mean"]) == arm.test_top1.mean
        assert float(row["lr"]) == arm.config["lr"]
        assert row["gain"] == ("" if arm.gain is None else repr(arm.gain.mean))
    assert float(rows[1]["lambda"]) == study.arms["pc"].lambda_
    assert rows[2]["own"].startswith("label_smoothing=")
    assert rows[2]["lambda"] == ""


def test_markdown_is_a_table_and_says_what_intervals_cover() -> None:
    lines = formatted(SUMMARY, "markdown").splitlines()
    assert len({line.count("|") for line in lines[:5]}) == 1
    assert "published" not in lines[0]
    assert "training seeds, the search's luck and the choice of test images" in lines[-1]


def test_latex_escapes_and_has_as_many_cells_in_each_line() -> None:
    text = formatted(SUMMARY, "latex")
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 4
    assert len({line.count(" & ") for line in lines}) == 1
    assert r"$\pm$" in text
    assert r"compact\_cnn" in text
    assert not any(ord(sign) > 127 for line in lines for sign in line)


def test_the_papers_numbers_are_named_as_the_papers_protocol() -> None:
    known = campaign_plan(other_study("cub200", "resnet50", 200))
    summary = summarise(simulate(known))
    control, pc = result_rows(summary)
    assert None not in (control["published"], pc["published"])
    assert "published, the paper's protocol" in formatted(summary, "markdown")


def test_an_unfinished_campaign_says_so() -> None:
    plan = campaign_plan()
    state = simulate(plan)
    text = formatted(summarise(state, "interrupted"), "markdown")
    assert "The campaign is interrupted." in text
