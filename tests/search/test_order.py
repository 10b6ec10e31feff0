"""Which study's trial is asked next: the longest way first, equal arms, nothing left idle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.search.campaign import Campaign
from pcsearch.search.estimate import Step, pick_study
from pcsearch.search.journal.journal_file import Event, MemoryJournal
from pcsearch.search.plan import ImageCounts, Plan, StudyPlan
from pcsearch.search.state import ArmState, CampaignState, replay
from pcsearch.search.trial import TrialSpec
from pcsearch.simulation.cluster import ClusterModel
from pcsearch.simulation.curves import SyntheticCurves
from pcsearch.simulation.simulator import simulate
from tests.search.driving import Clock, control_arm, make_plan, pc_arm, run, study_plan


def sized(name: str, train: int, trials: int = 12, backbone: str = "compact_cnn") -> StudyPlan:
    plan = study_plan(name, (control_arm(trials), pc_arm(trials)))
    images = ImageCounts(fit=train * 4 // 5, val=train // 5, train=train, test=train)
    return plan.model_copy(
        update={"id": f"{name}/{backbone}", "backbone": backbone, "images": images}
    )


def three(**changes: object) -> Plan:
    studies = (sized("small", 100), sized("large", 1000), sized("middle", 300))
    values = {"finalist_configs": 2, "finalist_repeats": 1, "startup_trials": 2} | changes
    return make_plan(studies=studies, **values)


def asked(plan: Plan, count: int) -> list[TrialSpec]:
    """The first trials, while none reports anything."""
    campaign = Campaign(plan, MemoryJournal(), Clock(), max_concurrent=count)
    return [spec for _ in range(count) if (spec := campaign.next_trial()) is not None]


def names(specs: Sequence[TrialSpec]) -> list[str]:
    return [f"{spec.study.partition('/')[0]} {spec.arm} {spec.index}" for spec in specs]


def test_the_longest_study_first_its_arms_in_turn() -> None:
    specs = names(asked(three(), 100))
    assert specs[:4] == ["large control 0", "large pc 0", "large control 1", "large pc 1"]
    assert [spec.partition(" ")[0] for spec in specs] == ["large"] * 24 + ["middle"] * 24 + [
        "small"
    ] * 24


def test_measured_seconds_count_more_than_images() -> None:
    """The middle study's network is ten times as slow as the large one's, which has more images."""
    studies = (sized("large", 1000), sized("middle", 300, backbone="slow"))
    campaign = Campaign(make_plan(studies=studies), MemoryJournal(), Clock(), max_concurrent=4)
    large, middle = (campaign.next_trial() for _ in range(2))
    assert large is not None
    assert middle is not None
    assert (large.study, middle.study) == ("large/compact_cnn", "middle/slow")
    campaign.report(large.trial, 1, 50.0, 8.0, {})
    campaign.report(middle.trial, 1, 50.0, 24.0, {})
    following = campaign.next_trial()
    assert following is not None
    assert following.study == "middle/slow"


def test_a_backbone_measured_elsewhere_is_taken_to_be_as_slow() -> None:
    studies = (
        sized("one", 1000),
        sized("two", 900, trials=1, backbone="slow"),
        sized("fast", 800),
        sized("slow", 300, backbone="slow"),
    )
    campaign = Campaign(make_plan(studies=studies), MemoryJournal(), Clock(), max_concurrent=9)
    for spec, seconds in zip([campaign.next_trial() for _ in range(2)], (8.0, 72.0), strict=True):
        assert spec is not None
        campaign.report(spec.trial, 1, 50.0, seconds, {})  # the second ten times as slow an image
    following = [campaign.next_trial() for _ in range(2)]
    assert [spec.study for spec in following if spec] == ["two/slow", "slow/slow"]


def test_with_a_budget_every_study_has_its_share() -> None:
    specs = asked(three(budget_seconds=1e6), 30)
    for study in ("small", "large", "middle"):
        assert sum(spec.study.startswith(study) for spec in specs) == 10


def test_what_remains_of_a_long_study_goes_before_a_short_ones_search() -> None:
    """Its finalists go before the small study's search, and after that of the middle one.

    While the last search trials of both arms end, its finalists are not known; the small study may
    fill that gap alone.
    """
    plan = three(sampler="random")
    cluster = ClusterModel(nodes=4, slots_per_node=1, always=4)
    done = simulate(plan, cluster, SyntheticCurves(plan, 0, 50.0))
    order = [
        (trial.spec.study.partition("/")[0], trial.spec.phase)
        for trial in done.state.trials.values()
    ]
    finalists = [n for n, step in enumerate(order) if step == ("large", "finalists")]
    confirm = [n for n, step in enumerate(order) if step == ("large", "confirm")]
    small = [n for n, step in enumerate(order) if step[0] == "small"]
    assert finalists == list(range(finalists[0], finalists[-1] + 1)), "nothing comes in between"
    assert sum(n < finalists[0] for n in small) < cluster.nodes
    assert order.index(("middle", "search")) < min(confirm)


def campaign_events(plan: Plan, max_concurrent: int, order_seed: int | None = None) -> list[Event]:
    journal = run(plan, max_concurrent=max_concurrent, order_seed=order_seed)._journal
    assert isinstance(journal, MemoryJournal)
    return journal.events


def specs(events: Sequence[Event]) -> list[TrialSpec]:
    return [TrialSpec(**event["spec"]) for event in events if event["event"] == "asked"]


@given(max_concurrent=st.integers(1, 9), order_seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_the_arms_of_a_study_keep_pace(max_concurrent: int, order_seed: int) -> None:
    plan = three(sampler="random")
    asked: dict[str, dict[str, int]] = {study.id: {} for study in plan.studies}
    for spec in specs(campaign_events(plan, max_concurrent, order_seed)):
        if spec.phase == "search":
            asked[spec.study][spec.arm] = spec.index + 1
            ahead = asked[spec.study].get("control", 0) - asked[spec.study].get("pc", 0)
            assert ahead in (0, 1)


@given(max_concurrent=st.integers(1, 9), order_seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_alone_a_study_searches_then_has_finalists_then_confirms(
    max_concurrent: int, order_seed: int
) -> None:
    """As it always did, whatever its sampler starts with."""
    plan = make_plan(finalist_configs=2, finalist_repeats=1, startup_trials=1)
    events = campaign_events(plan, max_concurrent, order_seed)
    for number, event in enumerate(events):
        if event["event"] == "asked":
            spec = TrialSpec(**event["spec"])
            assert (spec.phase, spec.arm) == next(expected(replay(events[:number])))


def expected(state: CampaignState) -> Iterator[tuple[str, str]]:
    """A naive reading of the rule for one study."""
    (study,) = state.plan.studies
    arms = {arm.name: state.arms[study.id, arm.name] for arm in study.arms}
    least = min(arms, key=lambda name: len(arms[name].trials["search"]))
    if len(arms[least].trials["search"]) < 12:
        yield "search", least
    ended = all(t.state != "RUNNING" for arm in arms.values() for t in arm.trials["search"])
    for name, arm in arms.items():
        if ended and arm.choice is None and len(arm.trials["finalists"]) < retrained(arms, name):
            yield "finalists", name
    for name, arm in arms.items():
        if arm.choice is not None and len(arm.trials["confirm"]) < 3:
            yield "confirm", name


def retrained(arms: Mapping[str, ArmState], name: str) -> int:
    """The arm's own best two, and those of the other arm with a learning rate of their own."""
    own = {trial.spec.config["lr"] for trial in arms[name].best(2)}
    others = [arm.best(2) for other, arm in arms.items() if other != name]
    rates = {trial.spec.config["lr"] for best in others for trial in best}
    return len(arms[name].best(2)) + len(rates - own)


