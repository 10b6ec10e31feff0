"""Campaigns on a virtual clock: times by hand, budgets that hold, nodes that come and go."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.recipe.search_space import Space
from pcsearch.search.journal.journal_file import MemoryJournal
from pcsearch.search.plan import ArmPlan, Plan, confirm_seeds
from pcsearch.search.sampling.samplers import BEST, LATEST, propose
from pcsearch.search.state import replay
from pcsearch.search.trial import Trial, TrialSpec
from pcsearch.simulation.cluster import ClusterModel
from pcsearch.simulation.curves import SyntheticCurves
from pcsearch.simulation.outcome import Simulated, Timeline
from pcsearch.simulation.simulator import simulate
from tests.search.driving import control_arm, make_plan, pc_arm, smooth_curve, study_plan


class Steady:
    """Every image takes a tenth of a second; trials learn as in the campaign's own tests."""

    def value(self, spec: TrialSpec, epoch: int) -> float:
        return smooth_curve(spec, epoch)

    def seconds_per_image(self, study: str) -> float:
        return 0.1

    def hits(self, spec: TrialSpec) -> None:
        return None


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pcsearch.simulation.simulator.JITTER", 0.0)


def cluster(nodes: int = 2, slots: int = 2, **changes: Any) -> ClusterModel:
    still = {"start_seconds": 100.0, "worker_seconds": 0.0, "trial_seconds": 0.0}
    return ClusterModel(nodes, slots, **{**still, "decode_seconds": 0.0, **changes})


def one_trial(**changes: Any) -> Plan:
    """One search trial of 9 epochs over 80 images, so 72 seconds, and one confirm trial of 90."""
    arm = control_arm(trials=1)
    return make_plan(
        studies=(study_plan(arms=(arm,)),), confirm_seeds=confirm_seeds(0, 1), **changes
    )


def test_one_trial_after_another_by_hand() -> None:
    done = simulate(one_trial(), cluster(nodes=1, slots=1, price=36.0, gpus_per_node=4), Steady())
    assert done.makespan_seconds == pytest.approx(100 + 72 + 90)
    # paid for from when it was asked for until it has been idle for 300 seconds
    assert done.node_seconds == pytest.approx(262 + 300)
    assert done.tail_seconds == pytest.approx(300)
    assert done.gpu_seconds == pytest.approx(4 * 562)
    assert done.cost == pytest.approx(5.62)
    assert done.tail_cost == pytest.approx(3.0)
    assert done.busy_seconds == pytest.approx(162)
    assert done.utilisation == pytest.approx(162 / 562)
    assert [(stay.begin, stay.end) for stay in done.stays] == [
        pytest.approx((100, 172)),
        pytest.approx((172, 262)),
    ]


def test_nodes_that_never_go_are_paid_until_the_end() -> None:
    done = simulate(one_trial(), cluster(nodes=1, slots=1, always=1), Steady())
    assert (done.node_seconds, done.tail_seconds) == (pytest.approx(162), 0.0)


@given(idle=st.sampled_from([0.0, 3.0, 40.0, 300.0]), nodes=st.integers(1, 5))
@settings(max_examples=10, deadline=None)
def test_each_node_is_paid_until_it_has_been_idle(idle: float, nodes: int) -> None:
    done = simulate(make_plan(sampler="random"), cluster(nodes, 2, idle_seconds=idle), Steady())
    last = [
        # one that came when no trial waited any more has been idle since then
        max((s.end for s in done.stays if s.node == node.number), default=node.asked + 100)
        for node in done.nodes
    ]
    paid = sum(end + idle - node.asked for end, node in zip(last, done.nodes, strict=True))
    assert done.node_seconds == pytest.approx(paid)
    tail = sum(max(0.0, end + idle - done.makespan_seconds) for end in last)
    assert done.tail_seconds == pytest.approx(tail)


def test_workers_and_caches_are_made_ready_once() -> None:
    model = cluster(1, 1, worker_seconds=8.0, trial_seconds=1.0, decode_seconds=0.01, always=1)
    done = simulate(one_trial(), model, Steady())
    # 100 training and 300 test images take 4 seconds to decode
    assert done.makespan_seconds == pytest.approx(8 + 4 + 72 + 1 + 90)


def test_nodes_are_asked_for_all_at_once() -> None:
    done = simulate(make_plan(), cluster(nodes=3, slots=4), Steady())
    assert [node.asked for node in done.nodes] == [0.0, 0.0, 0.0]
    assert done.most_nodes == 3


