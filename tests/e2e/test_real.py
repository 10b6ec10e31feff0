"""Six look-alike birds of CUB-200-2011 with a network from ImageNet, where they are at hand."""

from __future__ import annotations

from dataclasses import replace

import jsonschema
import pytest

from tests.e2e.cli import PACKAGE, CommandLine, overrides
from tests.e2e.schema import SUMMARY

SHARED = PACKAGE.parent / "shared"
WEIGHTS = SHARED / "weights" / "squeezenet1_1-imagenet-features-fp16.pth"
BIRDS = [9, 11, 26, 27, 37, 39]
CHANCE = 100 / len(BIRDS)
SEEDS = 2

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (SHARED / "data" / "CUB_200_2011").is_dir() or not WEIGHTS.is_file(),
        reason=f"no CUB_200_2011 and weights in {SHARED}",
    ),
]


def test_look_alike_birds_from_the_shipped_recipe(pcsearch: CommandLine) -> None:
    result = replace(pcsearch, workers="started").run(
        "tune",
        "cub200-small",
        *overrides(
            weights=str(WEIGHTS),
            data={"root": str(SHARED / "data"), "classes": BIRDS},
            search={"trials": 5},
            asha={"max_epochs": 9, "full_trainings": 2},
            finalists={"configs": 1, "repeats": 2},
            confirm={"seeds": SEEDS},
        ),
        "--name=birds",
        "--plain",
        timeout=580,
    )
    assert result.code == 0, result
    assert result.err == ""
    summary = pcsearch.summary("birds")
    jsonschema.validate(summary, SUMMARY)
    (study,) = summary["studies"]
    assert (study["dataset"], study["backbone"]) == ("cub200", "squeezenet1_1")
    assert study["num_classes"] == len(BIRDS)
    assert study["trials"]["failed"] == 0
    assert study["trials"]["pruned"] > 0
    assert study["epochs"]["run"] < study["epochs"]["full_budget"]
    for arm in study["arms"].values():
        assert len(arm["test_top1"]["values"]) == SEEDS
        assert min(arm["test_top1"]["values"]) > 2 * CHANCE
        assert arm["test_top1"]["mean"] > 2.5 * CHANCE
        assert arm["val_top1"] > 2.5 * CHANCE
    assert study["arms"]["pc"]["lambda"] == pytest.approx(
        study["arms"]["pc"]["lambda_over_n"] * len(BIRDS)
    )
    assert "cub200" in result.out
    print(result.out[result.out.index("cub200-small ·") :])  # noqa: T201  (for the reader, with -s)