@pytest.mark.parametrize("seed", range(3))
def test_unequal_studies_fill_the_cluster(seed: int) -> None:
    """Of eight slots hardly any waits: the study that ends alone is the shortest."""
    sizes = {"a": 500, "b": 1500, "c": 2000, "d": 6000}
    plan = make_plan(
        studies=tuple(sized(*item) for item in sizes.items()), sampler="random", seed=seed,
        finalist_configs=3, finalist_repeats=2,
    )  # fmt: skip
    cluster = ClusterModel(nodes=8, slots_per_node=1, always=8)
    done = simulate(plan, cluster, SyntheticCurves(plan, seed, 50.0), seed=seed)
    assert done.busy_seconds / (8 * done.makespan_seconds) > 0.95


@pytest.mark.parametrize(("max_concurrent", "share"), [(1, 0.7), (4, 0.7), (16, 0.95)])
def test_a_budget_holds_with_several_studies(max_concurrent: int, share: float) -> None:
    generous = run(
        three(sampler="random"), max_concurrent=max_concurrent, in_parallel=True
    ).state.seconds
    campaign = run(
        three(sampler="random", budget_seconds=share * generous),
        max_concurrent=max_concurrent,
        in_parallel=True,
    )
    assert campaign.done
    assert campaign.state.search_closed is not None
    assert campaign.state.seconds <= share * generous


