"""`pcsearch simulate` as it is typed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pcsearch.cli.app import app
from pcsearch.errors import UserError
from pcsearch.runs.folder import new_run
from pcsearch.search.journal.journal_file import FileJournal
from tests.cli.campaigns import drive, plan, silent

QUICK = ["simulate", "quickstart", "datasets=[digits]", "confirm.seeds=2"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*QUICK, *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_it_says_time_machines_and_money() -> None:
    out = run("--nodes=2", "--gpus-per-node=2", "--price=1.5", "resources.gpus_per_trial=0.5")
    assert "simulated on at most 2 nodes of 2 GPUs, 4 trials each at once" in out
    for word in ("makespan", "node-hours", "GPU-hours", "cost", "digits/compact_cnn   control"):
        assert word in out


def test_scripts_get_everything_as_json() -> None:
    (simulated,) = json.loads(run("--nodes=2", "--cpus-per-node=2", "--json"))
    trials = simulated["trials"]
    phases = Counter(trial["trial"].split("/")[-1].split("-")[0] for trial in trials)
    assert (phases["search"], phases["confirm"]) == (2 * 10, 2 * 2)
    # three repeats of two configurations of each arm; those with equal learning rates count once
    assert phases["finalists"] in {2 * 3 * configs for configs in (2, 3, 4)}
    assert len(trials) == phases.total()
    assert all(trial["ran"] for trial in trials)
    assert simulated["makespan_seconds"] == max(t["ran"][-1]["end"] for t in trials)
    assert simulated["cost"] is None
    assert len(simulated["timeline"]) == 60


WIDE = ["search.trials=60", "--cpus-per-node=1", "--images-per-second=20", "--json"]


def test_a_budget_in_money_goes_by_the_price_that_is_given() -> None:
    (free,) = json.loads(run(*WIDE, "--price=2"))
    assert free["search_closed"] is None
    budget = f"budget.cost={free['cost'] / 2}"
    (closed,) = json.loads(run(*WIDE, "--price=2", budget))
    assert "cost budget" in closed["search_closed"]
    assert closed["cost"] < free["cost"]
    (again,) = json.loads(run(*WIDE, "--price=2", budget, "budget.price_per_node_hour=0.001"))
    assert again["search_closed"] == closed["search_closed"]


def test_every_trial_can_be_listed() -> None:
    told = "--trials lists all trials"
    assert told in run()
    listed = run("--trials")
    assert "digits/compact_cnn/pc/confirm-001" in listed
    assert told not in listed


def test_without_a_price_it_says_what_the_cost_needs() -> None:
    needs = "give --price of a node-hour"
    assert needs in run()
    for price in ("--price=1.5", "budget.price_per_node_hour=1.5"):
        assert needs not in run(price)


def test_it_learns_and_takes_as_long_as_a_recorded_run(tmp_path: Path) -> None:
    """There, an epoch of 800 images took a second; confirm trains on 1,000."""
    recorded = tmp_path / "first"
    with (
        new_run(tmp_path, recorded.name, "name: demo\n", {}) as folder,
        FileJournal(folder.journal) as journal,
    ):
        drive(plan(("digits/compact_cnn",)), listener=silent, journal=journal).end("complete")
    options = ["--cpus-per-node=1", "--start-seconds=0", "--json"]
    (made_up,) = json.loads(run(*options))
    (told,) = json.loads(run(*options, f"--curves={recorded}"))
    (named,) = json.loads(run(*options, "--curves=first", f"--runs={tmp_path}"))
    assert named["trials"] == told["trials"]
    assert told["makespan_seconds"] != made_up["makespan_seconds"]
    assert told["trials"] != made_up["trials"]
    seconds = sum(
        trial["epochs"] * (1.25 if "/confirm-" in trial["trial"] else 1.0)
        for trial in told["trials"]
    )
    assert 3600 * told["busy_slot_hours"] == pytest.approx(seconds, abs=len(told["trials"]))


def test_more_nodes_take_less_time() -> None:
    one, four = (json.loads(run(f"--nodes={n}", "--cpus-per-node=1", "--json")) for n in (1, 4))
    assert four[0]["makespan_seconds"] < one[0]["makespan_seconds"]


def test_a_dataset_that_is_not_here_has_its_official_counts() -> None:
    result = CliRunner().invoke(
        app, ["simulate", "cub200", "data.root=/nowhere", "--gpus-per-node=1"]
    )
    assert result.exit_code == 0, result.output
    assert "cub200 is not here; its official counts of images are used" in result.stderr
    assert "which is a guess" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--always=3"], "--always is 3, but --nodes is 1"),
        (["--images-per-second=0"], "--images-per-second is 0, but must be more than 0"),
        (["--losses-per-hour=100"], "but must be at most 60"),
        (["resources.cpus_per_trial=9"], "a trial needs 9 CPUs and 0 GPUs, but a node has 8 CPUs"),
        (["resources.gpus_per_trial=1"], "a node has 8 CPUs and 0 GPUs; give larger nodes"),
        (["--curves=nowhere"], "nowhere"),
        (["search.prior=nowhere"], 'search.prior: there is no run "nowhere" under runs'),
        (["--price=inf"], "--price is inf, but must be more than 0"),
        (["--price=0"], "--price is 0, but must be more than 0"),
        (["budget.cost=3"], "budget.price_per_node_hour"),
    ],
)
def test_mistakes_are_one_message(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, [*QUICK, *arguments])
    assert isinstance(result.exception, UserError), result.output
    assert message in str(result.exception)


def test_measured_ranges_come_from_the_recorded_run_or_are_stated(tmp_path: Path) -> None:
    """A simulation cannot train: it says which range it takes instead."""
    result = CliRunner().invoke(app, [*QUICK, "search.lr=auto", "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    said = "auto is not measured in a simulation; 0.001 to 0.1 is used for digits/compact_cnn"
    assert said in result.stderr


def test_an_earlier_run_gives_the_first_search_trials(tmp_path: Path) -> None:
    with (
        new_run(tmp_path, "first", "name: demo\n", {}) as folder,
        FileJournal(folder.journal) as journal,
    ):
        study = plan(("digits/compact_cnn",)).studies[0].model_copy(update={"num_classes": 10})
        whole = plan(("digits/compact_cnn",)).model_copy(update={"studies": (study,)})
        done = drive(whole, listener=silent, journal=journal)
    rates = {
        choice.config["lr"]
        for arm in done.state.arms.values()
        if (choice := arm.choice) is not None
    }
    result = CliRunner().invoke(
        app, [*QUICK, "search.prior=first", f"--runs={tmp_path}", "--json"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    first = [line for line in result.stderr.splitlines() if "search trial 0 of each arm" in line]
    assert any(f"lr {rate:.4g}" in line for rate in rates for line in first)
