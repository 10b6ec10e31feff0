"""The machine-readable face, over campaigns that were really decided."""

from __future__ import annotations

import json
from statistics import fmean, stdev
from typing import Any

import jsonschema
import pytest

from pcsearch.reporting.summary import full_budget, summarise, trial_rows
from pcsearch.search.state import CampaignState
from tests.reporting.simulated_campaigns import (
    FAILURE,
    borrowing_control,
    campaign_plan,
    entropic_arm,
    other_study,
    simulate,
    smoothing_arm,
)
from tests.search.driving import control_arm, pc_arm, study_plan


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly these keys."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


NUMBER, COUNT, TEXT = {"type": "number"}, {"type": "integer", "minimum": 0}, {"type": "string"}
MAYBE: dict[str, Any] = {"type": ["number", "null"]}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
GAIN = closed(
    {
        "mean": NUMBER,
        "low": MAYBE,
        "high": MAYBE,
        "p_value": MAYBE,
        "level": SHARE,
        "parts": closed(dict.fromkeys(("seeds", "search", "images"), MAYBE)),
        "better": SHARE,
    }
)
WORDS = ["helps", "no clear difference", "hurts", "withheld"]
VERDICT = closed({"word": {"enum": WORDS}, "reason": {"type": ["string", "null"]}})
ENDS = {"type": "object", "additionalProperties": {"enum": ["low", "high"]}}
SCORES = closed(
    {
        "mean": NUMBER,
        "std": MAYBE,
        "values": {"type": "array", "items": NUMBER},
        "seeds": {"type": "array", "items": COUNT},
    }
)
ARM = closed(
    {
        "lambda": MAYBE,
        "lambda_over_n": MAYBE,
        "config": {"type": "object", "additionalProperties": NUMBER},
        "variant": TEXT,
        "val_top1": MAYBE,
        "test_top1": {"oneOf": [{"type": "null"}, SCORES]},
        "epochs_run": COUNT,
        "full_trainings": COUNT,
        "edges": ENDS,
        "gain": {"oneOf": [{"type": "null"}, GAIN]},
        "verdict": {"oneOf": [{"type": "null"}, VERDICT]},
    }
)
OUTCOMES = ("total", "complete", "pruned", "failed", "diverged")
STUDY = closed(
    {
        "dataset": TEXT,
        "backbone": TEXT,
        "num_classes": COUNT,
        "arms": {
            "type": "object",
            "properties": {"control": {"oneOf": [{"type": "null"}, ARM]}},
            "required": ["control"],
            "additionalProperties": ARM,
        },
        "trials": closed(dict.fromkeys(OUTCOMES, COUNT)),
        "epochs": closed({"run": COUNT, "full_budget": COUNT}),
        "seconds": NUMBER,
        "split_hash": TEXT,
        "looks": {"type": "array", "items": closed({"seeds": COUNT, "alpha": SHARE})},
        "published": {
            "oneOf": [
                {"type": "null"},
                closed({"baseline": NUMBER, "pc": NUMBER, "source": TEXT}),
            ]
        },
        "neighbours": {"oneOf": [{"type": "null"}, closed({"k": COUNT, "test": NUMBER})]},
        "analysis": {"type": "null"},  # no files are read here; see test_analysis.py
    }
)
SUMMARY = closed(
    {
        "campaign": TEXT,
        "status": {"enum": ["running", "complete", "interrupted", "failed"]},
        "studies": {"type": "array", "items": STUDY},
        "interruptions": closed(
            {
                "resumed": COUNT,
                "retried": COUNT,
                "repeated_epochs": COUNT,
                "repeated_seconds": NUMBER,
                "differing_epochs": COUNT,
            }
        ),
        "notes": {"type": "array", "items": TEXT},
        "what_now": {"type": "array", "items": TEXT},
        "mismatches": {
            "type": "array",
            "items": closed({"line": COUNT, "trial": {"type": ["string", "null"]}, "what": TEXT}),
        },
        "unsealed_lines": COUNT,
    }
)
ROW = closed(
    {
        "trial": TEXT,
        "study": TEXT,
        "phase": {"enum": ["search", "finalists", "confirm"]},
        "arm": TEXT,
        "state": {"enum": ["COMPLETE", "PRUNED", "DIVERGED", "FAILED", "RUNNING"]},
        "config": {"type": "object", "additionalProperties": MAYBE},
        "epochs": {
            "type": "array",
            "items": {"type": "array", "prefixItems": [COUNT, MAYBE], "minItems": 2, "maxItems": 2},
        },
        "seconds": NUMBER,
        "error": {"type": ["string", "null"]},
        "attempts": COUNT,
        "repeated_epochs": COUNT,
        "comparable": {"type": "boolean"},
        "set_aside": {"type": "boolean"},
        "mismatches": {"type": "array", "items": closed({"line": COUNT, "what": TEXT})},
        "test": {"oneOf": [{"type": "null"}, {"type": "object"}]},
        "test_value": {"type": ["number", "null"]},
    }
)


