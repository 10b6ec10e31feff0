"""The table of epochs against the journal, read back by other programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from pcsearch.reporting.epochs_table import columns_of, epoch_rows, write_csv, write_parquet
from pcsearch.search.state import CampaignState, replay
from tests.search.journals import measured

EVENTS = measured()


@pytest.fixture(scope="module")
def state() -> CampaignState:
    return replay(EVENTS)


def test_every_epoch_of_the_journal_has_its_row(state: CampaignState) -> None:
    rows = epoch_rows(state, "here")
    told = [event for event in EVENTS if event["event"] == "epoch"]
    found = {(row["trial"], row["epoch"]): row for row in rows if row["epoch"] is not None}
    assert len(found) == len(told)
    for event in told:
        row = found[event["trial"], event["epoch"]]
        assert (row["value"], row["seconds"]) == (event["value"], event["seconds"])
        assert {key: row[key] for key in event["metrics"]} == event["metrics"]
        if event.get("test"):
            assert row["test_top1"] == event["test"]["top1"]
            assert row["is_last"] is True
        else:
            assert "test_top1" not in row
    asked = {event["spec"]["trial"]: event["spec"] for event in EVENTS if event["event"] == "asked"}
    assert {row["trial"] for row in rows} == asked.keys()
    for row in rows:
        spec = asked[str(row["trial"])]
        assert row["config_lr"] == spec["config"]["lr"]
        assert (row["seed"], row["split"]) == (spec["config"]["seed"], spec["config"]["split"])
        assert row["study"] == f"{row['dataset']}/{row['backbone']}"


def test_a_trial_without_an_epoch_is_not_missing() -> None:
    first = [event["event"] for event in EVENTS].index("asked")
    (row,) = epoch_rows(replay(EVENTS[: first + 1]), "here")
    assert row["trial"] == EVENTS[first]["spec"]["trial"]
    assert (row["epoch"], row["value"], row["state"]) == (None, None, "RUNNING")


def test_csv_and_parquet_hold_the_same(state: CampaignState, tmp_path: Path) -> None:
    import pandas
    from pyarrow import parquet

    rows = epoch_rows(state, "=run")
    text = io.StringIO()
    write_csv(rows, text)
    read = list(csv.DictReader(io.StringIO(text.getvalue())))
    write_parquet(rows, tmp_path / "epochs.parquet")
    table = parquet.read_table(tmp_path / "epochs.parquet").to_pylist()
    assert list(read[0]) == list(table[0]) == list(columns_of(rows))
    assert {row["run"] for row in read} == {"'=run"}  # no formula for a spreadsheet
    for one, other, row in zip(read, table, rows, strict=True):
        for name in columns_of(rows):
            assert other[name] == row.get(name)
            assert one[name] == _as_text(row.get(name), name)
    frame = pandas.read_csv(io.StringIO(text.getvalue()))
    assert frame.groupby("trial")["is_last"].sum().eq(1).all()
    assert frame["comparable"].dtype == bool


def _as_text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if name == "run" else str(value)
