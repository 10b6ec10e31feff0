"""What Optuna is told, and that asking is a pure function of the history."""

from __future__ import annotations

import copy
import inspect
import math
import warnings

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from pcsearch.recipe.search_space import Space
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from pcsearch.search.plan import default_startup, derive_seed
from pcsearch.search.sampling.samplers import (
    BEST,
    LATEST,
    _distribution,
    _sampler,
    frozen_trial,
    propose,
    seen,
)
from pcsearch.search.sampling.tpe_options import tpe_options, trial_weights
from pcsearch.search.trial import Trial
from tests.search.driving import LR, Clock, control_arm, make_plan, pc_arm, run, study_plan

STUDY = "digits/compact_cnn"


def test_stopped_trials_are_pruned_with_values_at_their_epochs() -> None:
    campaign = run(make_plan())
    trials = campaign.state.arms[STUDY, "pc"].trials["search"]
    distributions = {"lambda_over_n": FloatDistribution(0.05, 0.15)}
    states = set()
    for trial in trials:
        frozen = frozen_trial(trial, distributions)
        states.add(frozen.state)
        assert frozen.intermediate_values == {e.epoch: e.value for e in trial.epochs}
        assert frozen.value == trial.epochs[-1].value
        whole = trial.last_epoch == 9
        assert frozen.state == (TrialState.COMPLETE if whole else TrialState.PRUNED)
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}


def ended(campaign: Campaign, how: str) -> Trial:
    """The first trial, after two epochs and an end without a result."""
    spec = campaign.next_trial()
    assert spec is not None
    for epoch in (1, 2):
        campaign.report(spec.trial, epoch, 40.0 + epoch, 1.0, {})
    getattr(campaign, how)(spec.trial, "loss is nan")
    return campaign.state.trials[spec.trial]


def test_a_diverged_trial_is_told_as_stopped_with_the_value_of_guessing() -> None:
    """As a failure the sampler would pass it over and propose what diverges again."""
    trial = ended(Campaign(make_plan(), MemoryJournal(), Clock()), "diverge")
    assert trial.state == "DIVERGED"
    frozen = frozen_trial(trial, {"lr": FloatDistribution(0.01, 0.3, log=True)}, chance=10.0)
    assert (frozen.state, frozen.value) == (TrialState.PRUNED, 10.0)
    assert frozen.intermediate_values == {1: 10.0}, "worse than all that came as far"


def test_a_failed_trial_is_told_as_failed() -> None:
    """It says nothing of its hyperparameters: its node may have been lost."""
    trial = ended(Campaign(make_plan(), MemoryJournal(), Clock()), "fail")
    frozen = frozen_trial(trial, {"lr": FloatDistribution(0.01, 0.3, log=True)}, chance=10.0)
    assert (frozen.state, frozen.value) == (TrialState.FAIL, None)


def test_a_running_trial_is_told_as_running() -> None:
    campaign = Campaign(make_plan(), MemoryJournal(), Clock())
    spec = campaign.next_trial()
    assert spec is not None
    campaign.report(spec.trial, 1, 40.0, 1.0, {})
    frozen = frozen_trial(campaign.state.trials[spec.trial], {})
    assert (frozen.state, frozen.value) == (TrialState.RUNNING, None)


def test_tpe_keeps_away_from_where_trials_diverge() -> None:
    """Above a learning rate of 0.1 all diverge. Failures in their place would teach it nothing."""
    arm = control_arm(40)
    share = {}
    for how in ("diverge", "fail"):
        plan = make_plan(
            studies=(study_plan(arms=(arm,)),), startup_trials=8, max_epochs=1, confirm_seeds=()
        )
        campaign = Campaign(plan, MemoryJournal(), Clock())
        while (spec := campaign.next_trial()) is not None:
            if spec.config["lr"] > 0.1:
                getattr(campaign, how)(spec.trial, f"the loss is nan at {spec.index}")
            else:
                campaign.report(spec.trial, 1, 50.0, 1.0, {})
        later = campaign.state.arms[STUDY, "control"].trials["search"][8:]
        share[how] = sum(t.spec.config["lr"] > 0.1 for t in later) / len(later)
    assert share["diverge"] < share["fail"] / 2


def test_a_value_outside_of_a_changed_range_is_told_at_its_end() -> None:
    campaign = run(make_plan())
    trial = campaign.state.arms[STUDY, "pc"].trials["search"][0]
    rate = trial.spec.config["lr"]
    low, high = rate / 4, rate / 2
    frozen = frozen_trial(trial, {"lr": FloatDistribution(low, high, log=True)})
    assert frozen.params == {"lr": high}
    above = frozen_trial(trial, {"lr": FloatDistribution(2 * rate, 4 * rate, log=True)})
    assert above.params == {"lr": 2 * rate}