def checked_json(state: CampaignState, status: str | None = None) -> Any:
    document = json.loads(json.dumps(summarise(state, status).to_json(), allow_nan=False))
    jsonschema.validate(document, SUMMARY)
    return document


STATES = {
    "whole": lambda: simulate(campaign_plan()),
    "at its start": lambda: CampaignState(campaign_plan()),
    "in the search": lambda: simulate(campaign_plan(), most_epochs=40),
    "in confirm": lambda: simulate(
        campaign_plan(), most_epochs=260, max_concurrent=3, order_seed=1
    ),
    "without control": lambda: simulate(campaign_plan(study_plan(arms=(pc_arm(),)))),
    "borrowed control": lambda: simulate(
        campaign_plan(study_plan(arms=(borrowing_control(), pc_arm())))
    ),
    "all arms": lambda: simulate(
        campaign_plan(
            study_plan(arms=(control_arm(), pc_arm(), smoothing_arm(), entropic_arm())),
            other_study("cub200", "densenet161", 200),
        )
    ),
    "one seed": lambda: simulate(campaign_plan(seeds=1)),
    "no confirm": lambda: simulate(campaign_plan(seeds=0)),
}


@pytest.mark.parametrize("name", STATES)
def test_both_documents_keep_their_schema(name: str) -> None:
    state = STATES[name]()
    checked_json(state)
    for row in trial_rows(state):
        jsonschema.validate(json.loads(json.dumps(row, allow_nan=False)), ROW)


def test_the_numbers_of_a_whole_campaign() -> None:
    state = simulate(campaign_plan(), max_concurrent=3, order_seed=5)
    rows = trial_rows(state)
    document = checked_json(state, "complete")
    assert (document["campaign"], document["status"]) == ("demo", "complete")
    study = document["studies"][0]
    assert (study["dataset"], study["backbone"], study["num_classes"]) == (
        "digits",
        "compact_cnn",
        10,
    )
    # of two best configurations that differ in nothing shared, each arm retrains one
    retrained = 2 * (4 - shared_rates(state))
    assert study["trials"]["total"] == len(rows) == 2 * (12 + retrained + 5)
    for key in ("complete", "pruned", "failed", "diverged"):
        assert study["trials"][key] == sum(row["state"] == key.upper() for row in rows)
    assert study["epochs"]["run"] == sum(len(row["epochs"]) for row in rows)
    assert study["epochs"]["full_budget"] == 2 * (12 * 9 + 4 * 2 * 9 + 5 * 9)
    assert study["seconds"] == pytest.approx(sum(row["seconds"] for row in rows))
    assert study["split_hash"] == "0123456789abcdef"
    assert sum(arm["epochs_run"] for arm in study["arms"].values()) == study["epochs"]["run"]


def shared_rates(state: CampaignState) -> int:
    """How many of the best two of both arms have the same learning rate."""
    control, pc = (
        {trial.spec.config["lr"] for trial in state.arms["digits/compact_cnn", arm].best(2)}
        for arm in ("control", "pc")
    )
    return len(control & pc)


