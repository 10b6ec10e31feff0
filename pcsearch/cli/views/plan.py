"""Shows a plan and its cost as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pcsearch.cli.views.text import count
from pcsearch.cpus import machine_cpus, usable_cpus
from pcsearch.errors import UserError
from pcsearch.execution.preflight.lr_ranges import LR, lr_sentences
from pcsearch.execution.preflight.speed import Forecast
from pcsearch.reporting.notes import matching
from pcsearch.search.checkpoint_size import FILES
from pcsearch.search.estimate import LadderLevel, Work, estimate, ladder, training_seconds
from pcsearch.search.plan import Plan, StudyPlan
from pcsearch.search.sampling.start_points import prior_sentences
from pcsearch.search.verdicts.power import limits, overlap, smallest_gain

if TYPE_CHECKING:
    from pcsearch.models import PublishedWeights


@dataclass(frozen=True)
class Rates:
    """Rates that convert epochs to hours and money."""

    seconds_per_epoch: float | None
    price_per_hour: float | None
    width: int
    forecast: Forecast | None = None
    """Measured on this machine; None if it was not."""

    @classmethod
    def checked(
        cls, seconds: float | None, price: float | None, width: int, measures: bool = True
    ) -> Rates:
        for option, value in (("--seconds-per-epoch", seconds), ("--price-per-hour", price)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UserError(f"{option} is {value:g}, but must be 0 or more")
        if price is not None and seconds is None and not measures:
            raise UserError(
                "--price-per-hour needs a speed: omit --no-measure to take this machine's, or give "
                "--seconds-per-epoch, the speed of the machine at that price"
            )
        return cls(seconds, price, width)

    def hours(self, plan: Plan) -> dict[str, float] | None:
        """Wall hours, expected and at most: by the seconds per epoch, else as measured."""
        trial_hours = self._trial_hours(plan)
        if trial_hours is not None:
            return {key: hours / self.width for key, hours in trial_hours.items()}
        if self.forecast is None:
            return None
        seconds = {"expected": self.forecast.expected, "at_most": self.forecast.at_most}
        return {key: value / 3600 for key, value in seconds.items()}

    def cost(self, plan: Plan) -> dict[str, float] | None:
        """Expected and at most, for as many trials' resources as run at once; None if unknown."""
        hours, price = self.hours(plan), self.price_per_hour
        if hours is None or price is None:
            return None
        measured = self.forecast if self.seconds_per_epoch is None else None
        at_once = self.width if measured is None else measured.max_concurrent
        return {key: value * at_once * price for key, value in hours.items()}

    def _trial_hours(self, plan: Plan) -> dict[str, float] | None:
        """Hours with one trial at a time, by the seconds per epoch."""
        if self.seconds_per_epoch is None:
            return None
        whole = estimate(plan)
        work = {"expected": whole.expected, "at_most": whole.at_most}
        each = self.seconds_per_epoch
        return {key: training_seconds(value, each) / 3600 for key, value in work.items()}


Published = Mapping[str, "PublishedWeights"]
"""By backbone: the published weights that it starts from, with their licence."""

_NONE: Published = MappingProxyType({})


