"""Mistakes in a recipe that are told before anything is opened: one message, exit code 2."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.data.commands import Command
from tests.cli.data.commands import command as command


@pytest.fixture(autouse=True)
def usual_ctrl_c() -> Iterator[None]:
    """The command line has a handler of its own."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["search.trails=3"], ["search.trails", "trials"]),
        (["search.lambda=[0.1, 0.2]"], ["search.lambda", "lambda_over_n"]),
        (["learning_speed=3"], ["learning_speed"]),
        (["search.trials=many"], ["search.trials", "many", "whole number"]),
        (["search.trials=2.5"], ["search.trials", "2.5"]),
        (["search.trials=0"], ["search.trials", "at least 1"]),
        (["image=40"], ["image", "40"]),
        (["train.lr=fast"], ["train.lr", "fast"]),
        (["search.lambda_over_n=[0.15, 0.05]"], ["search.lambda_over_n", "0.15", "0.05"]),
        (["search.lambda_over_n=[-0.1, 0.1]"], ["search.lambda_over_n", "-0.1"]),
        (["search.lambda_over_n=-0.1"], ["search.lambda_over_n", "-0.1"]),
        (["datasets=[digitz]"], ["digitz", 'did you mean "digits"']),
        (["datasets=[zebra]"], ["zebra", "pcsearch data ls lists them"]),
        (["backbones=[resnet5]", "weights=none"], ["resnet5", 'did you mean "resnet50"']),
        (["backbones=[compact_cn]"], ["compact_cn", 'did you mean "compact_cnn"']),
        (["train.variant=euclidian"], ["train.variant", "euclidian", '"euclidean"']),
        (["search.sampler=tpa"], ["search.sampler", "tpa", "tpe"]),
        (["search.evaluate_on=test"], ["search.evaluate_on", "test", "validation"]),
        (["image.crop=64"], ["image.crop", "64", "40"]),
        (["asha.grace_epochs=1", "train.warmup_epochs=2"], ["asha.grace_epochs", "warmup"]),
        (["resources.cpus_per_trial=0"], ["resources.cpus_per_trial"]),
        (["justaword"], ["justaword"]),
        (
            ["datasets=[fieldguide]", "train.class_weights={Marsh Wickerwign: 2}"],
            ["train.class_weights", '"Marsh Wickerwign"', 'did you mean "Marsh Wickerwing"?'],
        ),
        (
            ["image.rand_augment=9", "image.trivial_augment=true"],
            ["image.trivial_augment", "image.rand_augment", "choose one"],
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and "=" in str(value[0]) else None,
)
def test_a_mistake_in_an_override(
    command: Command, tmp_path: Path, overrides: list[str], told: list[str]
) -> None:
    code, out, err = command("tune", "quickstart", *overrides, "--plain")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("error: ") == 1
    for words in told:
        assert words in err
    assert list(tmp_path.iterdir()) == [], "something half-made was left"