def test_an_arms_test_scores_and_gain_are_those_of_its_confirm_trials() -> None:
    state = simulate(campaign_plan(), max_concurrent=4, order_seed=2)
    arms = checked_json(state)["studies"][0]["arms"]
    by_seed: dict[str, dict[int, float]] = {"control": {}, "pc": {}}
    for trial in state.trials.values():
        if trial.spec.phase == "confirm" and trial.test:
            by_seed[trial.spec.arm][trial.spec.config["seed"]] = trial.test["top1"]
    for name, arm in arms.items():
        scores = arm["test_top1"]
        assert scores["seeds"] == list(state.plan.confirm_seeds)
        assert scores["values"] == [by_seed[name][seed] for seed in state.plan.confirm_seeds]
        assert scores["mean"] == pytest.approx(fmean(scores["values"]))
        assert scores["std"] == pytest.approx(stdev(scores["values"]))
    differences = [by_seed["pc"][seed] - by_seed["control"][seed] for seed in by_seed["pc"]]
    assert arms["pc"]["gain"]["mean"] == pytest.approx(fmean(differences))
    assert arms["control"]["gain"] is None


def test_an_arms_configuration_is_the_chosen_one_without_seeds() -> None:
    state = simulate(campaign_plan())
    arms = checked_json(state)["studies"][0]["arms"]
    for name, arm in arms.items():
        choice = state.arms["digits/compact_cnn", name].choice
        assert choice is not None
        assert arm["config"] == {k: v for k, v in choice.config.items() if k not in STRIPPED}
        assert arm["val_top1"] == choice.score
    assert arms["pc"]["lambda"] == pytest.approx(10 * arms["pc"]["lambda_over_n"])
    assert (arms["control"]["lambda"], arms["control"]["lambda_over_n"]) == (0, 0)


STRIPPED = ("seed", "split")


def test_label_smoothing_has_no_lambda() -> None:
    plan = campaign_plan(study_plan(arms=(control_arm(), smoothing_arm(), entropic_arm())))
    arms = checked_json(simulate(plan))["studies"][0]["arms"]
    assert arms["label_smoothing"]["lambda"] is None
    assert 0.02 <= arms["label_smoothing"]["config"]["label_smoothing"] <= 0.3
    assert arms["entropic"]["variant"] == "entropic"
    assert arms["entropic"]["lambda_over_n"] == pytest.approx(arms["entropic"]["lambda"] / 10)


def test_a_failed_confirm_seed_leaves_the_pairs_that_remain() -> None:
    state = simulate(campaign_plan(), fails={"digits/compact_cnn/pc/confirm-001": 4})
    study = checked_json(state)["studies"][0]
    control, treated = study["arms"]["control"]["test_top1"], study["arms"]["pc"]["test_top1"]
    kept = [seed for i, seed in enumerate(state.plan.confirm_seeds) if i != 1]
    assert treated["seeds"] == kept
    assert study["trials"]["failed"] == 1
    pairs = dict(zip(control["seeds"], control["values"], strict=True))
    expected = fmean(v - pairs[s] for s, v in zip(kept, treated["values"], strict=True))
    assert study["arms"]["pc"]["gain"]["mean"] == pytest.approx(expected)


def test_before_any_choice_everything_unknown_is_null() -> None:
    arm = checked_json(simulate(campaign_plan(), most_epochs=20))["studies"][0]["arms"]["pc"]
    assert arm["epochs_run"] > 0
    assert arm["config"] == {}
    for key in ("lambda", "lambda_over_n", "val_top1", "test_top1", "gain"):
        assert arm[key] is None


def test_without_a_control_there_is_no_gain() -> None:
    arms = checked_json(STATES["without control"]())["studies"][0]["arms"]
    assert list(arms) == ["control", "pc"]
    assert arms["control"] is None
    assert arms["pc"]["gain"] is None
    assert arms["pc"]["test_top1"] is not None


