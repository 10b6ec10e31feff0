"""A person's own folder, and the weights that come out of it, used without this program."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torchvision import transforms

from pcsearch.models import build_backbone
from tests.e2e.cli import CommandLine, ended, overrides
from tests.e2e.pictures import save_classes, save_parts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CAMPAIGN = [
    "backbones=[compact_cnn]",
    "weights=none",
    *overrides(
        image={"resize": 40, "crop": 32},
        search={"trials": 2, "lr": [0.02, 0.1]},
        asha={"max_epochs": 3, "grace_epochs": 1},
        finalists={"configs": 0, "repeats": 0},
        confirm={"seeds": 2},
        train={"batch_size": 8, "warmup_epochs": 0},
    ),
]


@dataclass(frozen=True)
class Stored:
    """A weights file as any tool reads it."""

    tensors: dict[str, torch.Tensor]
    metadata: dict[str, Any]


def stored(path: Path) -> Stored:
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        metadata = {k: v if k == "format" else json.loads(v) for k, v in file.metadata().items()}
        return Stored({name: file.get_tensor(name) for name in names}, metadata)


def top1(weights: Stored, folder: Path) -> float:
    """Per cent of the files under FOLDER/CLASS/ that the stored network names rightly."""
    names, how = weights.metadata["class_names"], weights.metadata["preprocessing"]
    network = build_backbone(weights.metadata["backbone"], len(names)).module
    network.load_state_dict(weights.tensors)
    network.eval()
    prepare = transforms.Compose(
        [
            transforms.Resize((how["resize"], how["resize"]), antialias=True),
            transforms.CenterCrop(how["crop"]),
            transforms.ToTensor(),
            transforms.Normalize(how["mean"], how["std"]),
        ]
    )
    right = total = 0
    for path in sorted(folder.glob("*/*.*")):
        with Image.open(path) as image, torch.no_grad():
            logits = network(prepare(image.convert("RGB")).unsqueeze(0))
        right += names[int(logits.argmax())] == path.parent.name
        total += 1
    return 100 * right / total


def counts(study: dict[str, Any]) -> dict[str, int]:
    assert study["images"]["skipped"] == 0
    return {part: study["images"][part] for part in ("fit", "val", "train", "test")}


def test_a_folder_with_its_own_parts(pcsearch: CommandLine, tmp_path: Path) -> None:
    folder = save_parts(tmp_path / "pictures")
    result = pcsearch.run("tune", "--images", folder, *CAMPAIGN, "--name", "mine", "--plain")
    assert result.code == 0, result
    (study,) = pcsearch.summary("mine")["studies"]
    assert (study["dataset"], study["num_classes"]) == ("images", 3)
    run = pcsearch.folder / "runs" / "mine"
    plan = pcsearch.events("mine")[0]["plan"]["studies"][0]
    assert counts(plan) == {"fit": 36, "val": 12, "train": 48, "test": 36}

    (path,) = run.glob("weights/*.pc.safetensors")
    weights = stored(path)
    assert weights.metadata["class_names"] == ["azure", "crimson", "emerald"]
    assert weights.metadata["started_from"] == "none"
    assert weights.metadata["published_weights"] is None
    assert weights.metadata["preprocessing"]["resize"] == 40
    assert weights.metadata["preprocessing"]["crop"] == 32
    pc = study["arms"]["pc"]
    first_seed = pc["test_top1"]["seeds"][0]
    assert weights.metadata["config"]["seed"] == first_seed
    assert weights.metadata["config"].items() >= pc["config"].items()
    assert pc["test_top1"]["values"][0] == pytest.approx(top1(weights, folder / "test"))
    assert not (run / "checkpoints").exists()


def test_a_plain_folder(pcsearch: CommandLine, tmp_path: Path) -> None:
    """A fifth of the images becomes the test part, a fifth of the rest the validation part."""
    folder = save_classes(tmp_path / "pictures", images=20)
    confirm_one = ["search.trials=1", "asha.max_epochs=2", "confirm.seeds=1"]
    result = pcsearch.run(
        "tune", f"--images={folder}", *CAMPAIGN, *confirm_one, "--name=plain", "--plain"
    )
    assert result.code == 0, result
    plan = pcsearch.events("plain")[0]["plan"]["studies"][0]
    assert counts(plan) == {"fit": 39, "val": 9, "train": 48, "test": 12}
    (study,) = pcsearch.summary("plain")["studies"]
    gain = study["arms"]["pc"]["gain"]
    assert gain["low"] is gain["high"] is gain["p_value"] is None  # one seed says nothing
    assert study["arms"]["pc"]["test_top1"]["std"] is None


def test_from_python(pcsearch: CommandLine) -> None:
    """`pcsearch.tune` returns the summary that the command line prints."""
    program = """
import json, pcsearch
recipe = {
    "name": "from-python", "datasets": ["digits"], "backbones": ["compact_cnn"],
    "weights": "none", "data": {"classes": [1, 2, 3]}, "image": {"resize": 40, "crop": 32},
    "search": {"trials": 1}, "asha": {"max_epochs": 1}, "confirm": {"seeds": 2},
    "finalists": {"configs": 0, "repeats": 0},
}
summary = pcsearch.tune(recipe, name="called")
assert isinstance(summary, pcsearch.Summary)
print(json.dumps(summary.to_json()))
try:
    pcsearch.tune({**recipe, "datasets": ["digitz"]})
except pcsearch.errors.UserError as error:
    assert "digitz" in str(error)
else:
    raise AssertionError("a mistake went through")
"""
    result = ended(pcsearch.start_python("-c", program))
    assert result.code == 0, result
    assert result.err == ""
    assert json.loads(result.out) == pcsearch.summary("called")


def test_a_folder_and_a_class_whose_names_are_not_utf8(
    pcsearch: CommandLine, tmp_path: Path
) -> None:
    folder = save_classes(tmp_path / os.fsdecode(b"V\xf6gel"), images=12)
    (folder / "crimson").rename(folder / os.fsdecode(b"m\xf6we"))
    arguments = ("--images", str(folder), *CAMPAIGN, "--name=latin", "--plain")
    result = ended(pcsearch.start_python("-m", "pcsearch", "tune", *arguments))
    assert result.code == 0, result
    (study,) = pcsearch.summary("latin")["studies"]
    assert study["trials"] == {"total": 8, "complete": 8, "pruned": 0, "failed": 0, "diverged": 0}
    (path,) = (pcsearch.folder / "runs" / "latin").glob("weights/*.pc.safetensors")
    assert stored(path).metadata["class_names"] == ["azure", "emerald", r"m\udcf6we"]
