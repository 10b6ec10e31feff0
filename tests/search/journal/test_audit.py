"""A journal that was edited by hand: what does not agree is found, with trial and line."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.errors import UserError
from pcsearch.recipe.search_space import Space
from pcsearch.runs.folder import RunFolder
from pcsearch.search.journal.audit import audited
from pcsearch.search.journal.events import Event, check_event
from pcsearch.search.journal.journal_file import Chain, Mismatch, read_events
from pcsearch.search.journal.validate import History
from tests.search.driving import control_arm, pc_arm, study_plan
from tests.search.journals import all_kinds, measured, share, small_plan, write_events

EVENTS = measured()
OLD = Path(__file__).parent / "journal_without_looks.jsonl"
FORMAT_2 = Path(__file__).parent / "journal_format_2.jsonl"
Path_ = tuple[str | int, ...]

FREE = {
    "campaign": {"t", "plan"},  # the plan as a whole is what the rest is held against
    "asked": {"t", "decoded"},
    "epoch": {"t", "seconds", "metrics", "test"},  # without what decides, see `is_free`
    "failed": {"t", "error"},
    "diverged": {"t", "error"},
    "retried": {"t", "reason", "kind"},
    "repeated": {"t", "seconds", "same"},
    "resumed": {"t", "host", "pid", "version", "sampler_version"},
    "chosen": {"t"},
    "looked": {"t"},
    "ended": {"t"},
}
"""What only a seal guards: nothing else in a journal says it again (see docs/security.md)."""


def is_free(events: list[Event], number: int, path: Path_) -> bool:
    event = events[number]
    kind = event["event"]
    if path == ("plan", "seed") or path[:2] == ("plan", "confirm_seeds"):
        return False
    if kind == "epoch" and path[0] in ("metrics", "test"):
        return path[-1] not in ("val_top1", "top1")
    if kind == "asked" and path[-1] == "lr":  # another value of the range, unless it is retrained
        return event["spec"]["phase"] == "search"
    if path == ("spec", "keep_weights"):  # earlier versions kept those of the arm pc alone
        spec = event["spec"]
        return spec["phase"] == "confirm" and spec["index"] == 0 and spec["arm"] != "pc"
    if kind == "ended" and path == ("status",):
        return event["status"] == "interrupted"
    return path[0] in FREE[kind]


def leaves(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    if isinstance(value, dict | list) and value:
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*path, key))
    else:
        yield path


def with_another(events: list[Event], number: int, path: Path_, draw: st.DrawFn) -> list[Event]:
    changed = copy.deepcopy(events)
    target: Any = changed[number]
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = draw(another(target[path[-1]]))
    return changed


def another(value: Any) -> st.SearchStrategy[Any]:
    """A value of the same kind, or of none."""
    if isinstance(value, bool):
        return st.just(not value)
    if isinstance(value, str):
        words = ("continue", "prune", "complete", "low", "high", "pc", "failed", value + "x", "")
        return st.sampled_from([word for word in words if word != value])
    if isinstance(value, int):
        return st.integers(0, 2**31).filter(lambda other: other != value) | st.none()
    if isinstance(value, float):
        near = st.sampled_from([value + 20, value - 20, value * 1.01 + 1e-3, value * 10 + 0.1])
        return near | st.floats(0, 100).filter(lambda other: other != value) | st.none()
    return st.integers(0, 9) | st.just("x")


def mismatches(path: Path) -> tuple[Mismatch, ...] | None:
    """None where the journal is refused."""
    try:
        return RunFolder(path.parent).state().mismatches
    except UserError:
        return None


@st.composite
def edits(draw: st.DrawFn, *, unguarded: bool) -> tuple[list[Event], int]:
    """The events with one value changed; `unguarded` leaves the free ones alone."""
    places = [
        (number, path)
        for number, event in enumerate(EVENTS)
        for path in leaves(event)
        if not (unguarded and is_free(EVENTS, number, path))
    ]
    number, path = draw(st.sampled_from(places))
    return with_another(EVENTS, number, path, draw), number + 1


@settings(max_examples=120, deadline=None)
@given(edit=edits(unguarded=False))
def test_any_value_that_is_edited_in_place_breaks_a_seal(
    edit: tuple[list[Event], int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    events, number = edit
    path = write_events(tmp_path_factory.mktemp("run") / "journal.jsonl", EVENTS)
    lines = path.read_bytes().splitlines()
    seal = json.loads(lines[number - 1])["seal"]
    lines[number - 1] = json.dumps(events[number - 1] | {"seal": seal}).encode()
    path.write_bytes(b"\n".join([*lines, b""]))
    found = mismatches(path)
    assert found is None or number in {one.line for one in found}


@settings(max_examples=150, deadline=None)
@given(edit=edits(unguarded=True))
def test_what_is_not_free_is_found_though_all_lines_are_sealed_anew(
    edit: tuple[list[Event], int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    events, _ = edit
    path = tmp_path_factory.mktemp("run") / "journal.jsonl"
    found = mismatches(write_events(path, events))
    assert found is None or found


def first(kind: str, **values: Any) -> int:
    """Where the first event of a kind with these values is, in `spec` or itself."""
    for number, event in enumerate(EVENTS):
        own = event | event.get("spec", {})
        if event["event"] == kind and all(own.get(key) == values[key] for key in values):
            return number
    raise AssertionError((kind, values))


def told(number: int, **changes: Any) -> list[str]:
    """What is said of the journal with one event's values, dotted keys, replaced."""
    events = copy.deepcopy(EVENTS)
    for dotted, value in changes.items():
        target: Any = events[number]
        *above, last = dotted.split("__")
        for key in above:
            target = target[key]
        target[last] = value
    return [str(one) for one in audited(events).mismatches if one.line == number + 1]


