"""What a worker reports of trials that go well, and of those that fail: never the worker's end."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pcsearch import __version__
from pcsearch.execution import launch
from pcsearch.execution.trial_run import EVAL_BATCH, WorkerContext
from pcsearch.execution.worker import FAILURE, REPORT, results_of
from pcsearch.recipe.load import load_recipe
from pcsearch.search.trial import TrialSpec, checkpoint_folder, stop_marker
from tests.search.at_fault import BATCH, EPOCHS, Faulty, given, make_workplace, no_memory, spec_of

BATCHES = 8  # an epoch of search, the last of them with 7 images


@pytest.fixture(scope="module")
def shared_workplace(tmp_path_factory: pytest.TempPathFactory) -> WorkerContext:
    return make_workplace(tmp_path_factory.mktemp("run"))


@pytest.fixture
def context(shared_workplace: WorkerContext, tmp_path: Path) -> WorkerContext:
    (tmp_path / "checkpoints").mkdir()
    return WorkerContext(
        **vars(shared_workplace) | {"checkpoints": str(tmp_path / "checkpoints")}  # its own
    )


@pytest.fixture(autouse=True)
def healthy() -> Iterator[None]:
    Faulty.mend()
    yield
    Faulty.mend()


def results(spec: TrialSpec, context: WorkerContext, **values: Any) -> list[dict[str, Any]]:
    return list(results_of(given(spec, **values), vars(context)))


def reports(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(result[REPORT]) for result in found]


def test_every_result_says_who_reports(context: WorkerContext) -> None:
    spec = spec_of(context)
    found = results(spec, context, attempt=3)
    who = {"trial": spec.trial, "attempt": 3, "pid": os.getpid(), "host": socket.gethostname()}
    assert [result.keys() for result in found] == [{*who, REPORT}] * EPOCHS
    assert all(result.items() >= who.items() for result in found)
    assert [report["epoch"] for report in reports(found)] == list(range(1, EPOCHS + 1))
    assert results(spec, context)[0]["attempt"] == 0


def test_a_node_with_another_pcsearch_is_told_and_trains_nothing(context: WorkerContext) -> None:
    """Before anything is looked at that another version may have another way."""
    newer = vars(context) | {"version": "9.9.9", "a_field_of_it": 1}
    config = {"spec": json.dumps({"trial": "a/b/pc/search-000", "a_field_of_it": 1})}
    (told,) = results_of(config, newer)
    assert told["node"] is True
    assert told["trial"] == "a/b/pc/search-000"
    assert f"this node has pcsearch {__version__}, the campaign runs with 9.9.9" in told[FAILURE]
    assert "install the same version on both" in told[FAILURE]
    spec = spec_of(context)
    same = replace(context, version=__version__)
    assert len(results(spec, same)) == len(results(spec, context)) == EPOCHS


def test_the_driver_states_its_version(tmp_path: Path) -> None:
    folder: Any = SimpleNamespace(data=tmp_path, checkpoints=tmp_path, weights=tmp_path, url=None)
    plan: Any = SimpleNamespace(studies=())
    sizing: Any = SimpleNamespace(cpus_per_trial=1, gpus_per_trial=0)
    stated = launch.worker_context(load_recipe("quickstart"), plan, folder, sizing)
    assert WorkerContext(**stated).version == __version__


@pytest.mark.parametrize("after_batches", [0, BATCHES + 3], ids=["first epoch", "second epoch"])
def test_out_of_memory_is_a_result_and_half_the_batch_goes_on(
    context: WorkerContext, after_batches: int
) -> None:
    Faulty.error, Faulty.most, Faulty.after_batches = no_memory, BATCH // 2, after_batches
    spec = spec_of(context, 1)
    *before, failed = results(spec, context)
    assert len(before) == after_batches // BATCHES
    assert failed["memory"] is True
    assert failed["trial"] == spec.trial
    assert failed["pid"] == os.getpid()
    assert failed[FAILURE].startswith(f"out of memory with train.batch_size {BATCH}: lower it")
    assert "statistics" not in failed[FAILURE]

    Faulty.seen.clear()
    divided = reports(results(spec, context, attempt=1, micro_batches=2))
    assert [report["metrics"]["images"] for report in divided] == [231] * EPOCHS
    assert max(Faulty.seen) == BATCH // 2
    Faulty.mend()
    assert len(results(spec_of(context, 2), context)) == EPOCHS, "the worker lives on"


def test_what_a_failed_trial_held_is_given_back_before_it_is_reported(
    context: WorkerContext,
) -> None:
    """The frames of its error hold the network, the gradients and the batches."""
    Faulty.error, Faulty.after_batches = no_memory, BATCHES
    run = results_of(given(spec_of(context)), vars(context))
    assert REPORT in next(run)
    assert len(Faulty.alive) == 1
    assert FAILURE in next(run)
    assert len(Faulty.alive) == 0
    run.close()


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), MemoryError("no more")])
def test_other_failures_are_results_too(context: WorkerContext, error: Exception) -> None:
    Faulty.error = lambda: error
    (failed,) = results(spec_of(context), context)
    assert failed["memory"] is isinstance(error, MemoryError)
    if not failed["memory"]:
        assert failed[FAILURE].startswith("ZeroDivisionError: a bug (in forward, ")
    Faulty.error = None
    assert len(results(spec_of(context, 1), context)) == EPOCHS


def test_a_broken_cuda_runtime_is_raised_so_that_the_process_is_replaced(
    context: WorkerContext,
) -> None:
    assertion = "CUDA error: device-side assert triggered"
    Faulty.error = lambda: torch.AcceleratorError(assertion, 710)
    with pytest.raises(torch.AcceleratorError):
        results(spec_of(context), context)


def test_saved_says_whether_a_checkpoint_holds_the_epoch(context: WorkerContext) -> None:
    """Epochs of milliseconds are not written down, but while the campaign stops each one is."""
    spec = spec_of(context)
    marker = stop_marker(Path(context.checkpoints))
    run = results_of(given(spec), vars(context))
    first = next(run)
    marker.touch()
    second = next(run)
    run.close()
    assert [report["saved"] for report in reports([first, second])] == [False, True]
    folder = Path(context.checkpoints) / checkpoint_folder(spec.trial)
    assert [path.name for path in folder.iterdir()] == ["a0000-e00002.pt"]
    marker.unlink()
    again = reports(results(spec, context, attempt=1))
    assert [(r["replayed"], r["saved"]) for r in again] == [(True, True)] * 2 + [(False, False)]
    assert again[:2] == [
        {**report, "seconds": repeated["seconds"], "replayed": True, "saved": True}
        for report, repeated in zip(reports([first, second]), again, strict=False)
    ]


def test_a_checkpoint_that_cannot_be_written_is_reported(context: WorkerContext) -> None:
    spec = spec_of(context)
    (Path(context.checkpoints) / checkpoint_folder(spec.trial)).write_text("in the way")
    stop_marker(Path(context.checkpoints)).touch()
    found = reports(results(spec, context))
    assert [report["epoch"] for report in found] == list(range(1, EPOCHS + 1))
    assert not any(report["saved"] for report in found)
    assert all("cannot write the checkpoint" in report["checkpoint_error"] for report in found)


@pytest.mark.parametrize("confirm", [False, True])
def test_evaluation_takes_smaller_batches_too(context: WorkerContext, confirm: bool) -> None:
    spec = spec_of(context, confirm=confirm)
    *_, last = reports(results(spec, context, micro_batches=4))
    assert max(Faulty.measured) == EVAL_BATCH["cpu"] // 4
    assert (last["test"] is not None) == confirm


def test_leaving_early_ends_the_training_at_once(context: WorkerContext) -> None:
    run = results_of(given(spec_of(context)), vars(context))
    assert len(list(islice(run, 1))) == 1
    run.close()
    assert len(Faulty.seen) == BATCHES
    assert next(run, None) is None
