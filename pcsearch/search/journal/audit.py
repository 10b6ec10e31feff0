"""Checks that a journal agrees with itself.

`validate.py` refuses a line that could not be there. This module applies the campaign's rules again
to the lines before it, and compares its numbers with their sources. It refuses nothing: a person
must be able to read a changed journal. Code that builds on a journal's numbers checks
`CampaignState.mismatches` first.

Some contents are recorded once only: times, machines, errors, losses, and a search trial's values
within their ranges. Measures may also be changed together. Only the seal guards these.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from pcsearch.recipe.problems import show
from pcsearch.recipe.search_space import Space
from pcsearch.search import trial_config as configs
from pcsearch.search.decisions import choice_of, decide, hopeless_because, may_begin_again
from pcsearch.search.estimate import ArmRef
from pcsearch.search.journal.events import Event
from pcsearch.search.journal.journal_file import Chain, Mismatch, trial_of
from pcsearch.search.next_trial import (
    confirm_trial,
    finalist_trial,
    look_due,
    missing_finalists,
    nothing_left,
    search_open,
    unconfirmed,
)
from pcsearch.search.plan import (
    JOURNAL_SCHEMA,
    SHARED_KEYS,
    Plan,
    StudyPlan,
    confirm_seeds,
    derive_seed,
)
from pcsearch.search.sampling.ranges import current_space
from pcsearch.search.sampling.samplers import grid_point
from pcsearch.search.state import CampaignState, replay
from pcsearch.search.trial import Config, Trial, last_value
from pcsearch.search.verdicts.verdict import look_at

_ROUNDING = 1e-6
"""Tolerance, in points, for a measure that another machine computed from the same numbers."""

MOST_MISMATCHES = 1000
"""The most mismatches that are reported. The rest of such a journal is not checked."""

_SEEDS = ("seed", "split")


def audited(events: Iterable[Event], chain: Chain | None = None) -> CampaignState:
    """The state of a journal, with its mismatches.

    Args:
        events: Its events, in order.
        chain: Followed its lines while they were read; None if the events had no lines.

    Raises:
        UserError: as `replay`.
    """
    audit = _Audit()
    state = replay(audit.begin(events), audit.look)
    found = audit.found
    if chain is not None:
        found = [*found, *chain.mismatches]
        unsealed = chain.lines if chain.sealed_from is None else chain.sealed_from - 1
        if audit.format == 1:
            state.unsealed = unsealed
        if audit.format == 1 and not unsealed:  # a false format would escape the rules
            found.append(Mismatch(1, None, "it has a seal, but journals of format 1 have none"))
        elif audit.format > 1 and unsealed:
            told = f"lines 1 to {unsealed} have no seal, but journals of format 2 do"
            found.append(Mismatch(1, None, told if unsealed > 1 else "it has no seal"))
    state.mismatches = tuple(sorted(found, key=lambda one: one.line)[:MOST_MISMATCHES])
    return state


def refusal(mismatches: Sequence[Mismatch]) -> str:
    """Why a journal with these mismatches is not used, and what to do, as one line."""
    first = mismatches[0]
    more = "" if len(mismatches) == 1 else f" (the first of {len(mismatches)} places)"
    lines = "line" if first.line == 2 else f"{first.line - 1} lines"
    keep = f", or keep its first {lines} and resume from there"
    return (
        f"{first}{more}; the journal was changed after it was written: `pcsearch summary` shows "
        f"all mismatches; restore it from a copy{keep if first.line > 1 else ''}"
    )


class _Audit:
    """Checks a journal's events one by one, each before it changes the state."""

    def __init__(self) -> None:
        self.found: list[Mismatch] = []
        self.format = JOURNAL_SCHEMA
        self._line = 1
        self._measures: set[str] = set()
        """Measures of the epochs so far; later epochs must have them, too."""
        self._plan: Plan | None = None
        self._by_id: dict[str, StudyPlan] = {}
        self._rules: dict[str, Callable[[CampaignState, Event], Iterator[str]]] = {
            "asked": self._asked,
            "epoch": self._epoch,
            "retried": _retried,
            "chosen": self._chosen,
            "given_up": self._given_up,
            "looked": self._looked,
            "search_closed": _search_closed,
            "extended": self._extended,
            "ended": self._ended,
        }

    def begin(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the same events, and check the first."""
        for event in events:
            if event["event"] == "campaign" and self._line == 1:
                self.format = event["plan"].get("schema_version", JOURNAL_SCHEMA)
                self._note(event, _plan(Plan.model_validate(event["plan"])))
            yield event

    def look(self, state: CampaignState, event: Event) -> None:
        self._line += 1
        rule = self._rules.get(event["event"])
        if rule is None or len(self.found) >= MOST_MISMATCHES:
            return
        try:
            self._note(event, rule(state, event))
        except Exception as error:  # a changed journal can cause any error in a rule
            self._note(event, iter([f"the campaign's rules cannot be applied to it ({error!r})"]))

    def _note(self, event: Event, told: Iterator[str]) -> None:
        self.found += [Mismatch(self._line, trial_of(event), what) for what in told]

    @property
    def _same_rules(self) -> bool:
        """Whether this version's rules decided the journal's choices and retrainings."""
        return self.format == JOURNAL_SCHEMA

    def _asked(self, state: CampaignState, event: Event) -> Iterator[str]:
        spec = event["spec"]
        study = state.plan.study(spec["study"])
        arm = study.arm(spec["arm"])
        arm_ref = (study, arm, state.arms[study.id, arm.name])
        if spec["variant"] != arm.variant:
            yield f"its variant is {spec['variant']}, but its arm's is {arm.variant}"
        yield from _strength(spec["config"], arm_ref)
        if spec["phase"] == "search":
            yield from self._search(state, arm_ref, spec)
            return
        if not self._same_rules:
            yield from _seed(state.plan, spec)
            source = state.trials[spec["source"]].spec.config
            yield from _differences(_shared(source), _shared(spec["config"]), spec["source"])
            return
        expected, choice = None, arm_ref[2].choice
        if spec["phase"] == "finalists" and next(missing_finalists(state, arm_ref), None):
            expected = finalist_trial(state, arm_ref)
        elif spec["phase"] == "confirm" and choice and unconfirmed(state, study, arm_ref[2]):
            expected = confirm_trial(state, arm_ref, choice)
        if expected is None:
            yield f"no trial of the phase {spec['phase']} was due"
        else:
            if expected.keep_weights and arm.name != "pc":  # earlier versions kept those of pc only
                expected = replace(expected, keep_weights=spec["keep_weights"])
            yield from _differences(_flat(vars(expected)), _flat(spec))

    def _search(
        self, state: CampaignState, arm_ref: ArmRef, spec: Mapping[str, Any]
    ) -> Iterator[str]:
        study, arm, _ = arm_ref
        config, index = spec["config"], spec["index"]
        if self._same_rules and not search_open(state, arm_ref):
            yield "the arm's search was over"
        if spec["keep_weights"]:
            yield "its weights were kept, but search trials keep none"
        yield from _seed(state.plan, spec)
        own = {"lambda", "lambda_over_n", *arm.own}
        stated = {*own, *arm.fixed, *arm.space, *_SEEDS}
        for key in sorted(config.keys() ^ stated, key=str):
            yield f"its {key} is {'missing' if key in stated else 'not in the plan'}"
        for key, value in arm.fixed.items():
            if key not in arm.space and config.get(key, value) != value:
                yield f"its {key} is {config[key]}, but the plan fixes {value}"
        outside = [key for key, of in arm.space.items() if not _holds(of, config.get(key))]
        for key, of in current_space(state, study, arm).items() if outside else ():
            if key in outside and not _holds(of, config.get(key)):
                yield f"its {key} is {config.get(key)}, but the plan's is {_told(of)}"
        if state.plan.sampler == "grid" and arm.space and not outside:
            yield from _differences(point := grid_point(arm, index), _only(point, config))
        elif index < len(study.start_points):
            point = study.start_points[index].values[arm.name]
            yield from _differences(point, _only(point, config))

    def _epoch(self, state: CampaignState, event: Event) -> Iterator[str]:
        trial = state.trials[event["trial"]]
        epoch, value, metrics = event["epoch"], event["value"], event["metrics"]
        if value is not None:
            yield from self._validated(state, trial, event)
        elif event["decision"] == "complete":
            yield from self._tested(state, trial, event)
        top1, top5 = metrics.get("val_top1"), metrics.get("val_top5")
        if top1 is not None and top5 is not None and top1 > top5:
            yield f"epoch {epoch} has a top-1 of {top1} and a top-5 of {top5}"
        decision = decide(state, trial, epoch, value)
        if decision != event["decision"]:
            yield f"its decision after epoch {epoch} is {event['decision']}, but must be {decision}"

    def _validated(self, state: CampaignState, trial: Trial, event: Event) -> Iterator[str]:
        """The deciding value must equal the epoch's metric, and count whole images."""
        metric, value = state.plan.metric, event["value"]
        key = f"val_{metric}"
        measured = event["metrics"].get(key)
        if measured is None:
            if key in self._measures:
                yield f"epoch {event['epoch']} has no {key}, unlike epochs before it"
            return
        self._measures.add(key)
        if measured != value:
            yield f"epoch {event['epoch']} has the value {value}, but its {key} is {measured}"
        elif metric == "top1" and trial.spec.phase == "search":
            images = self._studies(state.plan)[trial.spec.study].images.val
            if not _is_share(value, images):
                yield (
                    f"epoch {event['epoch']} has the value {value}, which is no whole number of "
                    f"{images} images"
                )

    def _tested(self, state: CampaignState, trial: Trial, event: Event) -> Iterator[str]:
        """A confirm trial's test metrics must agree with its hits."""
        for key in ("test", "hits"):
            if event.get(key) is not None:
                self._measures.add(key)
            elif key in self._measures:
                yield f"it has no {key}, unlike trials before it"
        test, hits = event.get("test") or {}, event.get("hits")
        top1, top5 = test.get("top1"), test.get("top5")
        if top1 is not None and top5 is not None and top1 > top5:
            yield f"it has a test top-1 of {top1} and a test top-5 of {top5}"
        if hits is not None and top1 is not None:
            yield from _hits(top1, hits, self._studies(state.plan)[trial.spec.study].images.test)

    def _studies(self, plan: Plan) -> dict[str, StudyPlan]:
        if plan is not self._plan:
            self._plan, self._by_id = plan, {study.id: study for study in plan.studies}
        return self._by_id

    def _chosen(self, state: CampaignState, event: Event) -> Iterator[str]:
        study = state.plan.study(event["study"])
        arm = study.arm(event["arm"])
        about = f"the choice of {arm.name} for {study.id}"
        yield from (f"{about}: {what}" for what in _strength(event["config"], (study, arm, None)))
        if self._same_rules:
            expected = choice_of(state, study, arm)
            if expected is None or expected["event"] != "chosen":
                yield f"{about} could not be made"
            else:
                found = _differences(_flat(expected), _flat(_only(expected, event)))
                yield from (f"{about}: {what}" for what in found)
            return
        source = state.trials[event["source"]].spec.config
        for what in _differences(_shared(source), _shared(event["config"]), event["source"]):
            yield f"{about}: {what}"
        finalists = state.arms[study.id, arm.name].trials["finalists"]
        trials = [t for t in finalists if t.spec.source == event["source"]]
        repeats = [last_value(t) for t in trials if t.state == "COMPLETE" and t.comparable]
        with_own = [state.trials[event["source"]].last_value, *repeats]  # some versions counted it
        if arm.borrows is None and list(event["values"]) not in (repeats, with_own):
            yield f"{about}: its values are not those of its trials"
        if event["values"] and not _close(event["score"], fmean(event["values"])):
            yield f"{about}: its score is {event['score']}, which is not the mean of its values"

    def _given_up(self, state: CampaignState, event: Event) -> Iterator[str]:
        study = state.plan.study(event["study"])
        arm = study.arm(event["arm"])
        choice = choice_of(state, study, arm) if self._same_rules else None
        due = choice is not None and choice["event"] == "given_up"
        if self._same_rules and not due and hopeless_because(state, study) is None:
            yield f"{arm.name} of {study.id} was given up, but its trials give no reason for it"

    def _looked(self, state: CampaignState, event: Event) -> Iterator[str]:
        if not self._same_rules:
            return
        study = state.plan.study(event["study"])
        about = f"the look at {study.id}"
        if not look_due(state, study):
            yield f"{about} was not due"
            return
        expected = look_at(state, study)
        for what in _differences(_flat(expected), _flat(_only(expected, event)), near=True):
            yield f"{about}: {what}"

    def _extended(self, state: CampaignState, event: Event) -> Iterator[str]:
        plan = Plan.model_validate(event["plan"])
        yield from _plan(plan)
        more = ("sampler", "max_epochs", "grace_epochs", "reduction_factor", "rung_rule")
        # an earlier version's recipe may omit keys whose default has changed
        for key in ("name", "metric", "seed", *(more if self._same_rules else ())):
            if getattr(plan, key) != getattr(state.plan, key):
                yield f"the wider plan changes {key}"

    def _ended(self, state: CampaignState, event: Event) -> Iterator[str]:
        status = event["status"]
        if status == "interrupted" or not self._same_rules:
            return
        if not nothing_left(state):
            yield f"the campaign ended as {status}, but trials were left to run"
        elif status != (right := "failed" if state.failed_studies() else "complete"):
            yield f"the campaign ended as {status}, but its trials say {right}"


def _plan(plan: Plan) -> Iterator[str]:
    if plan.confirm_seeds != confirm_seeds(plan.seed, len(plan.confirm_seeds)):
        yield f"the plan's confirm_seeds do not follow from its seed {plan.seed}"


def _retried(state: CampaignState, event: Event) -> Iterator[str]:
    if not may_begin_again(state.trials[event["trial"]], event["kind"]):
        yield f"it was restarted once more than allowed (cause: {event['kind']})"


def _search_closed(state: CampaignState, event: Event) -> Iterator[str]:
    if state.plan.budget_seconds is None and state.plan.budget_cost is None:
        yield "the search was closed by a budget, but the plan has none"


def _strength(config: Config, arm_ref: tuple[Any, Any, Any]) -> Iterator[str]:
    """λ, λ/N and other parameters must follow from those that are the arm's own."""
    study, arm, _ = arm_ref
    expected = configs.regulariser_weight(arm, config, study.num_classes)
    for key in sorted({*expected, *_own(config)}):
        if config.get(key) != expected.get(key):
            yield f"its {key} is {config.get(key)}, but must be {expected.get(key)}"


def _seed(plan: Plan, spec: Mapping[str, Any]) -> Iterator[str]:
    """Seeds must follow from the campaign's seed; confirm seeds must be in the plan's list."""
    seed, split, phase = spec["config"]["seed"], spec["config"]["split"], spec["phase"]
    if phase == "confirm":
        right = seed in plan.confirm_seeds
    else:
        right = seed == derive_seed(plan.seed, phase, spec["index"] if phase == "search" else split)
    if not right:
        yield f"its seed is {seed}, which does not follow from the campaign's seed {plan.seed}"
    if phase == "search" and split != 0:
        yield f"its split is {split}, but search trials have split 0"


def _shared(config: Config) -> dict[str, Any]:
    """The hyperparameters that a retrained configuration shares with its source."""
    own = (*_SEEDS, *_own(config))
    return {key: value for key, value in config.items() if key not in own}


def _own(config: Config) -> tuple[str, ...]:
    """The parameters of arms in a configuration: all but the shared ones and the seeds."""
    return tuple(key for key in config if key not in (*SHARED_KEYS, *_SEEDS))


def _is_share(percent: float, images: int) -> bool:
    """Whether a percentage of `images` is a whole number of them."""
    count = percent * images / 100
    if not -_ROUNDING < count < images + _ROUNDING:
        return False
    part = count % 1.0  # four times as fast as `round`
    return part < _ROUNDING or part > 1 - _ROUNDING


def _hits(top1: float, hits: str, images: int) -> Iterator[str]:
    try:
        packed = base64.b64decode(hits, validate=True)
    except ValueError:
        yield "its hits are not base64"
        return
    bits = int.from_bytes(packed, "big")
    spare = 8 * len(packed) - images
    if not 0 <= spare < 8 or bits & ((1 << spare) - 1):
        yield f"its hits are not one bit for each of {images} test images"
    elif not _close(top1, share := 100 * bits.bit_count() / images):
        yield f"its test top1 is {top1}, but its hits are {share:.6g} % of the test images"


def _only(keys: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in keys if key in values}


def _differences(
    expected: Mapping[str, Any],
    found: Mapping[str, Any],
    source: str | None = None,
    *,
    near: bool = False,
) -> Iterator[str]:
    """Keys that differ, or that one side lacks. With `near`, numbers may differ by rounding."""
    whose = "" if source is None else f", the value of {source}"
    for key in dict.fromkeys([*expected, *found]):
        one, other = expected.get(key), found.get(key)
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        if one != other and not (near and numbers and _close(one, other)):
            yield f"its {key} is {show(other)}, not {show(one)}{whose}"


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"config.lr": 0.1, ...}` of nested mappings and lists."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        items = enumerate(inner) if isinstance(inner, list | tuple) else None
        if items is not None:
            flat[f"{prefix}{key}.count"] = len(inner)
            inner = {str(number): item for number, item in items}
        if isinstance(inner, Mapping):
            flat |= _flat(inner, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = inner
    return flat


def _holds(space: Space, value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    if space.kind == "choices":
        return value in (space.choices or ())
    if space.kind == "fixed":
        return value == space.value
    slack = 1e-9 * max(abs(float(space.lowest)), abs(float(space.highest)))
    return float(space.lowest) - slack <= value <= float(space.highest) + slack


def _told(space: Space) -> str:
    if space.kind == "range":
        return f"between {space.low} and {space.high}"
    return str(space.value if space.kind == "fixed" else list(space.choices or ()))


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=_ROUNDING)
