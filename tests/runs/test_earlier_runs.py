"""The runs that `search.prior` names: found by name, folder or path, and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.execution.preflight.datasets import PreparedDataset, open_datasets, prepare_datasets
from pcsearch.execution.preflight.prepare import _plan
from pcsearch.recipe.load import load_recipe, with_absolute_paths
from pcsearch.recipe.schema import Recipe
from pcsearch.runs.folder import new_run
from pcsearch.runs.prior_runs import with_earlier_runs
from pcsearch.search.journal.journal_file import FileJournal
from pcsearch.search.observer import Silent
from pcsearch.search.sampling.start_points import check_fit, with_start_points
from tests.cli.campaigns import drive, plan, silent


def a_run(runs: Path, name: str = "first") -> Path:
    """A finished run of 20 classes, whose journal a real campaign wrote."""
    with (
        new_run(runs, name, "name: demo\n", {}) as folder,
        FileJournal(folder.journal) as journal,
    ):
        drive(plan(("digits/compact_cnn",)), listener=silent, journal=journal).end("complete")
    return folder.path


def recipe(*prior: str | Path) -> Recipe:
    names = ", ".join(map(str, prior))
    return load_recipe("quickstart", ["datasets=[digits]", f"search.prior=[{names}]"])


def test_a_run_is_found_by_its_name_its_folder_and_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are one run, and the recipe keeps where it lies."""
    path = a_run(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    for names in (("first",), ("runs/first",), (path,), ("first", "runs/first", path)):
        found, earlier = with_earlier_runs(recipe(*names), "runs")
        assert found.search.prior == (str(path),)
        assert [run.address for run in earlier] == [str(path)]
        assert earlier[0].state.status == "complete"
        again = load_recipe(with_absolute_paths(found).to_mapping())
        assert again.search.prior == (str(path),)


def test_a_folder_is_found_though_runs_lie_in_a_store(tmp_path: Path) -> None:
    path = a_run(tmp_path)
    found, _ = with_earlier_runs(recipe(path), "s3://nowhere/runs")
    assert found.search.prior == (str(path),)


def test_a_run_whose_journal_was_edited_gives_no_start_points(tmp_path: Path) -> None:
    path = a_run(tmp_path) / "journal.jsonl"
    path.write_text(path.read_text().replace('"seconds":1.0', '"seconds":2.0', 1))
    with pytest.raises(
        UserError, match=r"search\.prior: .*first: line \d+ .* its seal does not fit"
    ):
        with_earlier_runs(recipe(path.parent), tmp_path)


def test_every_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    a_run(tmp_path)
    with new_run(tmp_path, "empty", "name: demo\n", {}):
        pass
    names = ("frist", "empty", tmp_path / "nowhere", "x" * 300, "first")
    with pytest.raises(UserError) as caught:
        with_earlier_runs(recipe(*names), tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert all(line.startswith("search.prior: ") for line in lines)
    assert 'there is no run "frist"' in lines[0]
    assert 'did you mean "first"?' in lines[0]
    assert 'no run "empty"' in lines[1]
    assert "nowhere is not a run" in lines[2]
    assert "cannot be read as a run folder" in lines[3]


def test_a_damaged_journal_is_refused_with_its_line(tmp_path: Path) -> None:
    path = a_run(tmp_path)
    lines = (path / "journal.jsonl").read_text().splitlines(keepends=True)
    (path / "journal.jsonl").write_text("".join([*lines[:5], "{}\n", *lines[5:]]))
    with pytest.raises(UserError, match=r"search\.prior: .*journal\.jsonl:6: .*damaged"):
        with_earlier_runs(recipe("first"), tmp_path)


def test_a_run_that_does_not_fit_is_told_before_images_are_decoded(tmp_path: Path) -> None:
    _, earlier = with_earlier_runs(recipe(a_run(tmp_path)), tmp_path)
    with pytest.raises(UserError, match="its number of classes is 20, not 10"):
        check_fit(recipe(), {"digits": 10}, earlier)
    check_fit(recipe(), {"digits": 20}, earlier)
    check_fit(recipe(), {"digits": 10}, ())


def test_a_campaign_that_goes_on_does_not_read_the_run_again(tmp_path: Path) -> None:
    chosen, earlier = with_earlier_runs(recipe(a_run(tmp_path / "runs")), tmp_path)
    (digits,) = prepare_datasets(chosen, open_datasets(chosen), tmp_path / "cache", lambda *_: None)
    facts = digits.facts.__class__(**{**vars(digits.facts), "num_classes": 20})
    prepared = (PreparedDataset(facts, digits.training, digits.test),)
    begun = _plan(chosen, prepared, (), Silent(), earlier=earlier)
    assert begun.studies[0].start_points
    (tmp_path / "runs").rename(tmp_path / "moved")
    again = _plan(chosen, prepared, (), Silent(), begun)
    assert again.studies[0].start_points == begun.studies[0].start_points
    assert again == with_start_points(again, earlier)[0]
