"""How a campaign's end is written down, and what is said of errors on the way."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.execution.launch import record_outcome
from pcsearch.io import replacing
from pcsearch.runs.folder import RunFolder, new_run
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from pcsearch.search.observer import Silent
from pcsearch.storage import LeaseLostError, StorageError
from tests.search.driving import Clock, drive, make_plan

GO_ON = "pcsearch resume runs/run"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    with new_run(tmp_path, "run", "name: x", {}) as made:
        yield made


def campaign() -> Campaign:
    begun = Campaign(make_plan(), MemoryJournal(), Clock())
    drive(begun, most_epochs=3)
    return begun


def status(folder: RunFolder) -> str:
    return str(json.loads((folder.path / "summary.json").read_text())["status"])


def test_errors_of_the_run_folder_say_what_to_mend_and_how_to_go_on(folder: RunFolder) -> None:
    journal = str(folder.path / "journal.jsonl")
    with (
        pytest.raises(UserError, match=f"can no longer be written .* resume with: {GO_ON}"),
        record_outcome(campaign(), folder, Silent(), GO_ON),
    ):
        raise OSError(errno.ENOSPC, "No space left on device", journal)


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        OSError(errno.ENOSPC, "No space left on device", "/elsewhere/a"),
        OSError("no errno"),
        RuntimeError("another"),
    ],
)
def test_other_errors_are_not_blamed_on_it(folder: RunFolder, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, record_outcome(campaign(), folder, Silent(), GO_ON):
        raise error
    assert raised.value is error
    assert error.__notes__ == [f"resume with: {GO_ON}"]
    assert status(folder) == "interrupted"


def test_a_campaign_that_was_done_all_the_same_is_called_so(folder: RunFolder) -> None:
    done = Campaign(make_plan(), MemoryJournal(), Clock())
    drive(done)
    with record_outcome(done, folder, Silent(), GO_ON) as end:
        end(True)
    assert status(folder) == "complete"


def test_a_file_that_cannot_be_filled_is_named(tmp_path: Path) -> None:
    """As on a full disk, whose errors come from writing, which knows no names."""
    path = tmp_path / "summary.json"
    with pytest.raises(OSError, match="No space left") as raised, replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.filename == str(path)
    assert not path.exists()


def test_a_store_that_is_away_says_how_to_go_on(folder: RunFolder) -> None:
    with (
        pytest.raises(StorageError, match=f"it is away. Then resume with: {GO_ON}"),
        record_outcome(campaign(), folder, Silent(), GO_ON),
    ):
        raise StorageError("it is away")


def test_a_run_that_another_process_took_over_is_left_to_it(folder: RunFolder) -> None:
    with (
        pytest.raises(LeaseLostError, match=r"^another has it$"),
        record_outcome(campaign(), folder, Silent(), GO_ON),
    ):
        raise LeaseLostError("another has it")
