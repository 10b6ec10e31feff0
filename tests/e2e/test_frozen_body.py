"""`train.freeze: body` from the command line: a campaign on features that are computed once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pcsearch.models import build_backbone
from tests.e2e.cli import CommandLine, overrides

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CAMPAIGN = [
    "datasets=[fieldguide]",
    "backbones=[compact_cnn]",
    "train.freeze=body",
    *overrides(
        data={"fieldguide": {"species": 4, "images_per_species": 30, "size": 40}},
        image={"resize": 40, "crop": 32},
        search={"trials": 3, "lr": "auto", "arms": ["pc", "label_smoothing"]},
        asha={"max_epochs": 4, "grace_epochs": 1},
        finalists={"configs": 1, "repeats": 1},
        confirm={"seeds": 2},
        train={"batch_size": 8, "warmup_epochs": 0},
    ),
]


def test_a_campaign_with_a_frozen_body(pcsearch: CommandLine, tmp_path: Path) -> None:
    """The range test, all phases and all arms; k-nearest neighbours; and the weights at the end."""
    refused = pcsearch.run("tune", "quickstart", *CAMPAIGN, "weights=none")
    assert refused.code == 2, refused
    assert "the body starts at random, because its weights are none" in refused.err

    weights = tmp_path / "body.pth"
    body = build_backbone("compact_cnn", 10, seed=3).module.state_dict()
    torch.save(body, weights)
    result = pcsearch.run(
        "tune", "quickstart", *CAMPAIGN, f"weights={weights}", "--name=run", "--plain"
    )
    assert result.code == 0, result
    assert "prepared fieldguide/compact_cnn: features" in result.out + result.err
    assert "on the frozen features" in result.out

    summary = pcsearch.summary("run")
    (study,) = summary["studies"]
    assert study["neighbours"]["k"] in (1, 5, 20)
    assert 0 < study["neighbours"]["test"] <= 100
    assert set(study["arms"]) == {"control", "pc", "label_smoothing"}
    assert summary["mismatches"] == []
    assert study["trials"]["failed"] == study["trials"]["diverged"] == 0

    events = pcsearch.events("run")
    assert events[0]["plan"]["studies"][0]["frozen_body"] is True
    tested = [event for event in events if event.get("test")]
    assert len(tested) == 6
    known = [event["test"]["knn"] for event in tested if "knn" in event["test"]]
    assert known == [study["neighbours"]["test"]] * 3  # the first trial of each arm
    assert len(list(pcsearch.cache.glob("*.features.npy"))) == 2  # of training and test images

    files = sorted((pcsearch.folder / "runs" / "run" / "weights").iterdir())
    assert [file.suffixes[1] for file in files] == [".control", ".label_smoothing", ".pc"]
    kept = build_backbone("compact_cnn", 4, weights=str(files[2])).module.state_dict()
    head = {"head.weight", "head.bias"}
    assert all(torch.equal(kept[key], body[key]) for key in body if key not in head)
