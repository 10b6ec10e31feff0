"""Events: what a campaign writes is read back; anything else is refused in one line."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pcsearch.recipe.search_space import Space
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.events import check_event
from pcsearch.search.journal.journal_file import Event, MemoryJournal
from pcsearch.search.journal.validate import History
from tests.search.driving import Clock, control_arm, drive, make_plan, study_plan
from tests.search.journals import all_kinds

EVENTS = all_kinds()
FIRST = {
    kind: next(e for e in EVENTS if e["event"] == kind) for kind in {e["event"] for e in EVENTS}
}
FIRST["search_closed"] = {"event": "search_closed", "reason": "no time is left", "t": 3.5}


def test_every_event_of_a_campaign_passes_unchanged() -> None:
    for event in (*EVENTS, FIRST["search_closed"]):
        assert check_event(copy.deepcopy(event)) == event


def with_value(kind: str, key: str, value: object) -> Event:
    """The kind's first event, changed at a dotted key; `...` takes the key out."""
    event: dict[str, Any] = copy.deepcopy(FIRST[kind])
    target = event
    *above, last = key.split(".")
    for part in above:
        target = target[part]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return event


@pytest.mark.parametrize(
    ("kind", "key", "value", "told"),
    [
        ("epoch", "epoch", 0, "its epoch is 0"),
        ("epoch", "epoch", 1.0, "its epoch is 1"),
        ("epoch", "epoch", True, "its epoch is true"),
        ("epoch", "epoch", 10**4000, "its epoch is a huge number"),
        ("epoch", "epoch", ..., "its epoch is missing"),
        ("epoch", "value", "90", 'its value is "90"'),
        ("epoch", "value", float("inf"), "its value is inf"),
        ("epoch", "value", 1e300, r"its value is 1e\+300"),
        ("epoch", "seconds", -1.0, "its seconds is -1"),
        ("epoch", "decision", "stop", 'its decision is "stop"'),
        ("epoch", "metrics", [], r"its metrics is \[\]"),
        ("epoch", "metrics.lr", "fast", 'its metrics.lr is "fast"'),
        ("epoch", "t", None, "its t is null"),
        ("epoch", "extra", 1, 'its key "extra" is unknown: .*newer pcsearch'),
        ("epoch", "event", "epochs", 'unknown kind "epochs": .*newer pcsearch'),
        ("epoch", "event", ["epoch"], "not an event"),
        ("epoch", "event", ..., "not an event"),
        ("failed", "error", None, "its error is null"),
        ("diverged", "error", 3, "its error is 3"),
        ("looked", "alpha", 0.0, "its alpha is 0"),
        ("looked", "alpha", 1.0, "its alpha is 1"),
        ("looked", "seeds", 0, "its seeds is 0"),
        ("looked", "decided", None, "its decided is null"),
        ("looked", "gains.pc.low", "low", 'its gains.pc.low is "low"'),
        ("looked", "gains.pc.p_value", 1.5, "its gains.pc.p_value is 1.5"),
        ("looked", "gains.pc.high", ..., "its gains.pc.high is missing"),
        ("chosen", "edges", {"lr": "middle"}, "its edges.lr is"),
        ("epoch", "hits", "§", "its hits is"),
        ("epoch", "predictions", "0" * 64, "its predictions is"),
        ("epoch", "predictions", {"sha256": "../../etc"}, "its predictions.sha256 is"),
        ("epoch", "predictions", {"path": "/etc"}, 'its key "predictions.path" is unknown'),
        ("retried", "kind", "cosmic ray", "its kind is"),
        ("repeated", "same", 1, "its same is 1"),
        ("resumed", "pid", 0, "its pid is 0"),
        ("ended", "status", "running", "its status is"),
        ("extended", "recipe", None, "its recipe is null"),
        ("chosen", "values", [float("nan")], "its values.0 is nan"),
        ("chosen", "edge", "middle", "its edge is"),
        ("chosen", "config.seed", ..., "its config has no seed"),
        ("asked", "decoded", None, "its decoded is null"),
        ("asked", "decoded", [], r"its decoded is \[\]"),
        ("asked", "decoded", "digits", 'its decoded is "digits"'),
        ("asked", "decoded", ["../.."], "its decoded.0 is"),
        ("search_closed", "decoded", [3], "its decoded.0 is 3"),
        ("asked", "spec.phase", "test", "its spec.phase is"),
        ("asked", "spec.keep_weights", "yes", "its spec.keep_weights is"),
        ("asked", "spec.epochs", ..., "its spec.epochs is missing"),
        ("asked", "spec.gpus", 1, 'its key "spec.gpus" is unknown'),
        ("asked", "spec.config.lr", [0.1], "its spec.config.lr is"),
        ("asked", "spec.config.lambda", None, "its spec.config has no lambda"),
        ("asked", "spec.config.seed", 1.5, "its spec.config has no seed"),
        ("asked", "spec.config.split", -1, "its spec.config has no split"),
        ("asked", "spec.study", "../../etc", "its spec.study is"),
        ("asked", "spec.study", "digits/..", "its spec.study is"),
        ("asked", "spec.arm", "..", "its spec.arm is"),
        ("asked", "spec.trial", "../../../etc/cron.d", "spec.trial is .* must be"),
        ("asked", "spec.trial", "digits/compact_cnn/pc/search-001", "spec.trial is .* must be"),
        ("asked", "spec.trial", "digits/compact_cnn/control/search-000-c1", "must be"),
        ("asked", "spec.trial", "digits/compact_cnn/control/search-000\n", "must be"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(kind: str, key: str, value: object, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        check_event(with_value(kind, key, value))
    assert "\n" not in str(refused.value)


def test_predictions_are_kept_of_the_last_epoch_of_a_retraining_alone() -> None:
    """As the test images are measured then, and nowhere else."""
    refused = set()
    phase = {e["spec"]["trial"]: e["spec"]["phase"] for e in EVENTS if e["event"] == "asked"}
    for number, event in enumerate(EVENTS):
        if event["event"] != "epoch":
            continue
        history = History()
        for before in EVENTS[:number]:
            history.check(before)
        try:
            history.check(check_event({**event, "predictions": {"sha256": "0" * 64}}))
            outcome = "taken"
        except ValueError:
            outcome = "refused"
        refused.add((phase[event["trial"]], event["decision"] == "complete", outcome))
    assert refused <= {
        *((phase, False, "refused") for phase in ("search", "finalists", "confirm")),
        ("search", True, "refused"),
        ("finalists", True, "taken"),
        ("confirm", True, "taken"),
    }
    assert {("confirm", True, "taken"), ("search", True, "refused")} <= refused


@pytest.mark.parametrize("raw", [None, 3, "epoch", [], [{"event": "epoch"}], {}])
def test_what_is_no_object_is_no_event(raw: object) -> None:
    with pytest.raises(ValueError, match="not an event"):
        check_event(raw)


def test_a_later_choice_of_an_arm_has_trials_of_its_own() -> None:
    event = with_value("asked", "spec.trial", "digits/compact_cnn/control/search-000-c2")
    assert check_event(event) is event


def test_a_campaign_of_extreme_values_is_read_back() -> None:
    """What a recipe may state, however senseless, must not make the journal unreadable."""
    arm = control_arm(trials=2, space={"lr": Space.fixed(1e30)})
    journal = MemoryJournal()
    campaign = Campaign(make_plan(studies=(study_plan(arms=(arm,)),)), journal, Clock())
    drive(campaign, lambda spec, epoch: 1e8)
    history = History()
    for event in journal.events:
        history.check(check_event(event))
