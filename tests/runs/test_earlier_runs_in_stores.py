"""A run in an object store gives start points as one in a folder does."""

from __future__ import annotations

from pcsearch.recipe.load import load_recipe, with_absolute_paths
from pcsearch.runs.find import new_run
from pcsearch.runs.prior_runs import with_earlier_runs
from tests.cli.campaigns import drive, plan, silent


def test_an_earlier_run_is_found_by_its_address_and_its_name(bucket: str) -> None:
    runs = f"s3://{bucket}/runs"
    with new_run(runs, "first", "name: demo\n", {}) as folder, folder.open_journal(0) as journal:
        drive(plan(("digits/compact_cnn",)), listener=silent, journal=journal).end("complete")
    for name in ("first", f"{runs}/first"):
        recipe = load_recipe("quickstart", [f"search.prior={name}"])
        found, (earlier,) = with_earlier_runs(with_absolute_paths(recipe), runs)
        assert found.search.prior == (f"{runs}/first",)
        assert earlier.state.arms["digits/compact_cnn", "pc"].choice is not None
