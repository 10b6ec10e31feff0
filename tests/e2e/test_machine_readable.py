"""`summary --json` and `trials --json` of a real campaign, recomputed from the journal."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

import jsonschema
import pytest

from tests.e2e import naive
from tests.e2e.conftest import (
    ASHA,
    CONFIRM_EPOCHS,
    CONFIRM_SEEDS,
    REPEATS,
    RUNGS,
    STARTUP,
    TRIALS,
    Finished,
    Interrupted,
)
from tests.e2e.schema import SUMMARY, TRIAL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

Row = dict[str, Any]
ETA, MAX_EPOCHS = ASHA["reduction_factor"], ASHA["max_epochs"]
ARMS = ("control", "pc")
ALPHA = 0.04  # the first look's


def groups(rows: list[Row], *keys: str, phase: str | None = None) -> Iterator[list[Row]]:
    """Rows of one phase (or all), grouped by keys."""
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if phase in (None, row["phase"]):
            found[tuple(row[key] for key in keys)].append(row)
    assert found
    yield from found.values()


def of_study(rows: list[Row], study: Row) -> list[Row]:
    return [row for row in rows if row["study"] == id_of(study)]


def plan_of(finished: Finished, study: str) -> Row:
    """A study's plan, as the journal begins with it."""
    studies = finished.events[0]["plan"]["studies"]
    plan: Row = next(one for one in studies if one["id"] == study)
    return plan


def id_of(study: Row) -> str:
    return f"{study['dataset']}/{study['backbone']}"


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
        assert 0.05 / 5 <= pc["lambda_over_n"] <= 0.15 * 2  # as far as a range may be widened
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
    assert len(set(names)) == len(names)
    for study in finished.summary["studies"]:
        rows = of_study(finished.trials, study)
        pools = {arm: len(naive.pool(rows, arm, configs=1)) for arm in ARMS}
        for arm in ARMS:
            phases = Counter(row["phase"] for row in rows if row["arm"] == arm)
            assert phases == {
                "search": TRIALS,
                "finalists": REPEATS * pools[arm],
                "confirm": CONFIRM_SEEDS,
            }


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
    """The rule for noisy values, and as many full trainings as were asked for, read naively."""
    spec = {e["spec"]["trial"]: e["spec"] for e in finished.events if e["event"] == "asked"}
    ladders: dict[Any, naive.Rungs] = {}
    running: dict[Any, set[str]] = defaultdict(set)
    asked, full, stopped = Counter[Any](), Counter[Any](), dict[str, int]()
    for event in finished.events:
        mine = event["spec"] if event["event"] == "asked" else spec.get(event.get("trial"))
        if mine is None or mine["phase"] != "search":
            continue
        name, arm = mine["trial"], (mine["study"], mine["arm"])
        if event["event"] == "asked":
            plan = plan_of(finished, mine["study"])
            measured_on = plan["images"]["val"], plan["num_classes"]
            ladders.setdefault(arm, naive.Rungs(RUNGS, ETA, *measured_on))
            asked[arm] += 1
            running[arm].add(name)
            continue
        assert name not in stopped
        stops = ladders[arm].stops(event["epoch"], event["value"])
        to_come = TRIALS - asked[arm] + len(running[arm]) - 1 + full[arm]
        if event["epoch"] == MAX_EPOCHS:
            full[arm] += 1
        elif stops and to_come >= ASHA["full_trainings"]:
            stopped[name] = event["epoch"]
        if event["epoch"] == MAX_EPOCHS or name in stopped:
            running[arm].remove(name)
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
        full = 2 * ((TRIALS + 2 * REPEATS) * MAX_EPOCHS + CONFIRM_SEEDS * CONFIRM_EPOCHS)
        assert study["epochs"] == {"run": sum(run.values()), "full_budget": full}
        assert study["seconds"] == pytest.approx(sum(row["seconds"] for row in rows))


def test_every_arm_gets_the_same_trials_starts_and_seeds(finished: Finished) -> None:
    for rows in groups(finished.trials, "study", phase="search"):
        control, pc = ([r for r in rows if r["arm"] == arm] for arm in ("control", "pc"))
        assert len(control) == len(pc) == TRIALS
        starts = [[row["config"]["lr"] for row in arm[:STARTUP]] for arm in (control, pc)]
        assert starts[0] == starts[1]
        assert len(set(starts[0])) == STARTUP
        assert all(0.02 <= rate <= 0.5 for rate in starts[0])
        assert all(0.05 <= row["config"]["lambda_over_n"] <= 0.15 for row in pc[:STARTUP])
        assert [r["config"]["seed"] for r in control] == [r["config"]["seed"] for r in pc]
    for rows in groups(finished.trials, "study", phase="confirm"):
        by_arm = [[r["config"]["seed"] for r in rows if r["arm"] == a] for a in ("control", "pc")]
        assert by_arm[0] == by_arm[1]
        assert len(set(by_arm[0])) == CONFIRM_SEEDS
        searched = {r["config"]["seed"] for r in finished.trials if r["phase"] != "confirm"}
        assert not searched & set(by_arm[0])
        assert all(r["config"]["split"] is None for r in rows)


def test_arms_exchange_their_finalists(finished: Finished) -> None:
    """Both retrain the best of both, on the same further splits, with the same seeds."""
    for study in finished.summary["studies"]:
        rows = of_study(finished.trials, study)
        seed_of: dict[int, set[int]] = defaultdict(set)
        for arm in ARMS:
            mine = [row for row in rows if (row["phase"], row["arm"]) == ("finalists", arm)]
            for config in naive.pool(rows, arm, configs=1):
                splits = [
                    row["config"]["split"]
                    for row in mine
                    if naive.hyperparameters(row["config"]) == config
                ]
                assert splits == list(range(1, REPEATS + 1))
            for row in mine:
                seed_of[row["config"]["split"]].add(row["config"]["seed"])
        assert all(len(seeds) == 1 for seeds in seed_of.values())
        assert len(set.union(*seed_of.values())) == REPEATS
        rates = [{naive.shared(c)["lr"] for c in naive.pool(rows, arm, configs=1)} for arm in ARMS]
        assert rates[0] == rates[1]


