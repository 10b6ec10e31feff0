"""Trials that retrain a configuration keep their predictions; those of a search keep none."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pcsearch.data.catalog import open_dataset
from pcsearch.execution.preflight.datasets import (
    data_options,
    open_datasets,
    prepare_datasets,
    split_of,
)
from pcsearch.execution.run_files import StoredFiles
from pcsearch.execution.trial_run import TrialReport, run_trial
from pcsearch.execution.worker import REPORT, results_of
from pcsearch.execution.worker_data import WorkerContext, publish_labels, training_images
from pcsearch.recipe.schema import Recipe
from pcsearch.search.plan import Plan
from pcsearch.storage.local import LocalStorage
from pcsearch.training.predictions_file import ImagePredictions, read_predictions
from tests.test_promises import EPOCHS, context, plan, recipe, trial  # noqa: F401 (fixtures)


def file_of(context: WorkerContext, phase: str) -> Path:  # noqa: F811
    name = f"images.compact_cnn.pc.{phase}-000.safetensors"
    return Path(context.checkpoints).parent / "predictions" / name


def kept(context: WorkerContext, phase: str, report: TrialReport) -> ImagePredictions:  # noqa: F811
    assert report.predictions is not None
    assert report.predictions.keys() == {"sha256"}
    return read_predictions(file_of(context, phase).read_bytes(), report.predictions["sha256"])


def test_a_confirm_trial_keeps_those_of_the_test_images(
    plan: Plan,  # noqa: F811
    context: WorkerContext,  # noqa: F811
    recipe: Recipe,  # noqa: F811
) -> None:
    first, last = run_trial(trial(plan, "confirm"), context)
    assert first.predictions is None
    found = kept(context, "confirm", last)
    test = open_dataset("images", data_options(recipe, Path(context.cache))).test
    assert test is not None
    assert found.labels.tolist() == test.labels.tolist()
    assert found.image_names == tuple(
        f"test/{name}/{index:02}.png" for name in ("dark", "light") for index in range(5)
    ), "paths within the folder, which may move"
    assert found.class_names == ("dark", "light")
    assert found.rows.tolist() == list(range(10))
    assert last.test is not None
    assert 100 * np.mean(found.predicted == found.labels) == last.test["top1"]
    right = found.log_probabilities.astype(float)[np.arange(10), found.labels]
    assert -right.mean() == pytest.approx(last.test["nll"], rel=1e-3)


def test_labels_handed_over_by_the_driver_bring_the_names_along(
    plan: Plan,  # noqa: F811
    context: WorkerContext,  # noqa: F811
    recipe: Recipe,  # noqa: F811
    tmp_path: Path,
) -> None:
    (prepared,) = prepare_datasets(
        recipe, open_datasets(recipe), tmp_path / "cache", lambda *_: None
    )
    publish_labels(prepared, tmp_path / "data")
    (tmp_path / "pictures").rename(tmp_path / "moved")
    *_, last = run_trial(trial(plan, "confirm"), context)
    assert kept(context, "confirm", last).image_names[0] == "test/dark/00.png"


def test_a_finalist_keeps_those_of_its_validation_images(
    plan: Plan,  # noqa: F811
    context: WorkerContext,  # noqa: F811
    recipe: Recipe,  # noqa: F811
) -> None:
    spec = trial(plan, "finalists")
    *_, last = run_trial(spec, context)
    found = kept(context, "finalists", last)
    training = training_images(context.recipe, "images", context.cache, context.data)
    validation = split_of(recipe, training, spec.config["split"]).val
    assert found.rows.tolist() == validation.tolist()
    assert found.labels.tolist() == training.labels[validation].tolist()
    assert found.image_names == ()
    assert 100 * np.mean(found.predicted == found.labels) == pytest.approx(last.value)
    assert last.test is None


def test_a_restarted_trial_writes_the_same_file(
    plan: Plan,  # noqa: F811
    context: WorkerContext,  # noqa: F811
) -> None:
    """Its worker was torn off after its last epoch, before the driver heard of it."""
    spec = trial(plan, "finalists")
    *_, last = run_trial(spec, context)
    before = file_of(context, "finalists").read_bytes()
    file_of(context, "finalists").write_bytes(b"torn off")
    *_, again = run_trial(spec, context, attempt=1)
    assert again.predictions == last.predictions
    assert file_of(context, "finalists").read_bytes() == before


def test_a_search_keeps_none(plan: Plan, context: WorkerContext) -> None:  # noqa: F811
    *_, last = run_trial(trial(plan, "search"), context)
    assert last.epoch == EPOCHS
    assert last.predictions is None
    assert not file_of(context, "search").parent.exists()


def test_what_cannot_be_written_costs_no_result(
    plan: Plan,  # noqa: F811
    context: WorkerContext,  # noqa: F811
) -> None:
    *_, whole = run_trial(trial(plan, "confirm"), context)
    path = file_of(context, "confirm")
    path.unlink()
    path.mkdir()
    *_, last = run_trial(trial(plan, "confirm"), context)
    assert (last.test, last.hits) == (whole.test, whole.hits)
    assert last.predictions is not None
    assert "directory" in last.predictions["error"]


def test_a_full_disk_is_no_fault_of_the_trial(
    plan: Plan,  # noqa: F811
    context: WorkerContext,  # noqa: F811
    disk_of: Callable[[str], Path],
) -> None:
    disk = disk_of("64k")
    folder = disk / "checkpoints"
    folder.mkdir()
    with (disk / "full").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    config = {"spec": json.dumps(vars(trial(plan, "confirm")))}
    *_, failure = results_of(config, vars(replace(context, checkpoints=str(folder))))
    assert REPORT not in failure
    assert failure["unwritable"][0] == errno.ENOSPC
    assert "predictions" in failure["unwritable"][2]


def test_a_node_that_shares_no_folder_sends_them(tmp_path: Path) -> None:
    run = LocalStorage(tmp_path / "run")
    files = StoredFiles(run.url, tmp_path / "node")
    path = files.predictions("digits/vgg16/pc/confirm-001-c2")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"content")
    files.kept(path)
    name = "predictions/digits.vgg16.pc.confirm-001-c2.safetensors"
    assert run.list("predictions") == [name]
    assert run.read(name) == b"content"
    assert not path.exists()
