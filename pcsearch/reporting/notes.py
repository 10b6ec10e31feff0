"""Notes that a reader needs to judge a summary's numbers.

Each function checks one thing that can mislead, and yields sentences about it, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.summary_types import ArmSummary, Interruptions, StudySummary, Summary
from pcsearch.reporting.warnings import beyond, ceiling, clipping, edges, shared_edges
from pcsearch.search.plan import Plan, StudyPlan
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import UNTRAINED
from pcsearch.search.verdicts.gain import Gain
from pcsearch.search.verdicts.power import few_test_images, overlap
from pcsearch.search.verdicts.verdict import learned_nothing
from pcsearch.training.metrics import METRICS

_LISTED = 10
"""Most places in a journal that notes name; `summary --json` has all."""

_StudyNotes = Callable[[StudySummary, StudyPlan, CampaignState], Iterator[str]]


def notes(summary: Summary, state: CampaignState) -> list[str]:
    """Sentences to print under the summary table, most serious first."""
    several = len(summary.studies) > 1
    lines = [*journal_notes(state), *_campaign(summary, state)]
    for images_of in _ABOUT_DATASETS:
        for plan in {study.dataset: study for study in reversed(state.plan.studies)}.values():
            prefix = f"{plan.dataset}: " if several else ""
            lines += [prefix + line for line in images_of(plan, state)]
    for about in _ABOUT_STUDIES:
        for study, plan in zip(summary.studies, state.plan.studies, strict=True):
            prefix = f"{study.id}: " if several else ""
            lines += [prefix + line for line in about(study, plan, state)]
    words = [a.verdict.word for s in summary.studies for a in s.arms.values() if a.verdict]
    if len(summary.studies) > 1 and ("helps" in words or "hurts" in words):
        lines.append(
            f"Each of the {len(summary.studies)} studies has its own error rate: if arms do not "
            'differ, up to one verdict in 20 says "helps" or "hurts" by chance.'
        )
    return lines


def journal_notes(state: CampaignState) -> Iterator[str]:
    """The first contradictions in the journal, and its lines without a seal."""
    found = state.mismatches
    if found:
        times = "in 1 place" if len(found) == 1 else f"in {len(found)} places"
        yield f"THE JOURNAL DOES NOT AGREE WITH ITSELF {times}; do not trust these numbers."
        yield from (f"{one}."[:1].upper() + f"{one}."[1:] for one in found[:_LISTED])
        if len(found) > _LISTED:
            yield f"`pcsearch summary --json` lists all {len(found)} places."
    if state.unsealed:
        part = "The journal is" if state.unsealed == state.events else "The journal's first "
        if state.unsealed < state.events:
            part += "line is" if state.unsealed == 1 else f"{state.unsealed} lines are"
        yield (
            f"{part} unsealed, as written by earlier versions: a change by hand shows only if "
            "numbers contradict each other."
        )


def _campaign(summary: Summary, state: CampaignState) -> Iterator[str]:
    if summary.status == "running":
        yield "The campaign is still running: choices and numbers may change."
    if summary.status == "interrupted":
        yield "The campaign was interrupted: the table is partial."
    yield from _interruptions(summary.interruptions, running=summary.status == "running")
    metric = METRICS.get(state.plan.metric)
    if metric is not None and metric.name != "top1":
        yield f'Accuracies are {metric.label} (metric: {metric.name}), not plain "top-1".'
    if state.search_closed is not None:
        asked = sum(len(arm.trials["search"]) for arm in state.arms.values())
        planned = sum(arm.trials for study in state.plan.studies for arm in study.arms)
        yield (
            f"The search ended after {asked} of {planned} planned search trials: "
            f"{state.search_closed}."
        )
    if not state.plan.confirm_seeds:
        yield (
            "No test images were measured (confirm.seeds: 0): validation numbers chose the "
            "configurations, so they do not show what an arm gains."
        )


def _interruptions(lost: Interruptions, *, running: bool) -> Iterator[str]:
    happened = []
    if lost.resumed:
        happened.append(f"was resumed {fmt.times(lost.resumed)}")
    if lost.retried:
        happened.append(f"restarted a trial {fmt.times(lost.retried)} after losing its worker")
    if not happened:
        return
    line = f"The campaign {' and '.join(happened)}"
    if lost.repeated_epochs:
        epochs = "1 epoch" if lost.repeated_epochs == 1 else f"{lost.repeated_epochs} epochs"
        line += f": {epochs} ({fmt.duration(lost.repeated_seconds)}) had to be trained again"
        if lost.differing_epochs:
            line += (
                f", and {lost.differing_epochs} of them measured other values, compared bit for bit"
            )
    else:
        line += ": no epoch had to be trained again"
    yield f"{line}{' so far' if running else ''}."


def _given_up(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    for arm in plan.arms:
        reason = state.arms[plan.id, arm.name].given_up
        if reason is not None:
            yield f"{fmt.label(arm.name)} has no result: {reason}"


def _images(plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    yield from plan.images.left_out()
    yield from plan.images.leaked(plan.dataset)


def _pretraining(plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """One note per dataset, whichever of its backbones had such weights."""
    studies = [study for study in state.plan.studies if study.dataset == plan.dataset]
    yield from dict.fromkeys(line for study in studies for line in overlap(study))


def _few_test_images(plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    if state.plan.confirm_seeds:
        yield from few_test_images(plan.images)


def _failed_trials(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    failed = [
        trial
        for trial in state.trials.values()
        if trial.spec.study == plan.id and trial.state == "FAILED"
    ]
    if failed:
        first = failed[0]
        yield (
            f"{len(failed)} of {study.trials.total} trials failed; the first, {first.spec.trial}: "
            f"{fmt.first_line(first.error)}"
        )


def _unwritten_weights(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    for trial in state.trials.values():
        if trial.spec.study == plan.id and trial.weights_error is not None:
            yield (
                f"The weights of {trial.spec.trial} could not be written: "
                f"{fmt.first_line(trial.weights_error)}. Its results count."
            )
        if trial.spec.study == plan.id and trial.predictions_error is not None:
            yield (
                f"The predictions of {trial.spec.trial} could not be written: "
                f"{fmt.first_line(trial.predictions_error)}. Its results count, but not in the "
                "analysis of classes."
            )


def _divided(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    divided = [
        trial
        for trial in state.trials.values()
        if trial.spec.study == plan.id and not trial.comparable
    ]
    if divided:
        trials = "1 trial" if len(divided) == 1 else f"{len(divided)} trials"
        yield (
            f"{trials} ran out of memory and continued in smaller batches (the first, "
            f"{divided[0].spec.trial}): these are not comparable and were neither chosen nor "
            "averaged. Lower train.batch_size or image.crop."
        )


def _missing_seeds(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    planned = state.wanted_seeds(plan.id)
    for name, arm in study.arms.items():
        confirm = state.arms[plan.id, name].trials["confirm"]
        failed = sum(trial.state in UNTRAINED for trial in confirm)
        done = len(arm.test_top1.seeds) if arm.test_top1 else 0
        if planned and failed == planned:
            yield (
                f"{fmt.label(name)} has no test result: none of its {planned} confirm trials was "
                "trained to the end."
            )
        elif failed:
            yield (
                f"{fmt.label(name)} was measured with {done} of {planned} confirm seeds "
                f"({failed} failed or diverged): its mean and gain rest on fewer trainings than "
                "planned."
            )


def _seeds_so_far(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    planned = state.wanted_seeds(plan.id)
    arms = {name: state.arms[plan.id, name] for name in study.arms}
    ended = {
        name: sum(trial.state != "RUNNING" for trial in arm.trials["confirm"])
        for name, arm in arms.items()
        if arm.given_up is None
    }
    if any(ended.values()) and min(ended.values()) < planned:
        each = ", ".join(f"{fmt.label(name)} {done}" for name, done in ended.items())
        yield (
            f"Confirm seeds so far, of {planned}: {each}. A gain uses the seeds that both arms "
            "have."
        )


def _guessing(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """An arm whose trainings all ended at chance says nothing about its regulariser."""
    for name in study.arms:
        if learned_nothing(state, plan, name):
            yield (
                f"{fmt.label(name)} has learned nothing: its test accuracies are those of guessing "
                f"({100 / plan.num_classes:.1f} % of {plan.num_classes} classes), so its gain "
                "means nothing. Try a lower search.lr, more epochs or more trials."
            )


def _diverged(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    for arm in plan.arms:
        trials = state.arms[plan.id, arm.name].trials["search"]
        rates = [t.spec.config["lr"] for t in trials if t.state == "DIVERGED"]
        if rates:
            yield (
                f"{len(rates)} of {len(trials)} search trials of {fmt.label(arm.name)} diverged, "
                f"from a learning rate of {fmt.significant(min(rates))} on: lower search.lr."
            )


def _full_trainings(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """The number of fully trained configurations behind an arm's choice."""
    searching = [arm for arm in plan.arms if arm.trials]
    counts = [
        f"{study.arms[arm.name].full_trainings} of "
        f"{len(state.arms[plan.id, arm.name].trials['search'])} ({fmt.label(arm.name)})"
        for arm in searching
        if state.arms[plan.id, arm.name].choice is not None
    ]
    if counts:
        yield f"Search trials trained to the end: {', '.join(counts)}."


