"""`train.amp: auto`: what is measured, what is kept in the plan, and what a trial makes of it."""

from __future__ import annotations

import pytest
import torch

from pcsearch.execution.preflight import precision
from pcsearch.execution.preflight.precision import with_precision
from pcsearch.execution.trial_run import train_config
from pcsearch.recipe import Recipe, load_recipe
from pcsearch.search.observer import Silent
from pcsearch.search.plan import DatasetFacts, ImageCounts, Plan, build_plan
from pcsearch.search.trial import TrialSpec
from pcsearch.training.config import TrainConfig
from pcsearch.training.config import with_precision as resolved
from pcsearch.training.precision import autocast


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def noted(self, line: str) -> None:
        self.lines.append(line)


def planned(*overrides: str) -> tuple[Recipe, Plan]:
    recipe = load_recipe("quickstart", ["datasets=[digits]", *overrides])
    counts = ImageCounts(fit=80, val=20, train=100, test=30)
    return recipe, build_plan(recipe, [DatasetFacts("digits", 10, counts, "0" * 16)], {})


@pytest.fixture
def capable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})


def test_other_settings_are_not_asked() -> None:
    for amp in ("true", "false", "cpu"):
        recipe, plan = planned(f"train.amp={amp}")
        assert with_precision(plan, recipe, None, Silent(), here=True) == plan


@pytest.mark.usefixtures("capable")
def test_a_frozen_body_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "seconds_of_steps", lambda *arguments: 9.0)
    recipe, plan = planned("train.amp=auto", "train.freeze=body")
    found = with_precision(plan, recipe, None, Silent(), here=True)
    assert [study.bfloat16 for study in found.studies] == [False]


@pytest.mark.usefixtures("capable")
@pytest.mark.parametrize(("ratio", "chosen"), [(0.9, False), (1.09, False), (1.1, True), (2, True)])
def test_it_is_taken_where_it_is_worth_it(
    monkeypatch: pytest.MonkeyPatch, ratio: float, chosen: bool
) -> None:
    monkeypatch.setattr(precision, "seconds_of_steps", lambda *arguments: [ratio, 1.0])
    recipe, plan = planned("train.amp=auto")
    notes = Notes()
    found = with_precision(plan, recipe, None, notes, here=True)
    assert [study.bfloat16 for study in found.studies] == [chosen]
    name = "bfloat16" if chosen else "float32"
    assert notes.lines == [
        f"digits/compact_cnn: trains in {name}; a step in bfloat16 takes {1 / ratio:.0%} of one "
        "in float32 here (train.amp: auto)".replace("%", " %")
    ]


@pytest.mark.usefixtures("capable")
def test_the_steps_are_real() -> None:
    recipe, plan = planned("train.amp=auto", "train.batch_size=2")
    found = with_precision(plan, recipe, None, Silent(), here=True)
    assert found.studies[0].bfloat16 in (True, False)


def test_elsewhere_and_without_instructions_it_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        precision, "seconds_of_steps", lambda *arguments: pytest.fail("was measured")
    )
    recipe, plan = planned("train.amp=auto")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    far = with_precision(plan, recipe, None, Silent(), here=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    plain = with_precision(plan, recipe, None, Silent(), here=True)
    assert [study.bfloat16 for study in (*far.studies, *plain.studies)] == [False, False]


def test_a_resumed_campaign_keeps_its_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        precision, "seconds_of_steps", lambda *arguments: pytest.fail("was measured")
    )
    recipe, plan = planned("train.amp=auto")
    begun = plan.model_copy(
        update={"studies": tuple(s.model_copy(update={"bfloat16": True}) for s in plan.studies)}
    )
    found = with_precision(plan, recipe, begun, Silent(), here=True)
    assert found.studies[0].bfloat16 is True
    assert Plan.model_validate_json(found.model_dump_json()) == found


def test_what_a_trial_makes_of_it() -> None:
    recipe, _ = planned("train.amp=auto")
    config = {"lambda": 0.0, "lambda_over_n": 0.0, "seed": 1, "split": 0, "lr": 0.01}
    spec = TrialSpec("t", "s", "control", "search", 0, 9, "euclidean", config)
    assert train_config(recipe, "compact_cnn", spec, True).amp == "cpu"
    assert train_config(recipe, "compact_cnn", spec, False).amp is True
    plain = TrainConfig(epochs=1, seed=0)
    assert resolved(plain, True) is plain


@pytest.mark.parametrize(
    ("amp", "dtype"),
    [
        (True, torch.float32),
        (False, torch.float32),
        ("cpu", torch.bfloat16),
        ("auto", torch.float32),
    ],
)
def test_autocast_on_the_cpu(amp: object, dtype: torch.dtype) -> None:
    with autocast("cpu", amp):  # type: ignore[arg-type]
        assert torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3)).dtype == dtype