@pytest.mark.parametrize("sampler", ["tpe", "gp", "qmc"])
def test_start_up_points_are_those_of_one_sobol_sequence(sampler: str) -> None:
    """Any 4 points of it, after the first 4 as well, have one in each quarter of each range."""
    plan = make_plan(sampler=sampler, startup_trials=8)
    points = [propose(plan, STUDY, pc_arm(), index, []) for index in range(8)]
    assert points == [propose(make_plan(sampler="qmc"), STUDY, pc_arm(), n, []) for n in range(8)]
    for four in (points[:4], points[4:]):
        quarters = {
            "lr": {int(4 * math.log(p["lr"] / 0.01) / math.log(30)) for p in four},
            "lambda_over_n": {int(4 * (p["lambda_over_n"] - 0.05) / 0.1) for p in four},
        }
        assert quarters == {key: {0, 1, 2, 3} for key in quarters}
    control = [propose(plan, STUDY, control_arm(), index, []) for index in range(8)]
    assert [p["lr"] for p in control] == [p["lr"] for p in points]


def test_start_up_points_take_choices_and_fixed_values() -> None:
    space = {"lr": Space.of((0.01, 0.1)), "weight_decay": Space.fixed(1e-4), "batch_size": SIZES}
    plan = make_plan(startup_trials=8)
    points = [propose(plan, STUDY, control_arm(space=space), n, []) for n in range(8)]
    assert {p["lr"] for p in points} == {0.01, 0.1}
    assert {p["weight_decay"] for p in points} == {1e-4}
    assert all(isinstance(p["batch_size"], int) and 8 <= p["batch_size"] <= 64 for p in points)


SIZES = Space.between(8, 64, log=True)


@pytest.mark.parametrize(
    ("trials", "startup"), [(1, 1), (3, 3), (4, 4), (12, 4), (16, 4), (17, 5), (40, 10)]
)
def test_a_quarter_of_the_trials_but_four_are_start_up(trials: int, startup: int) -> None:
    assert default_startup(trials) == startup


def test_of_many_trials_a_sampler_sees_the_best_and_the_latest() -> None:
    """As many as that, however long the search is; in the order in which they were asked."""
    plan = make_plan(studies=(study_plan(arms=(pc_arm(trials=160),)),), sampler="random")
    arm = run(plan).state.arms[STUDY, "pc"]
    search = arm.trials["search"]
    complete = [t for t in search if t.state == "COMPLETE"]
    best = sorted(complete, key=lambda t: (-(t.last_value or 0), t.spec.config["lambda"]))[:BEST]
    shown = seen(arm)
    assert len(search) == 160
    assert [t.spec.index for t in shown] == sorted(
        {t.spec.index for t in best} | set(range(160 - LATEST, 160))
    )
    assert LATEST < len(shown) <= BEST + LATEST
    few = run(make_plan(studies=(study_plan(arms=(pc_arm(trials=100),)),), sampler="random"))
    arm = few.state.arms[STUDY, "pc"]
    assert seen(arm) == arm.trials["search"], "a hundred are all shown"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "qmc"])
def test_asking_again_gives_the_same_answer(sampler: str) -> None:
    plan = make_plan(sampler=sampler)
    history = run(make_plan()).state.arms[STUDY, "pc"].trials["search"]
    first = propose(plan, STUDY, pc_arm(), 7, history[:7])
    propose(plan, STUDY, pc_arm(), 3, history[:3])  # asking for something else in between
    assert propose(plan, STUDY, pc_arm(), 7, history[:7]) == first
    assert 0.01 <= first["lr"] <= 0.3
    assert 0.05 <= first["lambda_over_n"] <= 0.15
    assert propose(plan, STUDY, pc_arm(), 8, history[:7]) != first


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_samplers_without_feedback_share_all_points_between_arms(sampler: str) -> None:
    plan = make_plan(sampler=sampler)
    for index in range(5):
        control = propose(plan, STUDY, control_arm(), index, [])
        pc = propose(plan, STUDY, pc_arm(), index, [])
        assert control["lr"] == pc["lr"]


def test_the_grid_is_walked_in_order_and_a_smaller_one_goes_round_again() -> None:
    space = {"lr": Space.of((0.01, 0.1)), "lambda_over_n": Space.of((0.05, 0.1, 0.15))}
    pc = pc_arm(space=space)
    plan = make_plan(sampler="grid", studies=(study_plan(arms=(pc,)),))
    points = [propose(plan, STUDY, pc, index, []) for index in range(6)]
    assert points == [
        {"lr": lr, "lambda_over_n": fraction}
        for lr in (0.01, 0.1)
        for fraction in (0.05, 0.1, 0.15)
    ]
    control = control_arm(space={"lr": Space.of((0.01, 0.1))})
    assert [propose(plan, STUDY, control, index, [])["lr"] for index in range(4)] == [
        0.01, 0.1, 0.01, 0.1,
    ]  # fmt: skip