def matching(plan: Plan, study: StudyPlan) -> Iterator[str]:
    """What the searches of a study's arms have in equal amounts, if their trainings differ."""
    searching = [arm for arm in study.arms if arm.trials]
    costs = {arm.name: plan.full_cost(arm, "search") / plan.max_epochs for arm in searching}
    dear = [f"{cost:.3g} ({fmt.label(name)})" for name, cost in costs.items() if cost != 1]
    if not dear and plan.match == "trials":
        return
    trials = ", ".join(f"{arm.trials} ({fmt.label(arm.name)})" for arm in searching)
    yield f"The searches are matched at equal {plan.match} (search.match). Search trials: {trials}."
    if dear:
        yield f"A training costs, in trainings of the control: {', '.join(dear)}."


def _matching(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    yield from matching(state.plan, plan)


def _looks(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """Every look uses up error rate, so a reader must know how many there were."""
    looks = [look for look in state.looks[plan.id] if look.could_decide]
    if len(looks) > 1:
        seeds = ", ".join(str(look.seeds) for look in looks)
        level = f"{100 * (1 - looks[-1].alpha):.4g} %"
        yield (
            f"The arms' test accuracies were compared {fmt.times(len(looks))} (after {seeds} "
            f"seeds). The latest interval has a level of {level}, so that all looks together have "
            "an error rate of 5 %."
        )


def _chosen_anew(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """Widening after a look at the test images allows a choice among test results."""
    for arm in plan.arms:
        earlier = len(state.arms[plan.id, arm.name].earlier)
        if earlier:
            trainings = "1 confirm training" if earlier == 1 else f"{earlier} confirm trainings"
            yield (
                f"{fmt.label(arm.name)} was chosen again when the search was widened, after "
                f"{trainings} of earlier choices had been tested; these are not in the table. Each "
                "such choice is one more look at the test images: do not keep widening until a "
                "gain appears."
            )


def _neighbours(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    if study.neighbours is not None:
        yield (
            f"k-nearest neighbours (k = {study.neighbours.k}) on the frozen features: "
            f"{fmt.percent(study.neighbours.test)} % of the test images, without training."
        )


def _borrowed(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    for arm in plan.arms:
        if arm.borrows is not None:
            lender = fmt.label(arm.borrows)
            yield (
                f"The {fmt.label(arm.name)} is an ablation, not a tuned baseline "
                f"(search.control: single): it repeats {lender}'s chosen configuration without it, "
                "so the gain may be larger than over a tuned baseline."
            )


def _verdicts(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    name = fmt.headline(study)
    arm = study.arms[name] if name else None
    if name and arm and arm.gain:
        yield f"{fmt.label(name)} against control: {fmt.gain_text(arm.gain)}: {_sentence(arm)}"


def _sentence(arm: ArmSummary) -> str:
    """The verdict in words, with the parts of its interval."""
    gain, verdict = arm.gain, arm.verdict
    if gain is None or verdict is None:
        return "no verdict yet."
    if verdict.word == "withheld":
        return f"no verdict, because {verdict.reason}."
    p_value = "" if gain.p_value is None else f" ({fmt.p_value(gain.p_value)})"
    words = {
        "helps": f"it HELPS{p_value}",
        "hurts": f"it HURTS{p_value}",
        "no clear difference": "no clear difference",
    }
    return f"{words[verdict.word]}; {_parts(gain)}."


def _parts(gain: Gain) -> str:
    """`standard errors: seeds 0.61, search 0.40, test images 0.88 points`."""
    parts = (
        ("seeds", gain.parts.seeds),
        ("search", gain.parts.search),
        ("test images", gain.parts.images),
    )
    known = ", ".join(f"{name} {value:.2f}" for name, value in parts if value is not None)
    missing = ", ".join(name for name, value in parts if value is None)
    text = f"standard errors in points: {known}"
    return f"{text} (not measured: {missing})" if missing else text


def _others(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    for name in fmt.other_arms(study):
        arm = study.arms[name]
        if arm.config:
            yield f"{fmt.label(name)}: {_arm_line(arm)}"


def _arm_line(arm: ArmSummary) -> str:
    strengths = ", ".join(f"{name} {fmt.significant(value)}" for name, value in fmt.strengths(arm))
    line = (
        f"{strengths}, val top-1 {fmt.percent(arm.val_top1)}, "
        f"test top-1 {fmt.scores(arm.test_top1)}"
    )
    if arm.gain is None:
        return line + "."
    return f"{line}, against control {fmt.gain_text(arm.gain)}: {_sentence(arm)}"


def _published(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    paper = study.published
    if paper is not None:
        yield (
            f"Published for {study.backbone} on {study.dataset}, top-1: baseline "
            f"{paper['baseline']:.2f}, PC {paper['pc']:.2f}, gain "
            f"{fmt.points(paper['pc'] - paper['baseline'])} ({paper['source']})."
        )


_ABOUT_DATASETS: tuple[Callable[[StudyPlan, CampaignState], Iterator[str]], ...] = (
    _images,
    _pretraining,
    _few_test_images,
)
_ABOUT_STUDIES: tuple[_StudyNotes, ...] = (
    _given_up,
    _failed_trials,
    _unwritten_weights,
    _divided,
    _missing_seeds,
    _seeds_so_far,
    _guessing,
    _diverged,
    _full_trainings,
    _matching,
    ceiling,
    clipping,
    _chosen_anew,
    _looks,
    _borrowed,
    _verdicts,
    _others,
    _neighbours,
    beyond,
    edges,
    shared_edges,
    _published,
)
