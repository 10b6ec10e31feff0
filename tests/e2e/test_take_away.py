"""The networks of a real campaign, used by commands: the numbers are those of its journal."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from pcsearch import api
from pcsearch.data.catalog import open_dataset
from pcsearch.execution.preflight.datasets import data_options
from pcsearch.recipe.load import load_recipe
from tests.e2e.conftest import Finished

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

STUDY = "fieldguide/compact_cnn"


@pytest.fixture(scope="module")
def birds(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn birds of the campaign's test part as PNG files, one sub-folder a class."""
    folder = tmp_path_factory.mktemp("birds")
    recipe = load_recipe(finished.folder / "recipe.yaml")
    dataset = open_dataset("fieldguide", data_options(recipe))
    assert dataset.test is not None
    for number, label in enumerate(dataset.test.labels):
        path = folder / dataset.class_names[label] / f"{number:03d}.png"
        path.parent.mkdir(exist_ok=True)
        dataset.test.images.image(number).save(path)
    return folder


def measured(finished: Finished, arm: str) -> float:
    """What the journal says of the arm's first confirm seed."""
    (row,) = [t for t in finished.trials if t["trial"] == f"{STUDY}/{arm}/confirm-000"]
    return float(row["test"]["top1"])


def test_evaluate_finds_the_journals_test_accuracies(finished: Finished, birds: Path) -> None:
    result = finished.pcsearch.run("evaluate", "done", birds, "--study", "fieldguide", "--json")
    assert result.code == 0, result
    content = json.loads(result.out)
    for arm in ("control", "pc"):
        found = content["arms"][arm]["accuracy"]
        assert found["percent"] == pytest.approx(measured(finished, arm))
        assert found["low"] < found["percent"] < found["high"] or found["percent"] in (0, 100)


def test_predict_and_an_exported_folder_say_the_same(
    finished: Finished, birds: Path, tmp_path: Path
) -> None:
    pcsearch, out = finished.pcsearch, tmp_path / "out"
    arms = next(s for s in finished.summary["studies"] if s["dataset"] == "fieldguide")["arms"]
    scores = {name: arm["test_top1"]["mean"] for name, arm in arms.items()}
    best = "pc" if scores["pc"] > scores["control"] else "control"
    answered = pcsearch.run("predict", "done", birds, "--study", STUDY, "--json")
    assert answered.code == 0, answered
    content = json.loads(answered.out)
    assert content["arm"] == best
    assert content["labels"]["accuracy"]["percent"] == pytest.approx(measured(finished, best))
    exported = pcsearch.run("export", "done", "--study", STUDY, "--to", out)
    assert exported.code == 0, exported
    again = json.loads(pcsearch.run("predict", out, birds, "--json").out)
    assert again["predictions"] == content["predictions"]
    card = (out / "README.md").read_text()
    assert f"This network itself: {measured(finished, best):.2f} % on the test images." in card
    assert "none, it was trained from random weights" in card
    table = pcsearch.run("export", "done", "--table", "csv", "--to", "-")
    rows = list(csv.DictReader(io.StringIO(table.out)))
    epochs = {(row["trial"], int(row["epoch"])): row["value"] for row in rows}
    for trial in finished.trials:
        for epoch, value in trial["epochs"]:
            assert epochs[trial["trial"], epoch] == ("" if value is None else str(value))


def test_a_run_of_two_studies_asks_which(finished: Finished, birds: Path) -> None:
    result = finished.pcsearch.run("predict", "done", birds)
    assert (result.code, result.out) == (2, "")
    assert "runs/done has 2 studies; name one with --study: " in result.err
    assert STUDY in result.err


def test_onnx_is_checked_on_the_test_images(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="needs the extra: pip install 'pcsearch[onnx]'")
    monkeypatch.setenv("PCSEARCH_CACHE", str(finished.pcsearch.cache))
    exported = api.export(finished.folder, tmp_path / "out", study=STUDY, onnx=True)
    images = finished.events[0]["plan"]["studies"][1]["images"]["test"]
    assert exported.notes == (
        f"ONNX Runtime gives the same answers as PyTorch to {images} test images.",
    )