def plan_json(plan: Plan, rates: Rates, published: Published = _NONE) -> dict[str, Any]:
    """The content of the view as numbers."""
    whole = estimate(plan)
    studies = [
        {
            "study": study.id,
            "num_classes": study.num_classes,
            "images": study.images.model_dump(),
            "arms": {arm.name: arm.trials for arm in study.arms},
            "arm_epochs": {arm.name: plan.epochs(arm, "search") for arm in study.arms},
            "arm_cost": {arm.name: arm.cost for arm in study.arms},
            "trials": {
                "search": sizes.search_trials,
                "finalists": sizes.finalist_trials,
                "confirm": sizes.confirm_trials,
            },
            "epochs": _epochs(sizes.expected, sizes.at_most),
            "measured": {
                arm.name: {key: [arm.space[key].low, arm.space[key].high] for key in arm.measured}
                for arm in study.arms
                if arm.measured
            },
            "start_points": [point.model_dump() for point in study.start_points],
        }
        for study, sizes in zip(plan.studies, whole.studies, strict=True)
    ]
    return {
        "campaign": plan.name,
        "studies": studies,
        "trials": whole.trials,
        "ladder": [{"epoch": level.epoch, "trials": level.trials} for level in _ladder(plan)],
        "detectable_gain": {study.id: smallest_gain(plan, study) for study in plan.studies},
        "epochs": _epochs(whole.expected, whole.at_most),
        "hours": rates.hours(plan),
        "measured": None if rates.forecast is None else asdict(rates.forecast),
        "cost": rates.cost(plan),
        "checkpoint_bytes_per_running_trial": _checkpoints_bytes(plan),
        "weights_bytes": _weights_bytes(plan),
        "budget_hours": None if plan.budget_seconds is None else plan.budget_seconds / 3600,
        "budget_cost": plan.budget_cost,
        "published_weights": {name: asdict(one) for name, one in published.items()},
    }


def _checkpoints_bytes(plan: Plan) -> int | None:
    """Most disk space of a running trial's checkpoints; None if unknown."""
    sizes = [study.checkpoint_bytes for study in plan.studies]
    known = [one for one in sizes if one is not None]
    return max(known) * FILES if len(known) == len(sizes) else None


