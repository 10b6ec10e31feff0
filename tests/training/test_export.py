from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from pcsearch.models.weights import read_state_dict
from pcsearch.training.export import save_weights
from tests.training.helpers import TinyBackbone, perceptron, same, state


def test_round_trip(tmp_path: Path) -> None:
    backbone = perceptron(norm=True)
    path = tmp_path / "weights" / "best.safetensors"
    metadata = {
        "class_names": ["Häher", "wren"],
        "preprocessing": {"crop": 32, "mean": [0.1, 0.2, 0.3]},
        "lambda": 2.5,
        "variant": None,
    }
    save_weights(path, backbone, metadata)  # type: ignore[arg-type]
    tensors = read_state_dict(path)
    assert same(tensors, state(backbone))
    with safe_open(path, framework="pt") as stored:
        texts = stored.metadata()
    assert {key: json.loads(texts[key]) for key in texts if key != "format"} == metadata
    perceptron(norm=True, seed=9).module.load_state_dict(tensors)
    assert [file.name for file in path.parent.iterdir()] == ["best.safetensors"]


def test_metadata_of_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"/data/m\xf6we")
    save_weights(tmp_path / "w.safetensors", perceptron(), {"images": name})  # type: ignore[arg-type]
    with safe_open(tmp_path / "w.safetensors", framework="pt") as stored:
        assert json.loads(stored.metadata()["images"]) == name


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    """In every process: safetensors alone orders six keys at random, so that eight agree never."""
    metadata = {"dataset": "Häher\n", "backbone": "b", "trial": "t", "config": {"lr": 0.1}, "z": 1}
    path = tmp_path / "w.safetensors"
    contents = set()
    for _ in range(8):
        save_weights(path, perceptron(norm=True), metadata)  # type: ignore[arg-type]
        contents.add(path.read_bytes())
    assert len(contents) == 1
    with safe_open(path, framework="pt") as stored:
        assert list(json.loads(stored.metadata()["config"])) == ["lr"]
    assert same(read_state_dict(path), state(perceptron(norm=True)))


def test_readable_by_other_tools(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, perceptron(), {"class_names": ["a"]})  # type: ignore[arg-type]
    with safe_open(path, framework="pt") as stored:
        assert stored.metadata() == {"class_names": '["a"]', "format": "pt"}


def test_shared_and_strided_tensors_are_kept(tmp_path: Path) -> None:
    layer = nn.Linear(4, 4)
    module = nn.Sequential(layer, layer, nn.Conv2d(3, 4, 3))
    module.to(memory_format=torch.channels_last)
    path = tmp_path / "w.safetensors"
    save_weights(path, TinyBackbone(module), {})  # type: ignore[arg-type]
    assert same(read_state_dict(path), dict(module.state_dict()))


def test_what_cannot_be_stored_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(TypeError):
        save_weights(path, perceptron(), {"path": tmp_path})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="format"):
        save_weights(path, perceptron(), {"format": "mine"})  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