def test_a_value_against_its_own_metrics() -> None:
    number = first("epoch", decision="continue")
    value, trial = EVENTS[number]["value"], EVENTS[number]["trial"]
    (line,) = told(number, value=value + 20)
    assert line.startswith(f"line {number + 1} of the journal ({trial}): epoch 1 has the value ")
    assert line.endswith(f"but its val_top1 is {value}")
    both = told(number, value=value + 1, metrics__val_top1=value + 1)
    assert both == [f"line {number + 1} of the journal ({trial}): epoch 1 has the value "
                    f"{value + 1}, which is no whole number of 20 images"]  # fmt: skip


def test_a_test_accuracy_against_the_images_that_were_named_right() -> None:
    number = next(n for n, event in enumerate(EVENTS) if event.get("hits"))
    test = EVENTS[number]["test"]
    assert "but its hits are" in told(number, test__top1=share(test["top1"] + 20, 300))[0]
    assert "not one bit for each of 300" in told(number, hits=EVENTS[number]["hits"][:-4])[0]
    last = max(n for n, event in enumerate(EVENTS) if event.get("hits"))
    assert "it has no hits" in told(last, hits=None)[0]
    assert "it has no test" in told(last, test=None)[0]


@pytest.mark.parametrize("decision", ["continue", "prune"])
def test_a_decision_that_was_turned(decision: str) -> None:
    other = "prune" if decision == "continue" else "continue"
    rung = {"epoch": 1} if decision == "continue" else {}
    number = first("epoch", decision=decision, **rung)
    assert f" is {other}, but must be {decision}" in told(number, decision=other)[0]


def test_configurations_against_the_plan() -> None:
    number = first("asked", phase="search", arm="pc")
    spec = EVENTS[number]["spec"]
    seed, fraction = spec["config"]["seed"], spec["config"]["lambda_over_n"]
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "lr": ({"spec__config__lr": 3.0}, "its lr is 3.0, but the plan's is between 0.01 and 0.3"),
        "seed": ({"spec__config__seed": seed + 1}, "does not follow from the campaign's seed 0"),
        "lambda": (
            {"spec__config__lambda": 7.0},
            f"its lambda is 7.0, but must be {fraction * 10}",
        ),
        "fixed": ({"spec__config__batch_size": 64}, "its batch_size is 64, but the plan fixes 32"),
        "split": ({"spec__config__split": 3}, "its split is 3"),
        "more": ({"spec__config__momentum": 0.5}, "its momentum is not in the plan"),
        "variant": ({"spec__variant": "jeffreys"}, "its variant is jeffreys"),
    }
    for changes, said in cases.values():
        assert said in " ".join(told(number, **changes))
    retrained = first("asked", phase="finalists")
    assert "its config.lr is 0.02, not" in told(retrained, spec__config__lr=0.02)[0]
    confirm = first("asked", phase="confirm")
    assert "its config.seed is 5, not" in told(confirm, spec__config__seed=5)[0]