def test_the_choice_is_the_best_mean_of_fresh_repeats(finished: Finished) -> None:
    for study in finished.summary["studies"]:
        rows = of_study(finished.trials, study)
        for name, arm in study["arms"].items():
            # sorted() is stable: of equal means, the smaller λ, then the one found first
            candidates = naive.pool(rows, name, configs=1)
            means = [fmean(naive.scores(rows, name, config)) for config in candidates]
            assert arm["val_top1"] == pytest.approx(max(means))
            tied = [c for c, m in zip(candidates, means, strict=True) if max(means) - m < 1e-9]
            assert arm["config"] in tied
            assert arm["config"]["lambda"] == min(config["lambda"] for config in tied)
            for row in rows:
                if row["arm"] == name and row["phase"] == "confirm":
                    assert naive.hyperparameters(row["config"]) == arm["config"]


def test_scores_recomputed_from_values(finished: Finished) -> None:
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


def confirmed(finished: Finished, study: Row, arm: str) -> dict[int, Row]:
    """The last epochs' events of an arm's confirm trainings, by seed."""
    last = {e["trial"]: e for e in finished.events if e.get("test")}
    rows = [r for r in of_study(finished.trials, study) if r["phase"] == "confirm"]
    return {r["config"]["seed"]: last[r["trial"]] for r in rows if r["arm"] == arm}


def test_hits_are_the_test_accuracy(finished: Finished) -> None:
    for study in finished.summary["studies"]:
        images = plan_of(finished, id_of(study))["images"]["test"]
        for arm in ARMS:
            for event in confirmed(finished, study, arm).values():
                hits = naive.hits(event, images)
                assert 100 * hits.mean() == pytest.approx(event["test"]["top1"])


def test_the_interval_recomputed_from_hits_and_finalists(finished: Finished) -> None:
    for study in finished.summary["studies"]:
        gain, rows = study["arms"]["pc"]["gain"], of_study(finished.trials, study)
        treated, control = (confirmed(finished, study, arm) for arm in ("pc", "control"))
        images = plan_of(finished, id_of(study))["images"]["test"]
        finalists = [
            [naive.scores(rows, arm, config) for config in naive.pool(rows, arm, configs=1)]
            for arm in ARMS
        ]
        differences = [treated[s]["test"]["top1"] - control[s]["test"]["top1"] for s in treated]
        assert gain["mean"] == pytest.approx(fmean(differences))
        assert gain["level"] == pytest.approx(1 - ALPHA)
        pairs = [
            a["test"]["top1"] - b["test"]["top1"]
            for a in treated.values()
            for b in control.values()
        ]
        assert gain["better"] == fmean((pair > 0) + (pair == 0) / 2 for pair in pairs)
        parts = naive.parts(treated, control, images)
        for name, square in parts.items():
            # of squares: the root of what rounding leaves of zero is no rounding error
            assert gain["parts"][name] ** 2 == pytest.approx(square, rel=1e-6, abs=1e-9)
        # drawn by the program, integrated here
        search = naive.chosen_variance(finalists)
        assert gain["parts"]["search"] == pytest.approx(math.sqrt(search), rel=0.15, abs=0.1)

        several = sum(len(arm) == 2 for arm in finalists)
        degrees = {
            "seeds": (parts["seeds"], CONFIRM_SEEDS - 1),
            "images": (parts["images"], images - 1),
            "search": (gain["parts"]["search"] ** 2, several * (REPEATS - 1)),
        }
        low, high, p_value = naive.interval(gain["mean"], degrees, ALPHA)
        assert (gain["low"], gain["high"]) == pytest.approx((low, high))
        assert gain["p_value"] == pytest.approx(p_value)


def test_the_verdict_is_that_of_the_interval(finished: Finished) -> None:
    for study in finished.summary["studies"]:
        pc = study["arms"]["pc"]
        gain, verdict = pc["gain"], pc["verdict"]
        assert study["arms"]["control"]["verdict"] is None
        if verdict["word"] == "withheld":
            assert verdict["reason"]
            continue
        clear = "helps" if gain["mean"] > 0 else "hurts"
        holds_zero = gain["low"] <= 0 <= gain["high"]
        assert verdict == {"word": "no clear difference" if holds_zero else clear, "reason": None}


def test_the_look_at_the_test_accuracies_is_written_down_once(finished: Finished) -> None:
    looks = [event for event in finished.events if event["event"] == "looked"]
    assert sorted(look["study"] for look in looks) == sorted(
        id_of(study) for study in finished.summary["studies"]
    )
    for study in finished.summary["studies"]:
        (look,) = (look for look in looks if look["study"] == id_of(study))
        assert (look["seeds"], look["alpha"]) == (CONFIRM_SEEDS, pytest.approx(ALPHA))
        pc = study["arms"]["pc"]
        ends = {key: pc["gain"][key] for key in ("mean", "low", "high", "p_value")}
        assert look["gains"] == {"pc": {**ends, "word": pc["verdict"]["word"]}}
        assert [(one["seeds"], one["alpha"]) for one in study["looks"]] == [
            (look["seeds"], look["alpha"])
        ]
        ends = [e["t"] for e in finished.events if e.get("test") and id_of(study) in e["trial"]]
        assert look["t"] >= max(ends)


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
