"""Made-up and recorded learning curves."""

from __future__ import annotations

import pytest

from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from pcsearch.search.trial import TrialSpec
from pcsearch.simulation.curves import ReplayedCurves, SyntheticCurves
from tests.search.driving import Clock, drive, make_plan, smooth_curve


def spec(arm: str = "pc", epochs: int = 9, **config: float | None) -> TrialSpec:
    values = {"lr": 0.1, "lambda_over_n": 0.1, "lambda": 1.0, "seed": 7, "split": 0} | config
    return TrialSpec("t", "digits/compact_cnn", arm, "search", 0, epochs, "euclidean", values)


def test_a_family_rises_from_chance_and_answers_the_same_again() -> None:
    family = SyntheticCurves(make_plan(), 0, 100.0)
    values = [family.value(spec(), epoch) for epoch in range(1, 60)]
    assert values == [SyntheticCurves(make_plan(), 0, 100.0).value(spec(), e) for e in range(1, 60)]
    assert 10 < values[0] < values[8] < 100
    assert abs(values[58] - values[40]) < 3
    assert family.seconds_per_image("digits/compact_cnn") == 0.01


def test_a_family_has_a_best_configuration() -> None:
    family = SyntheticCurves(make_plan(), 0, 100.0)
    by_lr = [family.value(spec(lr=lr), 50) for lr in (0.01, 0.03, 0.1, 0.3)]
    assert max(by_lr) - min(by_lr) > 2
    assert family.value(spec(seed=7), 9) != family.value(spec(seed=8), 9)


@pytest.fixture
def recorded() -> ReplayedCurves:
    campaign = Campaign(make_plan(sampler="random"), MemoryJournal(), Clock())
    drive(campaign, seconds_per_epoch=16.0)
    return ReplayedCurves(campaign.state, SyntheticCurves(make_plan(), 0, 100.0))


def test_what_was_recorded_is_repeated(recorded: ReplayedCurves) -> None:
    campaign = Campaign(make_plan(sampler="random"), MemoryJournal(), Clock())
    drive(campaign)
    search = [t for t in campaign.state.trials.values() if t.spec.phase == "search"]
    for trial in search:
        for result in trial.epochs:
            assert recorded.value(trial.spec, result.epoch) == result.value
    for trial in campaign.state.trials.values():
        if trial.test is not None:
            assert recorded.value(trial.spec, 9) == trial.test["top1"]


def test_others_learn_as_the_nearest_one_did(recorded: ReplayedCurves) -> None:
    campaign = Campaign(make_plan(sampler="random"), MemoryJournal(), Clock())
    drive(campaign)
    trial = next(
        t for t in campaign.state.trials.values() if t.state == "COMPLETE" and t.spec.arm == "pc"
    )
    near = spec(**{**trial.spec.config, "lr": trial.spec.config["lr"] * 1.0001, "seed": 99})
    assert [recorded.value(near, e) for e in (1, 5, 9)] == [
        smooth_curve(trial.spec, e) for e in (1, 5, 9)
    ]


def test_a_stopped_one_goes_on_with_the_mean_gains(recorded: ReplayedCurves) -> None:
    campaign = Campaign(make_plan(sampler="random"), MemoryJournal(), Clock())
    drive(campaign)
    of_arm = [t for t in campaign.state.trials.values() if t.spec.arm == "pc" and t.last_value]
    stopped = next(t for t in of_arm if t.state == "PRUNED" and t.last_epoch == 1)
    gains = [
        (t.epochs[1].value or 0) - (t.epochs[0].value or 0)
        for t in of_arm
        if len(t.epochs) > 1 and t.spec.phase == "search"
    ]
    wanted = (stopped.last_value or 0) + sum(gains) / len(gains)
    assert recorded.value(stopped.spec, 2) == pytest.approx(wanted)


def test_speed_is_that_of_the_study_or_of_its_backbone(recorded: ReplayedCurves) -> None:
    measured = recorded.seconds_per_image("digits/compact_cnn")
    assert measured == pytest.approx(16 / 84, rel=0.05)  # 80 images an epoch, 100 in confirm
    assert recorded.seconds_per_image("cub200/compact_cnn") == measured