def test_a_seed_of_the_plan() -> None:
    assert "confirm_seeds do not follow from its seed 7" in told(0, plan__seed=7)[0]


def test_a_choice_and_a_look() -> None:
    chosen = first("chosen", arm="pc")
    assert "the choice of pc" in told(chosen, score=99.0)[0]
    sources = {e["spec"]["trial"] for e in EVENTS if e["event"] == "asked"}
    other = next(s for s in sorted(sources) if "/search-" in s and s != EVENTS[chosen]["source"])
    assert f'its source is "{other}"' in " ".join(told(chosen, source=other))
    looked = first("looked")
    assert (
        "the look at digits/compact_cnn" in told(looked, decided=not EVENTS[looked]["decided"])[0]
    )


def test_of_widened_and_resumed_campaigns_everything_agrees() -> None:
    assert audited(EVENTS).mismatches == ()
    assert audited(all_kinds()).mismatches == ()


@pytest.mark.parametrize("sampler", ["tpe", "qmc", "grid"])
def test_what_samplers_propose_agrees_with_the_plan(sampler: str) -> None:
    choices = Space.of((0.02, 0.1))
    spaces = {"lr": choices, "lambda_over_n": Space.fixed(0.1)}
    grid = (control_arm(4, space={"lr": choices}), pc_arm(4, space=spaces))
    arms = grid if sampler == "grid" else (control_arm(8), pc_arm(8))
    events = measured(
        studies=(study_plan(arms=arms),), sampler=sampler, startup_trials=3, widen="auto",
        rung_rule="noise", full_trainings=2, confirm_looks=(2, 3),
    )  # fmt: skip
    assert audited(events).mismatches == ()


def test_a_journal_of_format_1_is_called_unsealed_and_its_values_are_compared(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(OLD.read_bytes())
    state = RunFolder(tmp_path).state()
    assert (state.mismatches, state.unsealed) == ((), 37)
    lines = path.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if '"asked"' in line)
    event = json.loads(lines[number])
    event["spec"]["config"]["lr"] = 2.5
    lines[number] = json.dumps(event)
    path.write_text("\n".join([*lines, ""]))
    found, *_ = RunFolder(tmp_path).state().mismatches
    assert (found.line, found.trial) == (number + 1, event["spec"]["trial"])
    assert "its lr is 2.5" in found.what


def test_what_was_decided_in_format_2_is_decided_again() -> None:
    """A rule that answers otherwise makes runs disagree that nobody edited.

    Raise `JOURNAL_SCHEMA` with such a rule; then earlier journals are not held to it.
    """
    chain = Chain()
    state = audited(read_events(FORMAT_2, chain), chain)
    assert state.mismatches == ()
    assert (state.status, state.unsealed, state.plan.schema_version) == ("complete", 0, 2)


def test_a_journal_of_format_2_without_its_seals_says_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    (found,) = RunFolder(tmp_path).state().mismatches
    assert (found.line, found.trial) == (1, None)
    assert found.what.startswith(f"lines 1 to {len(EVENTS)} have no seal")
    assert list(read_events(path)) == EVENTS


def test_a_journal_that_calls_itself_older_than_its_seals_says_so(tmp_path: Path) -> None:
    events = copy.deepcopy(EVENTS)
    events[0]["plan"]["schema_version"] = 1
    write_events(tmp_path / "journal.jsonl", events)
    (found,) = RunFolder(tmp_path).state().mismatches
    assert (found.line, found.what) == (1, "it has a seal, but journals of format 1 have none")


def test_rules_that_cannot_be_applied_are_no_crash_and_no_end_of_time() -> None:
    """Such as a grid of a hundred million points, and one of none."""
    choices = [0.01 + number / 1e5 for number in range(10_000)]
    for kind, values in (("choices", choices), ("range", None)):
        events = copy.deepcopy(EVENTS)
        plan = events[0]["plan"]
        plan["sampler"] = "grid"
        for arm in plan["studies"][0]["arms"]:
            for space in arm["space"].values():
                space |= {"kind": kind, "choices": values}
        state = audited(events)
        assert state.mismatches
        assert {one.line for one in state.mismatches} <= set(range(1, len(events) + 1))


def test_events_are_those_that_a_campaign_writes() -> None:
    history = History()
    for event in EVENTS:
        history.check(check_event(event))
    assert small_plan().confirm_seeds == tuple(EVENTS[0]["plan"]["confirm_seeds"])
