"""`search.lr: auto` from the command line: measured once, written down, and taken up again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cli import CommandLine, overrides
from tests.e2e.pictures import save_classes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CAMPAIGN = [
    "backbones=[compact_cnn]",
    "weights=none",
    *overrides(
        image={"resize": 40, "crop": 32},
        search={"trials": 2},
        asha={"max_epochs": 3, "grace_epochs": 1},
        finalists={"configs": 0, "repeats": 0},
        confirm={"seeds": 1},
        train={"batch_size": 8, "warmup_epochs": 0},
    ),
]


def lr_of(plan: dict[str, Any]) -> list[Any]:
    (study,) = plan["studies"]
    return [(arm["space"]["lr"], arm["measured"]) for arm in study["arms"]]


def test_a_campaign_measures_once(pcsearch: CommandLine, tmp_path: Path) -> None:
    """The journal begins with the ranges; going on and becoming wider keep them."""
    images = f"--images={save_classes(tmp_path / 'pictures')}"
    shown = pcsearch.run("plan", images, *CAMPAIGN, "--json")
    assert shown.code == 0, shown
    (planned,) = json.loads(shown.out)
    result = pcsearch.run("tune", images, *CAMPAIGN, "--name=run", "--plain")
    assert result.code == 0, result
    assert "preparing images/compact_cnn: learning-rate range" in result.out + result.err
    (first, *_) = pcsearch.events("run")
    before = lr_of(first["plan"])
    for space, measured in before:
        assert space["kind"] == "range"
        assert measured == ["lr"]
    ends = {"lr": [before[0][0]["low"], before[0][0]["high"]]}
    assert planned["studies"][0]["measured"]["control"] == ends
    rates = [trial["config"]["lr"] for trial in pcsearch.trials("run")]
    assert all(ends["lr"][0] <= rate <= ends["lr"][1] for rate in rates)

    wider = pcsearch.run("resume", "run", "search.trials=3", "--plain")
    assert wider.code == 0, wider
    assert "learning-rate range" not in wider.out + wider.err
    plans = [event["plan"] for event in pcsearch.events("run") if "plan" in event]
    assert len(plans) == 2
    assert lr_of(plans[1]) == before


def test_a_network_that_learns_nothing_is_refused_before_anything_starts(
    pcsearch: CommandLine, tmp_path: Path
) -> None:
    images = f"--images={save_classes(tmp_path / 'pictures')}"
    (pcsearch.folder / "own_network.py").write_text(
        "import torch\n\n\n"
        "class Silent(torch.nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.fc = torch.nn.Linear(1, classes, bias=False)\n\n"
        "    def forward(self, images):\n"
        "        return self.fc(images.new_zeros(len(images), 1))\n\n\n"
        "def silent(num_classes):\n"
        "    return Silent(num_classes)\n"
    )
    own = "backbones=[own_network:silent]"
    allowed = "--allow-code=own_network"
    result = pcsearch.run("tune", images, *CAMPAIGN, own, allowed, "--name=run", "--plain")
    assert result.code == 2, result
    assert "images/own_network:silent: search.lr is auto, but arm " in result.err
    assert "Traceback" not in result.err
    assert not (pcsearch.folder / "runs" / "run").exists()