def test_tpe_learns_where_lambda_is_good() -> None:
    """After the start-up trials it asks near the optimum (λ/N = 0.1) more often than chance."""
    plan = make_plan(studies=(study_plan(arms=(pc_arm(trials=60),)),), startup_trials=15)

    def sharp(spec, epoch):
        return 90 - 400 * abs(spec.config["lambda_over_n"] - 0.1) + epoch / 10

    trials = run(plan, sharp).state.arms[STUDY, "pc"].trials["search"][15:]
    near = sum(abs(t.spec.config["lambda_over_n"] - 0.1) < 0.0125 for t in trials)
    assert near / len(trials) > 0.5  # a quarter of the range holds a quarter by chance


def test_whole_numbers_stay_whole() -> None:
    arm = control_arm(space={"lr": LR, "batch_size": Space.between(8, 64, log=True)})
    values = [propose(make_plan(sampler="random"), STUDY, arm, n, []) for n in range(5)]
    assert all(isinstance(v["batch_size"], int) and 8 <= v["batch_size"] <= 64 for v in values)


@pytest.mark.parametrize(("sampler", "count"), [("tpe", 3), ("tpe", 37), ("gp", 9)])
def test_optuna_would_answer_the_same_from_a_study_of_its_own(sampler: str, count: int) -> None:
    """One that every trial was added to by its public interface, running ones too."""
    plan, arm = make_plan(sampler=sampler), pc_arm(trials=40)
    whole = run(make_plan(studies=(study_plan(arms=(arm,)),))).state.arms[STUDY, "pc"]
    history = copy.deepcopy(whole.trials["search"][:count])
    history[-1].state = "RUNNING"
    spaces = {key: _distribution(key, space) for key, space in arm.space.items()}
    seed = derive_seed(plan.seed, STUDY, "pc", count)
    study = optuna.create_study(direction="maximize", sampler=_sampler(sampler, seed))
    for trial in history:
        frozen = frozen_trial(trial, spaces)
        study.add_trial(
            optuna.create_trial(
                state=frozen.state,
                value=frozen.value,
                params=frozen.params,
                distributions=frozen.distributions,
                intermediate_values=frozen.intermediate_values,
            )
        )
    known = study.ask(fixed_distributions=spaces).params
    assert propose(plan, STUDY, arm, count, history) == known


def test_every_option_of_tpe_is_named() -> None:
    """One that another Optuna adds must be given a value here before it is used."""
    inherent = {"self", "seed"}
    without_effect = {"consider_prior", "constraints_func", "warn_independent_sampling"}
    known = set(inspect.signature(optuna.samplers.TPESampler.__init__).parameters)
    assert known - inherent - without_effect == set(tpe_options())


def test_the_named_options_are_those_of_tpe_as_published() -> None:
    """Optuna 5.0's own: the same answers with 5, 30 and 70 trials (10 %, ramp and all)."""
    arm = pc_arm(trials=80)
    whole = run(make_plan(studies=(study_plan(arms=(arm,)),), sampler="random"))
    history = whole.state.arms[STUDY, "pc"].trials["search"]
    spaces = {key: _distribution(key, space) for key, space in arm.space.items()}
    for count in (5, 30, 70):
        seed = derive_seed(0, STUDY, "pc", count)
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=1),
        )
        study.add_trials(
            [optuna.create_trial(
                state=frozen.state, value=frozen.value, params=frozen.params,
                distributions=frozen.distributions,
                intermediate_values=frozen.intermediate_values,
            ) for frozen in (frozen_trial(trial, spaces) for trial in history[:count])]
        )  # fmt: skip
        known = study.ask(fixed_distributions=spaces).params
        assert propose(make_plan(), STUDY, arm, count, history[:count]) == known


def test_trial_weights_by_hand() -> None:
    assert trial_weights(0).tolist() == []
    assert trial_weights(2).tolist() == [1, 1]
    weights = trial_weights(28)
    np.testing.assert_allclose(weights[:3], [1 / 28, (1 / 28 + 1) / 2, 1])
    assert weights[3:].tolist() == [1] * 25


def test_an_answer_warns_of_nothing() -> None:
    history = run(make_plan()).state.arms[STUDY, "pc"].trials["search"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        propose(make_plan(), STUDY, pc_arm(), 5, history[:5])