def test_no_more_nodes_than_trials_can_fill() -> None:
    done = simulate(one_trial(), cluster(nodes=10, slots=4), Steady())
    assert len(done.nodes) == 1


def test_idle_nodes_go() -> None:
    """Of 24 search trials on 24 slots most stop early; the confirm trials fill one node or two."""
    done = simulate(make_plan(), cluster(nodes=12, slots=2, idle_seconds=5.0), Steady())
    gone = [node for node in done.nodes if node.gone is not None]
    assert len(gone) >= 6
    assert all(node.gone is not None and node.gone > 105 for node in gone)


def test_lost_nodes_lose_their_running_epoch_and_no_decision() -> None:
    plan = make_plan(confirm_seeds=confirm_seeds(0, 5))
    journal = MemoryJournal()
    model = cluster(nodes=4, slots=2, losses_per_hour=30.0)
    done = simulate(plan, model, Steady(), seed=3, journal=journal)
    assert sum(node.lost for node in done.nodes) >= 2
    lost = [stay for stay in done.stays if stay.lost]
    assert lost
    for stay in lost:
        # it went on elsewhere, later
        assert any(s.trial == stay.trial and s.begin >= stay.end for s in done.stays)
    assert 0 < done.lost_seconds <= len(lost) * 10.0 + 1e-6  # an epoch takes 8 or 10 seconds
    assert not done.state.failed_studies()
    trained = sum(result.seconds for trial in done.state.trials.values() for result in trial.epochs)
    assert done.busy_seconds == pytest.approx(trained + done.lost_seconds)
    assert replay(journal.events).trials == done.state.trials


@settings(max_examples=30, deadline=None)
@given(
    nodes=st.integers(1, 6),
    slots=st.integers(1, 4),
    losses=st.sampled_from([0.0, 5.0, 40.0]),
    idle=st.sampled_from([0.0, 3.0, 300.0]),
    seed=st.integers(0, 100),
)
def test_slots_and_nodes_are_never_exceeded(
    nodes: int, slots: int, losses: float, idle: float, seed: int
) -> None:
    model = cluster(nodes, slots, losses_per_hour=losses, idle_seconds=idle, start_seconds=10.0)
    plan = make_plan(finalist_configs=2, finalist_repeats=1, seed=seed, sampler="random")
    done = simulate(plan, model, Steady(), seed=seed)
    assert done.state.status == "complete"
    assert done.most_nodes <= nodes
    for number, node in enumerate(done.nodes):
        here = [stay for stay in done.stays if stay.node == number]
        assert _most_at_once((s.begin, s.end) for s in here) <= slots
        assert all(node.asked + 10 <= s.begin + 1e-9 for s in here)
        assert all(node.gone is None or s.end <= node.gone + 1e-9 for s in here)
    for name in done.state.trials:
        assert _most_at_once((s.begin, s.end) for s in done.stays if s.trial == name) == 1
    assert 0 < done.utilisation <= 1 + 1e-9


def _most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    changes = sorted(change for begin, end in spans for change in ((begin, 1), (end, -1)))
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def test_the_same_seeds_give_the_same_run() -> None:
    plan, model = make_plan(), cluster(3, 2, losses_per_hour=10.0)
    first, second = (
        simulate(plan, model, SyntheticCurves(plan, 1, 10.0), seed=4) for _ in range(2)
    )
    assert _facts(first) == _facts(second)
    assert _facts(simulate(plan, model, SyntheticCurves(plan, 2, 10.0), seed=4)) != _facts(first)


def _facts(done: Simulated) -> dict[str, Any]:
    facts = done.to_json()
    del facts["decision_seconds"]
    return facts


def test_more_slots_take_less_time_but_no_less_work() -> None:
    plan = make_plan(sampler="random")
    times = [
        simulate(plan, cluster(nodes, 1, start_seconds=0.0), Steady()).makespan_seconds
        for nodes in (1, 2, 4)
    ]
    assert times[0] > times[1] > times[2]


def test_a_sampler_is_shown_no_more_of_many_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[int, int] = {}

    def counting(
        plan: Plan,
        study: str,
        arm: ArmPlan,
        index: int,
        history: Sequence[Trial],
        space: Mapping[str, Space],
    ) -> Any:
        shown[index] = len(history)
        return propose(plan, study, arm, index, history, space)

    monkeypatch.setattr("pcsearch.search.next_trial.propose", counting)
    plan = make_plan(studies=(study_plan(arms=(pc_arm(400),)),), sampler="random")
    simulate(plan, cluster(nodes=2, slots=4), Steady())
    assert len(shown) == 400
    assert all(shown[index] == index for index in range(BEST + LATEST + 1))
    # the fully trained among them grow in number, and those among the latest are shown once
    assert max(shown.values()) == BEST + LATEST


