"""`pcsearch audit`: any flipped byte, dropped or reordered line of a run is named."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pcsearch.reporting.audit import audit
from pcsearch.reporting.summary import summarise
from pcsearch.runs.folder import RunFolder, new_run
from pcsearch.search.journal.journal_file import FileJournal
from pcsearch.search.plan import ArmPlan
from tests.cli.campaigns import arm, drive, plan, silent


def whole_run(runs: Path, arms: Sequence[ArmPlan] = (arm("control"), arm("pc"))) -> RunFolder:
    with (
        new_run(runs, "first", "name: demo\n", {}) as folder,
        FileJournal(folder.journal) as journal,
    ):
        campaign = drive(plan(arms=arms), listener=silent, journal=journal)
        campaign.end("complete")
        folder.finish(summarise(campaign.state).to_json(), whole=True)
    return folder


def wrong(run: RunFolder) -> dict[str, tuple[str, ...]]:
    return {check.name: check.wrong for check in audit(run) if not check.passed}


@pytest.mark.parametrize("borrows", [None, "pc"])
def test_a_run_as_it_was_written_passes(tmp_path: Path, borrows: str | None) -> None:
    run = whole_run(tmp_path / "runs", (arm("control", borrows=borrows), arm("pc")))
    assert [check.name for check in audit(run)] == [
        "journal", "decisions", "test images", "predictions", "summary"
    ]  # fmt: skip
    assert wrong(run) == {}


def flip(lines: list[bytes], chance: random.Random) -> list[bytes]:
    index = chance.randrange(len(lines))
    line = bytearray(lines[index])
    line[chance.randrange(len(line) - 1)] ^= 1 << chance.randrange(7)
    return [*lines[:index], bytes(line), *lines[index + 1 :]]


def drop(lines: list[bytes], chance: random.Random) -> list[bytes]:
    index = chance.randrange(len(lines))
    return lines[:index] + lines[index + 1 :]


def swap(lines: list[bytes], chance: random.Random) -> list[bytes]:
    one, other = sorted(chance.sample(range(len(lines)), 2))
    changed = list(lines)
    changed[one], changed[other] = changed[other], changed[one]
    return changed


@pytest.mark.parametrize("change", [flip, drop, swap])
def test_any_change_of_the_journal_is_named(
    tmp_path: Path, change: Callable[[list[bytes], random.Random], list[bytes]]
) -> None:
    run = whole_run(tmp_path / "runs")
    whole = run.journal.read_bytes().splitlines(keepends=True)
    chance = random.Random(change.__name__)
    for _ in range(40):
        run.journal.write_bytes(b"".join(change(whole, chance)))
        found = wrong(run)
        assert found, f"{change.__name__} was not noticed"
        assert all(lines for lines in found.values())
    for last in (whole[:-1], whole[:-2]):
        run.journal.write_bytes(b"".join(last))
        assert "summary" in wrong(run)
    run.journal.write_bytes(b"".join(whole))
    assert wrong(run) == {}


def test_a_changed_number_of_the_table_is_named(tmp_path: Path) -> None:
    run = whole_run(tmp_path / "runs")
    path = run.path / "summary.json"
    stored = json.loads(path.read_text())
    mean = stored["studies"][1]["arms"]["pc"]["gain"]["mean"]
    stored["studies"][1]["arms"]["pc"]["gain"]["mean"] = mean + 1
    path.write_text(json.dumps(stored))
    (told,) = wrong(run)["summary"]
    assert told == (
        f"summary.json says studies[1].arms.pc.gain.mean is {mean + 1}, the journal {mean}"
    )
    path.unlink()
    assert wrong(run) == {"summary": ("summary.json is missing",)}


def test_a_campaign_that_runs_is_checked_so_far(tmp_path: Path) -> None:
    with (
        new_run(tmp_path / "runs", "half", "name: demo\n", {}) as folder,
        FileJournal(folder.journal) as journal,
    ):
        drive(plan(), listener=silent, until=20, journal=journal)
        assert [check.told for check in audit(folder)][2:] == [
            "never opened", "none were kept", "not stored yet"
        ]  # fmt: skip
        assert wrong(folder) == {}