def test_a_borrowed_control_has_the_lenders_configuration_and_no_score() -> None:
    study = checked_json(STATES["borrowed control"]())["studies"][0]
    control, treated = study["arms"]["control"], study["arms"]["pc"]
    assert control["val_top1"] is None
    assert control["config"] == treated["config"] | {"lambda": 0, "lambda_over_n": 0}
    assert study["epochs"]["full_budget"] == 12 * 9 + 2 * 2 * 9 + 2 * 5 * 9
    assert control["epochs_run"] == 5 * 9
    assert treated["gain"]["low"] is not None


def test_one_seed_has_no_spread_and_no_interval() -> None:
    arm = checked_json(simulate(campaign_plan(seeds=1)))["studies"][0]["arms"]["pc"]
    assert arm["test_top1"]["std"] is None
    assert arm["gain"]["mean"] is not None
    assert (arm["gain"]["low"], arm["gain"]["high"], arm["gain"]["p_value"]) == (None, None, None)


def test_the_metric_of_the_plan_is_the_one_that_is_read() -> None:
    plain = summarise(simulate(campaign_plan())).studies[0].arms["pc"].test_top1
    by_class = summarise(simulate(campaign_plan(metric="mean_class_top1")))
    scores = by_class.studies[0].arms["pc"].test_top1
    assert plain is not None
    assert scores is not None
    assert scores.mean == pytest.approx(plain.mean - 1)  # as the driver makes it


def test_published_numbers_come_with_the_whole_dataset_only() -> None:
    plan = campaign_plan(
        other_study("cub200", "densenet161", 200), other_study("cub200", "resnet50", 50)
    )
    whole, part = checked_json(CampaignState(plan))["studies"]
    assert (whole["published"]["baseline"], whole["published"]["pc"]) == (84.21, 86.87)
    assert part["published"] is None


def test_the_full_budget_never_retrains_more_finalists_than_there_are_trials() -> None:
    plan = campaign_plan(study_plan(arms=(pc_arm(trials=2),)), finalist_configs=3)
    assert full_budget(plan, plan.studies[0]) == 2 * 9 + 2 * 2 * 9 + 5 * 9


def test_trial_rows_tell_every_epoch() -> None:
    state = simulate(campaign_plan(), fails={"digits/compact_cnn/pc/search-002": 1})
    rows = {row["trial"]: row for row in trial_rows(state)}
    failed = rows["digits/compact_cnn/pc/search-002"]
    assert (failed["state"], failed["error"], failed["epochs"]) == ("FAILED", FAILURE, [])
    for row in rows.values():
        assert [epoch for epoch, _ in row["epochs"]] == list(range(1, len(row["epochs"]) + 1))
        if row["phase"] == "confirm":
            assert all(value is None for _, value in row["epochs"])
            assert row["config"]["split"] is None
        else:
            assert all(value is not None for _, value in row["epochs"])
        if row["state"] == "PRUNED":
            assert row["epochs"][-1][0] in (1, 3)
        assert row["config"]["seed"] is not None


def test_confirm_trials_of_a_choice_that_a_wider_search_took_back_are_set_aside() -> None:
    state = simulate(campaign_plan())
    assert not any(row["set_aside"] for row in trial_rows(state))
    state.arms["digits/compact_cnn", "pc"].reopen()
    for row in trial_rows(state):
        assert row["set_aside"] == (row["phase"] == "confirm" and row["arm"] == "pc")


def test_python_objects_hold_what_the_json_holds() -> None:
    summary = summarise(simulate(campaign_plan()), "complete")
    study, document = summary.studies[0], summary.to_json()["studies"][0]
    arm = study.arms["pc"]
    assert study.id == "digits/compact_cnn"
    assert arm.lambda_ == document["arms"]["pc"]["lambda"]
    assert arm.gain is not None
    assert arm.gain.p_value == document["arms"]["pc"]["gain"]["p_value"]
    assert study.trials.pruned == document["trials"]["pruned"]
