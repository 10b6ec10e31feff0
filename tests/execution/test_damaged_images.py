"""Decoded images that are cut short, written over, replaced or gone while trials train on them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pcsearch.data.cache.files import ImagesChangedError
from pcsearch.execution.trial_run import WorkerContext
from pcsearch.execution.worker import FAILURE, REPORT, results_of
from pcsearch.training.checkpoints import Checkpoints
from tests.search.at_fault import EPOCHS, given, make_workplace, spec_of


def cut_short(store: Path) -> None:
    os.truncate(store, store.stat().st_size // 3)


def empty(store: Path) -> None:
    os.truncate(store, 0)


def write_over(store: Path) -> None:
    before = store.stat()
    with store.open("r+b") as file:
        file.seek(1000)
        file.write(bytes(10_000))
    os.utime(store, ns=(before.st_atime_ns, before.st_mtime_ns + 1))  # however coarse its clock


def remove(store: Path) -> None:
    store.unlink()


def replace(store: Path) -> None:
    other = store.with_suffix(".other")
    other.write_bytes(bytes(store.stat().st_size))
    other.replace(store)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerContext:
    never = property(lambda self: False)  # on a busy machine, an epoch may take two seconds
    monkeypatch.setattr(Checkpoints, "due", never)
    return make_workplace(tmp_path)


def losses(context: WorkerContext, *, before: Callable[[int], None] = lambda epoch: None) -> list:  # type: ignore[type-arg]
    """The training losses of a trial, trained from its first epoch."""
    found = []
    folder = Path(context.checkpoints)
    for result in results_of(given(spec_of(context)), vars(context)):
        assert FAILURE not in result, result
        report = json.loads(result[REPORT])
        found.append(report["metrics"]["train_loss"])
        before(report["epoch"] + 1)
    assert not any(folder.iterdir()), "a checkpoint would hide what was read"
    return found


def stores(context: WorkerContext) -> list[Path]:
    return [path.with_suffix(".npy") for path in Path(context.cache).glob("*.json")]


@pytest.mark.parametrize("harm", [cut_short, empty, write_over, remove, replace])
def test_the_next_trial_of_the_process_trains_on_whole_images(
    context: WorkerContext, harm: Callable[[Path], None]
) -> None:
    whole = losses(context)
    for store in stores(context):
        harm(store)
    assert losses(context) == whole


@pytest.mark.parametrize("harm", [cut_short, empty, write_over])
def test_a_trial_ends_before_it_reports_what_it_should_not_have_read(
    context: WorkerContext, harm: Callable[[Path], None]
) -> None:
    whole = losses(context)

    def before(epoch: int) -> None:
        for store in stores(context) if epoch == 2 else ():
            harm(store)

    with pytest.raises(ImagesChangedError, match="truncated or overwritten"):
        losses(context, before=before)
    assert losses(context) == whole, "they are decoded again"


@pytest.mark.parametrize("harm", [remove, replace])
def test_a_trial_goes_on_with_what_it_has_mapped(
    context: WorkerContext, harm: Callable[[Path], None]
) -> None:
    whole = losses(context)

    def before(epoch: int) -> None:
        for store in stores(context) if epoch == 2 else ():
            harm(store)

    assert losses(context, before=before) == whole
    assert len(whole) == EPOCHS
