"""What follows from a summary: the loss to use, and how many seeds would settle the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy import stats

from pcsearch.reporting.summary import summarise
from pcsearch.reporting.summary_types import StudySummary
from pcsearch.reporting.what_now import seeds_to_settle, what_now
from pcsearch.search.verdicts.gain import Gain, Parts
from pcsearch.search.verdicts.verdict import Verdict
from tests.reporting.simulated_campaigns import campaign_plan, simulate, smoothing_arm
from tests.search.driving import control_arm, pc_arm, study_plan

STUDY = summarise(
    simulate(campaign_plan(study_plan(arms=(control_arm(), pc_arm(), smoothing_arm()))))
).studies[0]


def told(**words: str) -> StudySummary:
    """The study with these verdicts and gains of 2, 1, ... points."""
    arms = dict(STUDY.arms)
    for index, (name, word) in enumerate(words.items()):
        gain = Gain(2.0 - index, -1.0, 4.0, 0.2, parts=Parts(0.8, 0.0, 0.0))
        verdict = Verdict(word)  # type: ignore[arg-type]
        arms[name] = replace(arms[name], verdict=verdict, gain=gain)
    return replace(STUDY, arms=arms)


def test_the_arm_that_helps_most() -> None:
    lines = what_now((told(pc="helps", label_smoothing="helps"),))
    lambda_ = STUDY.arms["pc"].lambda_
    assert lines[0].startswith("Use PC with λ ")
    assert lines[2] == f"    criterion = PairwiseConfusionLoss(lambda_={lambda_:.3g})"
    assert len(lines) == 4
    other = what_now((told(pc="hurts", label_smoothing="helps"),))
    assert other[0].startswith("Use label smoothing with smoothing ")
    assert "label_smoothing=" in other[1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("hurts", "hurts"), "every arm hurts"),
        (("hurts", "no clear difference"), "no arm is clearly better"),
        (("no clear difference", "withheld"), "no arm is clearly better"),
    ],
)
def test_else_the_simplest(words: tuple[str, str], reason: str) -> None:
    lines = what_now((told(pc=words[0], label_smoothing=words[1]),))
    assert lines[0].startswith("Use plain cross-entropy with learning rate ")
    assert lines[0].endswith(f"{reason}.")


def test_nothing_follows_from_no_verdict() -> None:
    assert what_now((told(pc="withheld", label_smoothing="withheld"),)) == []
    assert what_now((replace(STUDY, arms={"pc": STUDY.arms["pc"]}),)) == []
    running = summarise(simulate(campaign_plan()), "running")
    assert running.what_now == ()


def test_the_code_runs() -> None:
    lines = what_now((told(pc="helps", label_smoothing="hurts"),))
    names: dict[str, Any] = {
        "torch": torch, "model": lambda images: images, "images": torch.randn(4, 10),
        "labels": torch.arange(4),
    }  # fmt: skip
    exec("\n".join(line.strip() for line in lines if line.startswith(" ")), names)
    assert names["loss"].ndim == 0


def test_many_studies_have_a_line_each() -> None:
    study = told(pc="hurts", label_smoothing="hurts")
    studies = tuple(replace(study, dataset=f"d{index}") for index in range(4))
    assert [line.split(":")[0] for line in what_now(studies)] == [one.id for one in studies]


def test_seeds_to_settle_by_hand() -> None:
    """An SD of 2 over 4 seeds: at n seeds the error is 2 / √n; the gain is 1.5."""
    gain = Gain(1.5, -1.7, 4.7, 0.2, parts=Parts(1.0, 0.0, None))
    found = seeds_to_settle(gain, 4, 0.05)
    assert found is not None
    for count in range(5, 60):
        reach = stats.t.ppf(0.975, count - 1) * 2 / count**0.5
        assert (reach < 1.5) == (count >= found)
    lucky = replace(gain, parts=Parts(1.0, 0.9, 0.0))
    assert seeds_to_settle(lucky, 4, 0.05) is None, "1.96 × 0.9 is more than 1.5"
    assert seeds_to_settle(replace(gain, parts=Parts()), 4, 0.05) is None


def test_the_clearest_gain_is_settled_first() -> None:
    lines = what_now((told(pc="no clear difference", label_smoothing="no clear difference"),))
    alpha = 0.005 / 2
    gain = Gain(2.0, -1.0, 4.0, 0.2, parts=Parts(0.8, 0.0, 0.0))
    count = seeds_to_settle(gain, 5, alpha)
    assert lines[-1] == (
        f"If the gain of PC stays at +2.00, about {count} seeds would settle it: "
        f"pcsearch resume RUN confirm.seeds={count}"
    )
