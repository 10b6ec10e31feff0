"""What `plan` says before hours are spent on what cannot be shown."""

from __future__ import annotations

from typing import Any

import pytest

from pcsearch.search.plan import Plan, confirm_seeds
from pcsearch.search.verdicts.power import limits
from tests.cli.test_plan_view import NO_RATES, text_of
from tests.search.driving import control_arm, make_plan, pc_arm, study_plan

NO_TEST = (
    "Nothing will be measured on test images (confirm.seeds: 0), so the campaign cannot show "
    "a gain."
)
NO_INTERVAL = (
    "A gain will have no interval (confirm.seeds: 1), so it will be no evidence either way. "
    "Give confirm.seeds=5 for an interval and a verdict."
)


def planned(
    seeds: int = 3, val: int = 50, test: int = 200, repeats: int = 2, **changes: Any
) -> Plan:
    study = study_plan(**changes)
    images = study.images.model_copy(update={"val": val, "test": test})
    study = study.model_copy(update={"images": images})
    finalists = {"finalist_configs": 2, "finalist_repeats": repeats}
    return make_plan(studies=(study,), confirm_seeds=confirm_seeds(0, seeds), **finalists)


def test_with_seeds_and_images_enough_only_the_smallest_gain_is_said() -> None:
    (line,) = limits(planned())
    assert line.startswith(
        "digits/compact_cnn: with 3 seeds and 200 test images, a true gain must be about"
    )


@pytest.mark.parametrize("repeats", [0, 1])
def test_without_repeats_of_finalists_no_verdict_is_announced(repeats: int) -> None:
    (line,) = limits(planned(repeats=repeats))
    assert line.startswith("There will be no verdict: the luck of the search is not measured")


def test_without_a_tuned_control_no_verdict_is_announced() -> None:
    (line,) = limits(planned(arms=(pc_arm(),)))
    assert line.startswith("There will be no verdict: there is no control")
    borrowing = control_arm().model_copy(update={"borrows": "pc", "trials": 0})
    (line,) = limits(planned(arms=(borrowing, pc_arm())))
    assert line.startswith("There will be no verdict: the control is not tuned for itself")


def test_several_looks_are_said_to_share_the_error_rate() -> None:
    plan = planned(6).model_copy(update={"confirm_looks": (3, 6)})
    (line,) = limits(plan)
    assert "6 seeds and 200 test images" in line
    assert "for 8 of 10 campaigns to find it, as 2 looks share the error rate. This" in line


@pytest.mark.parametrize(("seeds", "line"), [(0, NO_TEST), (1, NO_INTERVAL)])
def test_too_few_seeds_are_said(seeds: int, line: str) -> None:
    assert limits(planned(seeds)) == (line,)
    text = text_of(planned(seeds), NO_RATES, columns=200)
    assert line in text
    assert line not in text_of(planned(2), NO_RATES, columns=200)


def test_one_seed_is_no_matter_where_nothing_is_compared() -> None:
    assert limits(planned(1, arms=(control_arm(),))) == ()
    assert limits(planned(1, arms=(pc_arm(),))) == ()
    assert limits(planned(3, arms=(control_arm(),))) == ()


def test_few_images_are_said_with_what_one_is_worth() -> None:
    first, *others = limits(planned(val=4, test=2))
    assert first == "There will be no verdict: there are only 2 test images; 20 are needed."
    assert others == [
        "digits: There are only 2 test images: one is 50.0 points, and other images of the same "
        "classes may give another gain.",
        "digits: There are only 4 validation images: one is 25.0 points, so many configurations "
        "will be equally good.",
    ]
    one = limits(planned(val=1, test=1))[1:]
    assert [line.partition(":")[2].partition(":")[0] for line in one] == [
        " There is only 1 test image",
        " There is only 1 validation image",
    ]
    assert limits(planned(0, test=0)) == (NO_TEST,)


def test_few_images_are_said_once_a_dataset() -> None:
    plan = planned(test=2)
    other = plan.studies[0].model_copy(update={"id": "digits/vgg16", "backbone": "vgg16"})
    assert len(limits(plan.model_copy(update={"studies": (*plan.studies, other)}))) == 2
    more = planned(test=300).studies[0].model_copy(update={"id": "birds/vgg16", "dataset": "birds"})
    lines = limits(plan.model_copy(update={"studies": (*plan.studies, more)}))
    assert lines[0].startswith("digits/compact_cnn: There will be no verdict: there are only 2")
    assert lines[-1].startswith("birds/vgg16: with 3 seeds and 300 test images")
