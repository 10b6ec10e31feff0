"""`search.match: seconds`: costs are measured, give the trials, and stay with a resumed plan."""

from __future__ import annotations

from pcsearch.execution.preflight.arm_costs import with_costs
from pcsearch.recipe import load_recipe
from pcsearch.search.plan import DatasetFacts, ImageCounts, build_plan
from tests.execution.preflight.test_precision import Notes


def test_a_step_of_sam_takes_longer_and_leaves_it_fewer_trials() -> None:
    chosen = ["datasets=[digits]", "search.arms=[sam,pc]", "search.match=seconds"]
    recipe = load_recipe("quickstart", chosen)
    counts = ImageCounts(fit=80, val=20, train=100, test=30)
    plan = build_plan(recipe, [DatasetFacts("digits", 10, counts, "0" * 16)], {})
    notes = Notes()
    found = with_costs(plan, recipe, None, notes)
    control, sam, pc = found.studies[0].arms
    assert control.cost == 1.0
    assert sam.cost > 1.3 > pc.cost / 1.3
    assert [arm.trials for arm in found.studies[0].arms] == [
        10, round(10 / sam.cost), round(10 / pc.cost)
    ]  # fmt: skip
    assert f"sam {sam.cost:.2f}" in notes.lines[0]

    wider = load_recipe("quickstart", [*chosen, "search.trials=40"])
    plan = build_plan(wider, [DatasetFacts("digits", 10, counts, "0" * 16)], {})
    again = with_costs(plan, wider, found, silent := Notes())
    assert [arm.cost for arm in again.studies[0].arms] == [1.0, sam.cost, pc.cost]
    assert again.studies[0].arms[1].trials == round(40 / sam.cost)
    assert silent.lines == []
