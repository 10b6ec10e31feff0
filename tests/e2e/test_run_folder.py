"""What is stored with every result: enough to know exactly what was run."""

from __future__ import annotations

import json
from importlib import metadata

import pytest

from pcsearch.recipe.load import load_recipe
from tests.e2e.conftest import ASHA, Finished

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_the_files_of_a_finished_run(finished: Finished) -> None:
    names = {str(path.relative_to(finished.folder)) for path in finished.folder.rglob("*")}
    weights = {
        f"weights/{study}.compact_cnn.{arm}.safetensors"
        for study in ("digits", "fieldguide")
        for arm in ("control", "pc")
    }
    wanted = {"recipe.yaml", "environment.json", "journal.jsonl", "summary.json", "weights"}
    assert wanted | weights <= names
    assert not [name for name in names if "tmp" in name or "checkpoint" in name]


def test_the_resolved_recipe_is_stored(finished: Finished) -> None:
    recipe = load_recipe(finished.folder / "recipe.yaml")
    assert recipe.asha.model_dump() == {**ASHA, "rule": "noise", "arm_epochs": {}}
    assert recipe.data.fieldguide.species == 5
    assert recipe.search.seed == 0
    assert recipe.train.variant == "euclidean"
    assert recipe.train.nesterov is False  # defaults are written out, too
    assert load_recipe(recipe.to_mapping()) == recipe


def test_versions_are_stored(finished: Finished) -> None:
    environment = json.loads((finished.folder / "environment.json").read_text())
    for package in ("torch", "torchvision", "ray", "optuna", "numpy"):
        assert environment["versions"][package] == metadata.version(package)
    assert environment["versions"]["pcsearch"]
    assert environment["python"]
    assert "quickstart" in environment["command"]


def test_variant_split_and_seeds_are_stored_with_every_trial(finished: Finished) -> None:
    plan = finished.events[0]["plan"]
    hashes = {study["id"]: study["split_hash"] for study in plan["studies"]}
    assert hashes == {
        f"{study['dataset']}/{study['backbone']}": study["split_hash"]
        for study in finished.summary["studies"]
    }
    for event in finished.events:
        if event["event"] == "asked":
            assert event["spec"]["variant"] == "euclidean"
            assert isinstance(event["spec"]["config"]["seed"], int)
            assert "split" in event["spec"]["config"]
    assert len(plan["confirm_seeds"]) == 3
