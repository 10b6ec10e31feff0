"""How a verdict comes about, with real Ray: exchanged finalists, looks, arms that diverged."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tests.e2e import naive
from tests.e2e.cli import CommandLine, overrides

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ARMS = ("control", "pc")
CONFIGS = REPEATS = 2
TINY = (
    "quickstart",
    "datasets=[digits]",
    "data.classes=[1, 7, 8, 9]",
    "--plain",
    *overrides(
        search={"trials": 3, "startup_trials": 1},  # so that the arms try different rates
        asha={"max_epochs": 3, "grace_epochs": 1},
        finalists={"configs": CONFIGS, "repeats": REPEATS},
        confirm={"seeds": 2, "epochs": 2},
    ),
)

Row = dict[str, Any]


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> CommandLine:
    """The tiny campaign with two confirm seeds, as the run `tiny`."""
    command = CommandLine(tmp_path_factory.mktemp("verdicts"), cache)
    result = command.run("tune", *TINY, "--name=tiny")
    assert result.code == 0, result
    return command


def of(events: list[Row], kind: str) -> list[Row]:
    return [event for event in events if event["event"] == kind]


def test_arms_retrain_each_others_best_and_choose_by_fresh_repeats(
    confirmed: CommandLine,
) -> None:
    rows = confirmed.trials("tiny")
    rates, seeds = {}, {}
    for arm in ARMS:
        pool = naive.pool(rows, arm, CONFIGS)
        mine = [row for row in rows if (row["phase"], row["arm"]) == ("finalists", arm)]
        assert len(mine) == len(pool) * REPEATS
        rates[arm] = {config["lr"] for config in pool}
        seeds[arm] = {row["config"]["split"]: row["config"]["seed"] for row in mine}
        scored = [naive.scores(rows, arm, config) for config in pool]
        assert [len(values) for values in scored] == [REPEATS] * len(pool)
        (chosen,) = (e for e in of(confirmed.events("tiny"), "chosen") if e["arm"] == arm)
        assert chosen["values"] in scored
        assert chosen["score"] == pytest.approx(max(map(fmean, scored)))
        assert naive.hyperparameters(chosen["config"]) in pool
    found = {arm: {row["config"]["lr"] for row in naive.best(rows, arm)[:2]} for arm in ARMS}
    assert found["control"] != found["pc"], "the searches found the same, so this shows nothing"
    assert rates["control"] == rates["pc"] == found["control"] | found["pc"]
    assert seeds["control"] == seeds["pc"]
    assert sorted(seeds["pc"]) == [1, 2]


def test_more_seeds_are_another_look_at_half_of_the_error_rate_that_is_left(
    confirmed: CommandLine,
) -> None:
    before = confirmed.events("tiny")
    (first,) = of(before, "looked")
    assert (first["seeds"], first["alpha"]) == (2, pytest.approx(0.04))
    result = confirmed.run("resume", "tiny", "confirm.seeds=3", "--plain")
    assert result.code == 0, result
    events = confirmed.events("tiny")
    assert events[: len(before)] == before
    asked = of(events[len(before) :], "asked")
    assert sorted((e["spec"]["phase"], e["spec"]["arm"]) for e in asked) == [
        ("confirm", "control"),
        ("confirm", "pc"),
    ]
    again, second = of(events, "looked")
    assert again == first
    assert (second["seeds"], second["alpha"]) == (3, pytest.approx((0.05 - 0.04) / 2))
    (study,) = confirmed.summary("tiny")["studies"]
    assert [look["seeds"] for look in study["looks"]] == [2, 3]
    gain = study["arms"]["pc"]["gain"]
    assert gain["level"] == pytest.approx(0.995)
    assert gain["parts"].keys() == {"seeds", "search", "images"}
    assert None not in gain["parts"].values()
    told = " ".join(result.out.split())
    assert "were compared twice (after 2, 3 seeds)" in told
    assert "The latest interval has a level of 99.5 %" in told
    assert "Its 99.5 % interval covers" in told


def test_rates_at_which_everything_diverges_give_no_verdict(pcsearch: CommandLine) -> None:
    absurd = overrides(
        search={"lr": [50, 500], "widen": "never"}, finalists={"configs": 1, "repeats": 2}
    )
    result = pcsearch.run("tune", *TINY, *absurd, "--name=absurd")
    assert "Traceback" not in result.out + result.err
    rows = pcsearch.trials("absurd")
    diverged = [row for row in rows if row["state"] == "DIVERGED"]
    assert len(diverged) >= 3, "most of the six search trials"
    assert all("search.lr" in row["error"] for row in diverged)
    summary = pcsearch.summary("absurd")
    (study,) = summary["studies"]
    assert study["trials"]["diverged"] == len(diverged)
    assert study["trials"]["failed"] == 0
    given_up = {
        event["arm"]: event["reason"] for event in of(pcsearch.events("absurd"), "given_up")
    }
    assert (summary["status"], result.code) == (("failed", 1) if given_up else ("complete", 0))
    for arm, reason in given_up.items():
        assert "diverged" in reason
        assert study["arms"][arm]["test_top1"] is None
    verdict = study["arms"]["pc"]["verdict"]
    assert verdict["word"] == "withheld"
    for words in ("HELPS", "HURTS", "p = ", "p < "):
        assert words not in result.out
    assert "diverged, from a learning rate of" in " ".join(result.out.split())
