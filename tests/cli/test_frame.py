"""Frames of real campaigns, drawn at the sizes that terminals have."""

from __future__ import annotations

import pytest
from rich.console import Console

from pcsearch.cli.views.live import frame
from pcsearch.cli.views.progress import Snapshot, snapshot
from pcsearch.search.plan import Plan
from tests.cli.campaigns import arm, drive, plan, silent

THREE_ARMS = (arm("control"), arm("pc"), arm("label_smoothing"))
MANY = tuple(f"set{i}/backbone_with_a_long_name_{i}" for i in range(30))
FOLDER = "runs/demo-20261123-141500"


SIZES = ((80, 23), (100, 29), (60, 12), (40, 6), (200, 60))


def draw(one: Plan, width: int, until: float, columns: int, rows: int) -> list[str]:
    state = drive(one, listener=silent, max_concurrent=width, until=until).state
    return lines_of(snapshot(state, until, width), columns, rows)


def lines_of(now: Snapshot, columns: int, rows: int) -> list[str]:
    console = Console(width=columns, height=rows, color_system=None)
    with console.capture() as capture:
        console.print(frame(now, FOLDER, columns, rows))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("until", [0, 1, 7, 40])
@pytest.mark.parametrize("width", [1, 50])
@pytest.mark.parametrize(
    "one",
    [plan(), plan(arms=THREE_ARMS), plan(MANY), plan(("x/" + "y" * 300,))],
    ids=["two studies", "three arms", "many studies", "long name"],
)
def test_every_frame_fits(one: Plan, width: int, until: float) -> None:
    now = snapshot(
        drive(one, listener=silent, max_concurrent=width, until=until).state, until, width
    )
    for columns, rows in SIZES:
        lines = lines_of(now, columns, rows)
        assert len(lines) <= rows
        assert max(map(len, lines)) <= columns


def test_a_row_an_arm_and_a_row_a_running_trial() -> None:
    text = "\n".join(draw(plan(arms=THREE_ARMS), 4, 12, 80, 23))
    assert "0:12 elapsed, ~" in text
    for name in ("digits/compact_cnn", "fieldguide/compact_cnn", "  control", "label_smoothing"):
        assert name in text
    running = text.split("running  ")[1].splitlines()
    assert len(running) == 1 + 3
    assert "epoch   last" in running[0]
    assert "/9" in running[1]
    assert "▁" in text


def test_trials_without_a_node_are_not_running() -> None:
    state = drive(plan(), listener=silent, max_concurrent=4, until=12).state
    assert len(state.running) == 4
    lines = lines_of(snapshot(state, 12, 4, waiting=3), 80, 23)
    assert "1 running)" in lines[2]
    assert lines[-1] == "3 trials wait for a node with room"
    assert "wait" not in "\n".join(lines_of(snapshot(state, 12, 4), 80, 23))
    all_of_them = lines_of(snapshot(state, 12, 4, waiting=9), 80, 23)
    assert "0 running)" in all_of_them[2], "one that has just ended does not wait any more"


def test_many_studies_become_one_row_each_and_the_rest_is_counted() -> None:
    lines = draw(plan(MANY), 50, 3, 80, 23)
    assert any(line.startswith("… and ") and "more studies, 0 done" in line for line in lines)
    assert any(line.startswith("… and ") and line.endswith("more running") for line in lines)
    shown = [line for line in lines if line.startswith("set") and " search " not in line]
    more = next(line for line in lines if "more studies" in line)
    assert len(shown) + int(more.split()[2]) == 30


def test_running_trials_shown_and_hidden_are_all_counted() -> None:
    lines = draw(plan(), 22, 1, 80, 18)
    more = next(line for line in lines if line.endswith("more running"))
    shown = [line for line in lines if " search " in line and "/9" in line]
    running = next(line.split(" running")[0].split()[-1] for line in lines if " running)" in line)
    assert len(shown) + int(more.split()[2]) == int(running) > 3


def test_failures_and_a_closed_search_are_told() -> None:
    campaign = drive(
        plan(budget_seconds=100), listener=silent, fails=lambda s: s.index == 1 and s.arm == "pc"
    )
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(frame(snapshot(campaign.state, 90, 3), FOLDER, 80, 23))
    text = capture.get()
    assert "last failure: " in text
    assert "search closed: the time budget" in text
    assert "0:90" not in text
    assert "1:30 elapsed of 1:40" in text


def test_long_study_names_take_the_place_of_curves() -> None:
    names = ("fieldguide/compact_cnn", *(f"cub200/efficientnet_v2_{i}" for i in range(9)))
    text = "\n".join(draw(plan(names), 3, 30, 80, 23))
    assert all(name in text for name in names)
    assert "curve" not in text
    assert "curve" in "\n".join(draw(plan(names), 3, 30, 120, 23))
