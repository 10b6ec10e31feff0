"""The predictions of a real campaign, and what its commands say of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcsearch.reporting.audit import audit
from pcsearch.runs.find import find_run
from pcsearch.search.trial import predictions_name
from pcsearch.training.predictions_file import ImagePredictions, read_predictions
from tests.e2e import naive
from tests.e2e.conftest import Finished

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

Row = dict[str, Any]


@pytest.fixture(scope="module")
def predictions(finished: Finished) -> dict[str, ImagePredictions]:
    """By trial, as the journal names them."""
    kept = {e["trial"]: e["predictions"]["sha256"] for e in finished.events if "predictions" in e}
    folder = finished.folder / "predictions"
    assert sorted(path.name for path in folder.iterdir()) == sorted(map(predictions_name, kept))
    return {
        trial: read_predictions((folder / predictions_name(trial)).read_bytes(), sha256)
        for trial, sha256 in kept.items()
    }


def images_of(finished: Finished, study: str) -> Row:
    studies = finished.events[0]["plan"]["studies"]
    images: Row = next(one["images"] for one in studies if one["id"] == study)
    return images


def test_audit_names_a_changed_file(finished: Finished, tmp_path: Path) -> None:
    """The whole run passes; with a flipped byte of a file of predictions, it does not."""
    run = tmp_path / "copy"
    shutil.copytree(finished.folder, run)
    folder = find_run(str(run), "runs")
    assert {check.name: check.wrong for check in audit(folder) if not check.passed} == {}
    changed = sorted((run / "predictions").iterdir())[0]
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(bytes(content))
    (told,) = next(check.wrong for check in audit(folder) if check.name == "predictions")
    assert told.startswith(f"predictions/{changed.name} is not what ")
    changed.unlink()
    (told,) = next(check.wrong for check in audit(folder) if check.name == "predictions")
    assert "cannot be read" in told


def test_every_retrained_network_kept_its_own(
    finished: Finished, predictions: dict[str, ImagePredictions]
) -> None:
    retrained = {row["trial"]: row for row in finished.trials if row["phase"] != "search"}
    assert predictions.keys() == retrained.keys()
    last = {event["trial"]: event for event in finished.events if event.get("test")}
    for trial, found in predictions.items():
        row = retrained[trial]
        images = images_of(finished, row["study"])
        hits = found.predicted == found.labels
        if row["phase"] == "finalists":
            assert len(hits) == images["val"]
            assert found.image_names == ()
            assert 100 * hits.mean() == pytest.approx(row["epochs"][-1][1])
        else:
            assert (hits == naive.hits(last[trial], images["test"])).all()
            assert len(set(found.image_names)) == images["test"]


def test_the_analysis_is_that_of_the_predictions(
    finished: Finished, predictions: dict[str, ImagePredictions]
) -> None:
    for study in finished.summary["studies"]:
        analysis, name = study["analysis"], f"{study['dataset']}/{study['backbone']}"
        assert analysis["problems"] == []
        assert sum(analysis["class_images"]) == images_of(finished, name)["test"]
        for arm in ("control", "pc"):
            own = [
                found
                for trial, found in predictions.items()
                if trial.startswith(f"{name}/{arm}/confirm-")
            ]
            told = analysis["arms"][arm]
            assert len(own) == len(told["seeds"]) == 3
            by_class = [
                [100 * (one.predicted == c)[one.labels == c].mean() for one in own]
                for c in range(study["num_classes"])
            ]
            assert told["class_top1"] == pytest.approx(np.mean(by_class, axis=1).tolist())
            assert told["temperature"] > 0
            assert told["train_top1"] is not None


def test_show_finds_its_trials_images_and_classes(
    finished: Finished, predictions: dict[str, ImagePredictions]
) -> None:
    def shown(name: str) -> Row:
        result = finished.pcsearch.run("show", "done", name, "--json", timeout=60)
        assert (result.code, result.err) == (0, ""), result
        content: Row = json.loads(result.out)
        return content

    trial, found = next((t, one) for t, one in predictions.items() if "digits" in t and "conf" in t)
    row = next(row for row in finished.trials if row["trial"] == trial)
    assert shown(trial).items() >= row.items()
    image = shown(found.image_names[7])
    (study,) = image["studies"]
    assert study["label"] == found.class_names[found.labels[7]]
    assert len(study["answers"]) == 2 * 3
    seed = row["config"]["seed"]
    (answer,) = (a for a in study["answers"] if (a["arm"], a["seed"]) == (row["arm"], seed))
    assert answer["predicted"] == found.class_names[found.predicted[7]]
    (digit,) = shown("8")["studies"]
    assert digit["images"] == (found.labels == 8).sum()
    text = finished.pcsearch.run("show", "done", trial, timeout=60)
    assert (text.code, text.err) == (0, ""), text
    assert "test images: top-1" in text.out
    classes = finished.pcsearch.run("summary", "done", "--classes", timeout=60)
    assert (classes.code, classes.err) == (0, ""), classes
    assert "with temperature" in classes.out
