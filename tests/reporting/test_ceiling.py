"""A control that gets nearly everything right leaves a regulariser nothing to gain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pcsearch.execution.launch import _watch
from pcsearch.reporting.notes import notes
from pcsearch.reporting.summary import summarise
from pcsearch.runs.find import new_run
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from pcsearch.search.observer import Silent
from pcsearch.search.plan import Plan
from pcsearch.search.trial import TrialSpec
from tests.reporting.simulated_campaigns import borrowing_control, campaign_plan, simulate
from tests.search.driving import Clock, Curve, drive, make_plan, pc_arm, study_plan


def flat(control: float, pc: float = 50.0) -> Curve:
    """Every trial of an arm ends at the arm's value, whatever its configuration."""
    return lambda spec, epoch: control if spec.arm == "control" else pc


def said(val: int, curve: Curve, **changes: Any) -> list[str]:
    study = study_plan()
    study = study.model_copy(update={"images": study.images.model_copy(update={"val": val})})
    state = simulate(campaign_plan(study, **changes), curve=curve)
    return [line for line in notes(summarise(state), state) if "could gain" in line]


@pytest.mark.parametrize(
    ("val", "control", "has"),
    [
        (
            1000,
            99.0,
            "99.00 % (10 of 1000 images wrong). A regulariser could gain at most 1.00",
        ),
        (200, 99.5, "99.50 % (1 of 200 images wrong). A regulariser could gain at most 0.50"),
        (20, 90.0, "90.00 % (2 of 20 images wrong). A regulariser could gain at most 10.00"),
        (20, 100.0, "100.00 % (0 of 20 images wrong). A regulariser could gain at most 0.00"),
    ],
)
def test_too_little_room_is_said(val: int, control: float, has: str) -> None:
    assert said(val, flat(control)) == [f"The control's best validation accuracy is {has} points."]


@pytest.mark.parametrize(("val", "control"), [(1000, 98.9), (20, 85.0), (300, 98.99), (4, 50.0)])
def test_enough_room_is_not(val: int, control: float) -> None:
    """Of 300 images, 3 are wrong, of 4 half; what the other arms reach does not matter."""
    assert said(val, flat(control, pc=99.9)) == []


def test_a_mean_over_classes_does_not_say_how_many_images_are_wrong() -> None:
    assert said(20, flat(90.0), metric="mean_class_top1") == []
    (line,) = said(20, flat(99.2), metric="mean_class_top1")
    assert "is 99.20 %. A regulariser" in line


def test_without_a_searched_control_nothing_is_known() -> None:
    study = study_plan(arms=(borrowing_control(), pc_arm()))
    state = simulate(campaign_plan(study), curve=flat(99.9, 99.9))
    assert not any("could gain" in line for line in notes(summarise(state), state))


def test_before_a_trial_has_ended_nothing_is_known() -> None:
    state = simulate(campaign_plan(), curve=flat(99.9), most_epochs=1, max_concurrent=2)
    assert not any("could gain" in line for line in notes(summarise(state), state))


def test_it_is_said_while_the_campaign_runs() -> None:
    state = simulate(campaign_plan(), curve=flat(99.5), most_epochs=40)
    assert any("could gain at most 0.50 points" in line for line in notes(summarise(state), state))


class Noting(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def noted(self, line: str) -> None:
        self.lines.append(line)


def watched(plan: Plan, curve: Curve, tmp_path: Path) -> list[str]:
    """What a person is told while a campaign runs."""
    observer = Noting()
    with new_run(tmp_path, "run", "name: demo\n", {}) as folder:
        campaign = Campaign(
            plan,
            MemoryJournal(),
            Clock(),
            listener=lambda event, state: _watch(event, state, folder, observer),
        )
        drive(campaign, curve)
    return observer.lines


def test_the_first_search_trial_at_the_ceiling_is_told_once_a_study(tmp_path: Path) -> None:
    plan = make_plan(studies=(study_plan("digits"), study_plan("fieldguide")))
    lines = watched(plan, lambda spec, epoch: 99.0 if spec.study[0] == "d" else 98.9, tmp_path)
    assert lines == [
        "digits/compact_cnn/control/search-000 has 99.00 % of the validation images right: a "
        "regulariser could gain at most 1.00 points in this study; stop it (Ctrl-C) if that is too "
        "little"
    ]
    both = watched(plan, lambda spec, epoch: 99.6, tmp_path / "both")
    assert [line.partition("/")[0] for line in both] == ["digits", "fieldguide"]


def test_a_trial_that_passes_the_ceiling_on_its_way_is_not_told_of(tmp_path: Path) -> None:
    def falls(spec: TrialSpec, epoch: int) -> float:
        return 99.9 - epoch if spec.phase == "search" else 99.9

    plan = make_plan(grace_epochs=3, finalist_configs=2, finalist_repeats=1)
    assert watched(plan, falls, tmp_path) == []