def test_of_equals_the_plans_first() -> None:
    state = CampaignState(make_plan(studies=(sized("one", 100), sized("two", 100))))
    steps = [
        Step("search", (study, study.arms[0], state.arms[study.id, "control"]))
        for study in state.plan.studies
    ]
    assert pick_study(state, steps) is steps[0]


@pytest.mark.parametrize(
    ("decoded", "expected"),
    [((), "large"), (("near",), "near"), (("near", "large"), "large"), (("far",), "large")],
)
def test_where_it_hardly_matters_a_decoded_dataset_goes_first(
    decoded: tuple[str, ...], expected: str
) -> None:
    studies = (sized("far", 500), sized("near", 950), sized("large", 1000))
    campaign = Campaign(make_plan(studies=studies), MemoryJournal(), Clock(), max_concurrent=9)
    begun = campaign.next_trial(decoded)
    assert begun is not None
    assert begun.study.partition("/")[0] == expected


@pytest.mark.parametrize("max_concurrent", [1, 4])
def test_one_at_a_time_what_is_next_does_not_depend_on_time(max_concurrent: int) -> None:
    """So that a campaign that was killed asks for the same as one that never was."""
    studies = (sized("large", 1000, 2), sized("middle", 900, 2, "slow"), sized("small", 100, 2))
    plan = make_plan(studies=studies, max_epochs=1, confirm_epochs=1)
    orders = set()
    for seed in range(6):
        clock = Clock()
        campaign = Campaign(plan, MemoryJournal(), clock, max_concurrent=max_concurrent)
        random = Random(seed)
        order = list[str]()
        while (spec := campaign.next_trial()) is not None:
            order.append(spec.trial)
            seconds = random.lognormvariate(0, 2)
            clock.now += seconds
            confirm = spec.phase == "confirm"
            test = {"top1": 50.0} if confirm else None
            campaign.report(spec.trial, 1, None if confirm else 50.0, seconds, {}, test)
        assert campaign.done
        orders.add(tuple(order))
    assert (len(orders) == 1) == (max_concurrent == 1)


def test_with_a_budget_no_study_gets_more_for_being_decoded() -> None:
    plan = three(budget_seconds=1e6)
    campaign = Campaign(plan, MemoryJournal(), Clock(), max_concurrent=99)
    specs = [spec for _ in range(12) if (spec := campaign.next_trial({"small"})) is not None]
    counts = [sum(spec.study.startswith(name) for spec in specs) for name in ("small", "large")]
    assert counts == [4, 4]


def test_of_trials_to_be_begun_again_one_whose_images_are_there() -> None:
    campaign = Campaign(three(), MemoryJournal(), Clock(), max_concurrent=3)
    small, large = three().studies[0].id, three().studies[1].id
    asked_before = [campaign.next_trial() for _ in range(3)]
    state = campaign.state
    again = Campaign(three(), MemoryJournal(), Clock(), max_concurrent=3, state=state)
    assert {spec.study for spec in asked_before if spec is not None} == {large}
    assert again.next_trial({small.partition("/")[0]}) == asked_before[0]
    assert again.next_trial({"large"}) == asked_before[1]