def two_studies(trials: int, **changes: Any) -> Plan:
    arms = (control_arm(trials), pc_arm(trials))
    studies = (study_plan("digits", arms), study_plan("cub200", arms))
    return make_plan(studies=studies, finalist_configs=2, finalist_repeats=1, **changes)


@pytest.mark.parametrize("nodes", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("share", [0.6, 0.8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_budget_in_money_closes_the_search_and_leaves_room_for_confirm(
    nodes: int, share: float, seed: int
) -> None:
    """Trials are short here beside the 300 seconds for which nodes without any stay."""
    model = cluster(nodes, 2, price=3.6, start_seconds=30.0)
    budget = share * until_the_end(simulate(two_studies(40, seed=seed), model, Steady()))
    done = simulate(paid(budget, seed), model, Steady())
    assert done.state.search_closed is not None
    assert "cost budget" in done.state.search_closed
    assert 0.6 * budget < until_the_end(done) <= 1.05 * budget
    for arm in done.state.arms.values():
        assert [trial.state for trial in arm.trials["confirm"]] == ["COMPLETE"] * 3


class Slow(Steady):
    """A trial that is not stopped trains for 24 minutes."""

    def seconds_per_image(self, study: str) -> float:
        return 2.0


@pytest.mark.parametrize("nodes", [1, 4, 8, 16])
def test_a_budget_in_money_is_spent_on_long_trials(nodes: int) -> None:
    model = cluster(nodes, 2, price=3.6, start_seconds=30.0)
    budget = 0.8 * until_the_end(simulate(two_studies(40), model, Slow()))
    assert 0.6 * budget < until_the_end(simulate(paid(budget), model, Slow())) <= budget


@pytest.mark.parametrize("always", [0, 16])
def test_a_budget_in_money_is_tried_on_few_nodes_unless_more_are_there(always: int) -> None:
    """The first epochs tell what a node's time buys, and nodes that come cannot be sent away."""
    model = cluster(16, 2, start_seconds=30.0, always=always)
    done = simulate(paid(1e6), model, Steady())
    first = min(stay.begin for stay in done.stays)
    assert sum(stay.begin == first for stay in done.stays) == (32 if always else 4)
    assert done.most_nodes == 16


def paid(budget: float, seed: int = 0) -> Plan:
    return two_studies(40, seed=seed, budget_cost=budget, price_per_node_hour=3.6)


def until_the_end(done: Simulated) -> float:
    assert done.cost is not None
    assert done.tail_cost is not None
    return done.cost - done.tail_cost


def test_what_nodes_cost_is_the_same_after_a_replay() -> None:
    journal = MemoryJournal()
    plan = two_studies(10, budget_cost=1e6, price_per_node_hour=1.0)
    done = simulate(plan, cluster(3, 2, idle_seconds=5.0), Steady(), journal=journal)
    again = replay(journal.events)
    assert again.node_seconds == pytest.approx(done.state.node_seconds)
    until_the_end = done.node_seconds - done.tail_seconds
    assert done.state.node_seconds == pytest.approx(until_the_end, abs=0.1)


def test_without_such_a_budget_nothing_is_written_of_nodes() -> None:
    journal = MemoryJournal()
    simulate(make_plan(), cluster(), Steady(), journal=journal)
    assert not [event for event in journal.events if event["event"] == "machines"]


@given(
    changes=st.lists(
        st.tuples(st.floats(0.01, 10), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9
    ),
    buckets=st.integers(1, 20),
)
def test_means_over_time_add_up(changes: list[tuple[float, int, int]], buckets: int) -> None:
    timeline, now, busy, there = Timeline(), 0.0, 0.0, 0.0
    for seconds, in_use, slots in changes:
        timeline.note(now, in_use, slots)
        now += seconds
        busy += seconds * in_use
        there += seconds * slots
    means = timeline.means(now, buckets)
    assert len(means) == buckets
    assert sum(mean for mean, _ in means) * now / buckets == pytest.approx(busy, abs=1e-6)
    assert sum(mean for _, mean in means) * now / buckets == pytest.approx(there, abs=1e-6)


def test_a_model_is_plain_data() -> None:
    assert dataclasses.replace(cluster(), nodes=5).slots == 10
