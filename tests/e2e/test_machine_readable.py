"""`summary --json` and `trials --json` of a real campaign, recomputed from the journal."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

import jsonschema
import pytest
from scipy.stats import ttest_rel

from tests.e2e.conftest import (
    ASHA,
    CONFIRM_EPOCHS,
    CONFIRM_SEEDS,
    RUNGS,
    Finished,
    Interrupted,
)
from tests.e2e.schema import SUMMARY, TRIAL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

Row = dict[str, Any]
ETA, MAX_EPOCHS = ASHA["reduction_factor"], ASHA["max_epochs"]


def groups(rows: list[Row], *keys: str, phase: str | None = None) -> Iterator[list[Row]]:
    """Rows of one phase (or all), grouped by keys."""
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if phase in (None, row["phase"]):
            found[tuple(row[key] for key in keys)].append(row)
    assert found
    yield from found.values()


def of_study(rows: list[Row], study: Row) -> list[Row]:
    return [row for row in rows if row["study"] == f"{study['dataset']}/{study['backbone']}"]


def at(row: Row, epoch: int) -> float | None:
    value: float | None = dict(map(tuple, row["epochs"])).get(epoch)
    return value


def test_summary_is_exactly_the_promised_json(finished: Finished) -> None:
    jsonschema.validate(finished.summary, SUMMARY)
    assert finished.summary["campaign"] == "quickstart"
    assert finished.summary["status"] == "complete"
    studies = [(s["dataset"], s["backbone"], s["num_classes"]) for s in finished.summary["studies"]]
    assert studies == [("digits", "compact_cnn", 10), ("fieldguide", "compact_cnn", 5)]
    for study in finished.summary["studies"]:
        assert list(study["arms"]) == ["control", "pc"]
        control, pc = study["arms"].values()
        assert control["lambda"] == control["lambda_over_n"] == 0
        assert control["gain"] is None
        assert pc["gain"] is not None
        assert 0.05 <= pc["lambda_over_n"] <= 0.15
        assert pc["lambda"] == pytest.approx(pc["lambda_over_n"] * study["num_classes"])
        assert pc["variant"] == "euclidean"


def test_summary_file_is_the_printed_summary(finished: Finished) -> None:
    assert json.loads((finished.folder / "summary.json").read_text()) == finished.summary


def test_trials_are_exactly_the_promised_json(finished: Finished) -> None:
    for row in finished.trials:
        jsonschema.validate(row, TRIAL)
        assert list(row) == list(TRIAL["properties"])
        hyperparameters = {"lambda", "lambda_over_n", "lr", "weight_decay", "batch_size"}
        assert hyperparameters | {"seed", "split"} <= set(row["config"])
        assert row["error"] is None
    names = [row["trial"] for row in finished.trials]
    assert len(set(names)) == len(names) == 2 * 2 * (4 + 1 + CONFIRM_SEEDS)


def test_epochs_are_consecutive_and_end_where_the_state_says(finished: Finished) -> None:
    for row in finished.trials:
        numbers = [epoch for epoch, _ in row["epochs"]]
        assert numbers == list(range(1, len(numbers) + 1))
        wanted = CONFIRM_EPOCHS if row["phase"] == "confirm" else MAX_EPOCHS
        if row["state"] == "COMPLETE":
            assert numbers[-1] == wanted
        else:
            assert row["state"] == "PRUNED"
            assert row["phase"] == "search"
            assert numbers[-1] in RUNGS
        values = [value for _, value in row["epochs"]]
        assert all((value is None) == (row["phase"] == "confirm") for value in values)


def test_the_best_at_a_rung_is_never_stopped(finished: Finished) -> None:
    for rows in groups(finished.trials, "study", "arm", phase="search"):
        for rung in RUNGS:
            reached = [row for row in rows if at(row, rung) is not None]
            best = max(reached, key=lambda row: at(row, rung) or 0.0)
            assert at(best, rung) == max(at(row, rung) or 0.0 for row in reached)
            assert len(best["epochs"]) > rung
        assert any(row["state"] == "COMPLETE" for row in rows)


def test_states_follow_asha_in_the_order_of_arrival(finished: Finished) -> None:
    """A naive reading of the rule: who continues has fewer than max(1, ⌊k/η⌋) strictly above."""
    spec = {e["spec"]["trial"]: e["spec"] for e in finished.events if e["event"] == "asked"}
    recorded: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    stopped: dict[str, int] = {}
    for event in finished.events:
        if event["event"] != "epoch" or spec[event["trial"]]["phase"] != "search":
            continue
        trial, epoch, value = event["trial"], event["epoch"], event["value"]
        assert trial not in stopped
        if epoch in RUNGS:
            values = recorded[spec[trial]["study"], spec[trial]["arm"], epoch]
            values.append(value)
            above = sum(other > value for other in values)
            if above >= max(1, len(values) // ETA):
                stopped[trial] = epoch
    assert stopped, "no trial was stopped early, so this shows nothing"
    search = {row["trial"]: row for row in finished.trials if row["phase"] == "search"}
    assert stopped == {
        name: row["epochs"][-1][0] for name, row in search.items() if row["state"] == "PRUNED"
    }


def test_trials_print_what_the_journal_recorded(finished: Finished) -> None:
    for row in finished.trials:
        epochs = [
            e for e in finished.events if e["event"] == "epoch" and e["trial"] == row["trial"]
        ]
        assert row["epochs"] == [[e["epoch"], e["value"]] for e in epochs]
        assert row["seconds"] == pytest.approx(sum(e["seconds"] for e in epochs))


def test_counts_and_epochs_add_up(finished: Finished) -> None:
    for study in finished.summary["studies"]:
        rows = of_study(finished.trials, study)
        states = [row["state"] for row in rows]
        assert study["trials"] == {
            "total": len(rows),
            "complete": states.count("COMPLETE"),
            "pruned": states.count("PRUNED"),
            "failed": 0,
            "diverged": 0,
        }
        run = {arm: sum(len(r["epochs"]) for r in rows if r["arm"] == arm) for arm in study["arms"]}
        assert {name: arm["epochs_run"] for name, arm in study["arms"].items()} == run
        full = 2 * ((4 + 1) * MAX_EPOCHS + CONFIRM_SEEDS * CONFIRM_EPOCHS)
        assert study["epochs"] == {"run": sum(run.values()), "full_budget": full}
        assert study["seconds"] == pytest.approx(sum(row["seconds"] for row in rows))


def test_every_arm_gets_the_same_trials_starts_and_seeds(finished: Finished) -> None:
    for rows in groups(finished.trials, "study", phase="search"):
        control, pc = ([r for r in rows if r["arm"] == arm] for arm in ("control", "pc"))
        assert len(control) == len(pc) == 4
        assert control[0]["config"]["lr"] == pc[0]["config"]["lr"]  # ⌈4/4⌉ = 1 start-up trial
        assert [r["config"]["seed"] for r in control] == [r["config"]["seed"] for r in pc]
    for rows in groups(finished.trials, "study", phase="confirm"):
        by_arm = [[r["config"]["seed"] for r in rows if r["arm"] == a] for a in ("control", "pc")]
        assert by_arm[0] == by_arm[1]
        assert len(set(by_arm[0])) == CONFIRM_SEEDS
        searched = {r["config"]["seed"] for r in finished.trials if r["phase"] != "confirm"}
        assert not searched & set(by_arm[0])
        assert all(r["config"]["split"] is None for r in rows)
    for rows in groups(finished.trials, "study", "arm", phase="finalists"):
        assert [row["config"]["split"] for row in rows] == [1]


def test_the_choice_is_the_best_mean_over_splits_of_full_trainings(finished: Finished) -> None:
    for study in finished.summary["studies"]:
        for name, arm in study["arms"].items():
            rows = [row for row in of_study(finished.trials, study) if row["arm"] == name]
            full = [r for r in rows if r["phase"] == "search" and r["state"] == "COMPLETE"]
            best = max(full, key=lambda row: (row["epochs"][-1][1], -row["config"]["lambda"]))
            (retrained,) = (row for row in rows if row["phase"] == "finalists")
            last = [best["epochs"][-1][1], retrained["epochs"][-1][1]]
            assert arm["val_top1"] == pytest.approx(fmean(last))
            chosen = {k: v for k, v in best["config"].items() if k not in ("seed", "split")}
            assert arm["config"] == chosen
            for row in rows:
                if row["phase"] != "search":
                    assert chosen.items() <= row["config"].items()


def test_scores_and_gain_recomputed_from_values(finished: Finished) -> None:
    tests = {e["trial"]: e["test"] for e in finished.events if e.get("test")}
    for study in finished.summary["studies"]:
        rows = [r for r in of_study(finished.trials, study) if r["phase"] == "confirm"]
        for name, arm in study["arms"].items():
            scores = arm["test_top1"]
            measured = {
                r["config"]["seed"]: tests[r["trial"]]["top1"] for r in rows if r["arm"] == name
            }
            assert scores["values"] == [measured[seed] for seed in scores["seeds"]]
            assert len(scores["seeds"]) == len(measured) == CONFIRM_SEEDS
            assert scores["mean"] == pytest.approx(fmean(scores["values"]))
            assert scores["std"] == pytest.approx(stdev(scores["values"]))
        control, pc = (study["arms"][name]["test_top1"]["values"] for name in ("control", "pc"))
        _check_gain(study["arms"]["pc"]["gain"], pc, control)


def _check_gain(gain: Row, treated: list[float], control: list[float]) -> None:
    differences = [a - b for a, b in zip(treated, control, strict=True)]
    assert gain["mean"] == pytest.approx(fmean(differences))
    if len(set(differences)) == 1:  # no spread, so t has no value
        assert gain["low"] == gain["high"] == gain["mean"]
        return
    reference = ttest_rel(treated, control)
    interval = reference.confidence_interval(0.95)
    assert (gain["low"], gain["high"]) == pytest.approx((interval.low, interval.high))
    assert gain["p_value"] == pytest.approx(reference.pvalue)


def test_the_test_images_are_measured_once_and_in_confirm_alone(finished: Finished) -> None:
    measured = [event["trial"] for event in finished.events if event.get("test")]
    confirm = [row["trial"] for row in finished.trials if row["phase"] == "confirm"]
    assert sorted(measured) == sorted(confirm)


def test_nothing_tells_the_machine_or_the_run(finished: Finished) -> None:
    for row in finished.trials:
        text = repr(row["config"])
        assert "/" not in text
        assert "done" not in text


def test_the_table_and_quiet_ray(finished: Finished) -> None:
    assert finished.result.err == ""
    assert "\x1b" not in finished.result.out
    table = finished.result.out[finished.result.out.index("quickstart · complete") :]
    for study in finished.summary["studies"]:
        assert study["dataset"] in table
        pc, control = (study["arms"][name]["test_top1"] for name in ("pc", "control"))
        for scores in (pc, control):
            assert f"{scores['mean']:.2f} ± {scores['std']:.2f}" in table
        assert f"{study['epochs']['run']} of {study['epochs']['full_budget']}" in table
    assert "Traceback" not in finished.result.out
    again = finished.pcsearch.run("summary", "done")
    assert again.code == 0
    assert table.strip() == again.out.strip()


def test_summary_while_running(interrupted: Interrupted) -> None:
    jsonschema.validate(interrupted.running, SUMMARY)
    assert interrupted.running["status"] == "running"
    assert "RUNNING" in {row["state"] for row in interrupted.rows}
    for row in interrupted.rows:
        jsonschema.validate(row, TRIAL)
    (study,) = interrupted.running["studies"]
    counts = study["trials"]
    assert counts["total"] > counts["complete"] + counts["pruned"] + counts["failed"]
    for arm in study["arms"].values():
        assert arm["test_top1"] is None
        assert arm["gain"] is None


def test_events_are_in_the_order_of_time(finished: Finished) -> None:
    assert all(a["t"] <= b["t"] for a, b in pairwise(finished.events))