def _weights_bytes(plan: Plan) -> int | None:
    """The most disk space of the weights that are kept, a file an arm; None if unknown.

    A checkpoint holds at least one more number for each weight.
    """
    if not plan.confirm_seeds:
        return 0
    sizes = [(len(study.arms), study.checkpoint_bytes) for study in plan.studies]
    known = [arms * one // 2 for arms, one in sizes if one is not None]
    return sum(known) if len(known) == len(sizes) else None


def plan_view(plan: Plan, rates: Rates, published: Published = _NONE) -> RenderableType:
    """Studies, licences of weights, ladder, epochs, hours and cost."""
    whole = estimate(plan)
    studies, trials = count(len(plan.studies), "study"), count(whole.trials, "trial")
    title = Text.assemble(
        (plan.name, "bold"),
        f": {studies}, arms {', '.join(_arms(plan.studies[0]))}, at most {trials}",
    )

    return Group(
        title,
        Text(),
        _images(plan),
        *(
            Text(f"{study.id}: {line}")
            for study in plan.studies
            for line in (
                *study.images.left_out(),
                *study.images.leaked(study.dataset),
                *overlap(study),
            )
        ),
        *(Text(f"{name}: {weights.sentence()}") for name, weights in published.items()),
        Text(),
        _trials(plan),
        Text(),
        *_measured(plan),
        *_start_points(plan),
        *_ladder_lines(plan),
        *_totals(plan, rates),
        *(Text(line) for line in limits(plan)),
        Text(),
    )


def _images(plan: Plan) -> Table:
    table = _table("images", ("classes", "fit", "val", "train", "test"))
    for study in plan.studies:
        images = study.images
        counts = (study.num_classes, images.fit, images.val, images.train, images.test)
        table.add_row(study.id, *(f"{number:,}" for number in counts))
    return table


def _trials(plan: Plan) -> Table:
    table = _table("trials", ("search", "finalists", "confirm", "epochs ~", "at most"))
    for study, sizes in zip(plan.studies, estimate(plan).studies, strict=True):
        trials = (sizes.search_trials, sizes.finalist_trials, sizes.confirm_trials)
        epochs = (sizes.expected.epochs, sizes.at_most.epochs)
        numbers = (*trials, *epochs)
        table.add_row(study.id, *(f"{number:,.0f}" for number in numbers))
    return table


def _measured(plan: Plan) -> list[RenderableType]:
    """The measured ranges of learning rates, by study and arm."""
    lines = [
        line
        for study in plan.studies
        for line in lr_sentences(
            study.id, {arm.name: arm.space[LR] for arm in study.arms if LR in arm.measured}
        )
    ]
    return [*(Text(line) for line in lines), Text()] if lines else []


def _start_points(plan: Plan) -> list[RenderableType]:
    """The start points from earlier runs, by study."""
    lines = [Text(line) for study in plan.studies for line in prior_sentences(study)]
    return [*lines, Text()] if lines else []


def _table(what: str, numbers: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(what, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _rough(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _arms(study: StudyPlan) -> list[str]:
    return [
        arm.name if arm.borrows is None else f"{arm.name} (takes {arm.borrows}'s choice)"
        for arm in study.arms
    ]


def _ladder_lines(plan: Plan) -> list[RenderableType]:
    levels = _ladder(plan)
    if not levels:
        return []
    trials = count(round(levels[0].trials), "search trial")
    head = (
        f"How long the {trials} of each arm are expected to train (rungs by a factor "
        f"{plan.reduction_factor}, {plan.sampler} sampler):"
    )
    grid = Table.grid(padding=(0, 2))
    for level in levels:
        name = "full budget" if level.epoch == plan.max_epochs else "then compared"
        epochs = count(level.epoch, "epoch")
        grid.add_row(f"{epochs}", f"{level.trials:.1f} trials", Text(name, "dim"))
    matched = [Text(line) for study in plan.studies for line in matching(plan, study)]
    return [Text(head), Padding(grid, (0, 0, 1, 2), expand=False), *matched]


def _totals(plan: Plan, rates: Rates) -> list[RenderableType]:
    whole = estimate(plan)
    expected, most = whole.expected, whole.at_most
    lines = [f"Epochs: about {expected.epochs:,.0f} expected, {most.epochs:,.0f} at most."]
    lines += _time(plan, rates)
    if cost := rates.cost(plan):
        lines.append(f"Cost: about {cost['expected']:,.2f}, {cost['at_most']:,.2f} at most.")
    lines.append(_cpus(usable_cpus(), machine_cpus()))
    largest = _checkpoints_bytes(plan)
    if largest is not None:
        lines.append(
            f"Disk: checkpoints of at most {decimal(largest)} per running trial; they are removed "
            "when trials end."
        )
    if kept := _weights_bytes(plan):
        files = count(sum(len(study.arms) for study in plan.studies), "file")
        lines.append(
            f"The run keeps the weights of one confirm training of each arm: {files}, at most "
            f"{decimal(kept)}."
        )
    if plan.budget_seconds is not None:
        lines.append(
            "The search ends early enough that finalists and confirm fit "
            f"{plan.budget_seconds / 3600:g} hours."
        )
    if plan.budget_cost is not None:
        price = f"{plan.price_per_node_hour:g} a node-hour"
        lines.append(
            f"The search ends early enough to keep the cost to {plan.budget_cost:g}, at {price}."
        )
    return [Text(line) for line in lines]


def _time(plan: Plan, rates: Rates) -> Iterator[str]:
    hours = rates.hours(plan)
    if hours is None:
        yield "For hours, give --seconds-per-epoch; for the cost, also --price-per-hour."
    elif rates.seconds_per_epoch is not None:
        yield (
            f"Hours: about {_rough(hours['expected'])}, {_rough(hours['at_most'])} at most, "
            f"{count(rates.width, 'trial')} at once."
        )
    elif rates.forecast is not None:
        yield from rates.forecast.sentences(plan)


def _cpus(usable: int, machine: int) -> str:
    """The CPUs that `tune` has for its trials on this machine."""
    if usable == machine:
        return f"This machine: {count(machine, 'CPU')} for trials."
    return (
        f"This machine: {usable} of {count(machine, 'CPU')} for trials, as the process's affinity "
        "or quota allows."
    )


def _ladder(plan: Plan) -> tuple[LadderLevel, ...]:
    searching = [(arm, study) for study in plan.studies for arm in study.arms if arm.trials]
    return ladder(searching[0][0], plan, searching[0][1]) if searching else ()


def _epochs(expected: Work, at_most: Work) -> dict[str, float]:
    return {"expected": expected.epochs, "at_most": at_most.epochs}
