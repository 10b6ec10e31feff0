"""Details of a trial, an image or a class for terminals: what `pcsearch show` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from pcsearch.printable import printable
from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.analysis_tables import plain_table
from pcsearch.reporting.curve import Curve
from pcsearch.reporting.image_details import Answer, ClassDetails, ImageDetails
from pcsearch.reporting.trial_details import Rung, TrialDetails
from pcsearch.reporting.trials_table import STATES, value_text
from pcsearch.search.plan import Plan
from pcsearch.training.metrics import METRICS

_MOST_IMAGES = 20
_MOST_CLASSES = 5
_MOST_TAKEN_FOR = 2


def trial_view(details: TrialDetails, plan: Plan, *, running: bool) -> RenderableType:
    """A trial; `running` says whether the campaign runs, and so may the trial."""
    trial = details.trial
    spec = trial.spec
    state = "INTERRUPTED" if trial.state == "RUNNING" and not running else str(trial.state)
    parts: list[RenderableType] = [
        Text(spec.trial, style="bold"),
        Text(
            f"{spec.phase} trial of {fmt.label(spec.arm)}: {STATES[state]} after "
            f"{trial.last_epoch} of {spec.epochs} epochs"
            + (", superseded by another choice" if details.superseded else "")
        ),
    ]
    if trial.error:
        parts.append(Text(printable(trial.error.strip()), style="red"))
    config = ", ".join(f"{key} {_value(value)}" for key, value in spec.config.items())
    parts.append(Text(f"configuration: {config}; loss {spec.variant}"))
    if spec.source is not None:
        parts.append(Text(f"configuration found by {spec.source}"))
    parts += _times(details)
    parts += [Text(), *_curve(details, plan)]
    parts += [Text(_rung(rung, plan)) for rung in details.rungs]
    if trial.test is not None:
        measured = ", ".join(
            f"{METRICS[key].short if key in METRICS else key} {value:.4g}"
            for key, value in trial.test.items()
            if value is not None
        )
        parts.append(Text(f"test images: {measured}"))
    return Group(*parts)


def _value(value: object) -> str:
    return fmt.ABSENT if value is None else value_text(value)


def _times(details: TrialDetails) -> Iterator[Text]:
    trial = details.trial
    began = f"asked {fmt.duration(details.asked_seconds)} after the campaign's start"
    ended = details.ended_seconds
    until = "" if ended is None else f", ended {fmt.duration(ended)} after it"
    yield Text(f"{began}{until}; training {fmt.duration(trial.seconds)}")
    if details.restarts:
        times = fmt.times(len(details.restarts))
        yield Text(f"restarted {times}; the last time: {fmt.first_line(details.restarts[-1])}")
    if trial.micro_batches > 1:
        yield Text(f"batches in {trial.micro_batches} parts, after running out of memory")


def _curve(details: TrialDetails, plan: Plan) -> Iterator[RenderableType]:
    epochs = details.trial.epochs
    if not epochs:
        yield Text("No epoch has ended.")
        return
    values = [one.value for one in epochs]
    name = f"validation {METRICS[plan.metric].label if plan.metric in METRICS else plan.metric}"
    if all(value is None for value in values):
        values = [one.metrics.get("train_top1") for one in epochs]
        name = "training top-1"
    last = fmt.percent(values[-1])
    yield Text(f"{name} by epoch, %; last {last}")
    yield Curve(values, {rung.epoch for rung in details.rungs}, "rung")


def _rung(rung: Rung, plan: Plan) -> str:
    """`stopped at 6: 41.2, where 42.0 went on`."""
    what = "went on" if rung.continued else "stopped"
    said = f"{what} at {rung.epoch}: {rung.value:.1f}"
    if rung.cut is None:
        return f"{said}, the first there"
    if not rung.continued:
        return f"{said}, where {rung.cut:.1f} went on ({_place(rung)})"
    if rung.larger < rung.places:
        return f"{said} ({_place(rung)})"
    return f"{said}, although {rung.cut:.1f} is the plain rule's limit ({_place(rung)})"


def _place(rung: Rung) -> str:
    best = "the best goes on" if rung.places == 1 else f"the best {rung.places} go on"
    return f"place {rung.larger + 1} of {rung.compared} until then; {best}"


def image_view(details: ImageDetails) -> RenderableType:
    """An image in one study."""
    wrong = sum(one.predicted != details.label for one in details.answers)
    table = plain_table("arm", "predicted", "p", "p(label)", "seed", "next", texts=2)
    table.columns[-1].justify = "left"
    for one in details.answers:
        style = "" if one.predicted == details.label else "red"
        table.add_row(
            Text(fmt.label(one.arm)),
            Text(printable(one.predicted), style),
            Text(f"{one.probability:.3f}"),
            Text(f"{one.of_label:.3f}"),
            Text(str(one.seed)),
            Text(_next(one)),
        )
    return Group(
        Text.assemble((printable(details.image), "bold"), f" in {details.study}"),
        Text(
            f"label: {printable(details.label)}; {len(details.answers) - wrong} of "
            f"{len(details.answers)} networks predict it"
        ),
        table,
    )


def _next(answer: Answer) -> str:
    return ", ".join(f"{printable(name)} {p:.2f}" for name, p in answer.likeliest[1:2])


def class_view(details: ClassDetails) -> RenderableType:
    """A class in one study."""
    table = plain_table("arm", "accuracy, %", "taken for", "taken for it", texts=1)
    for column in table.columns[2:]:
        column.justify = "left"
    for arm, scores in details.accuracy.items():
        table.add_row(
            Text(fmt.label(arm)),
            Text(fmt.scores(scores)),
            Text(_others(details.taken_for[arm])),
            Text(_others(details.taken_for_it[arm])),
        )
    parts: list[RenderableType] = [
        Text.assemble((printable(details.name), "bold"), f" in {details.study}"),
        Text(f"{details.images} test images; numbers of images are means over trainings"),
        table,
    ]
    if details.wrong:
        parts += [Text(), _wrong(details)]
        if len(details.wrong) > _MOST_IMAGES:
            parts.append(Text(f"The {_MOST_IMAGES} worst of {len(details.wrong)}; --json has all."))
    elif any(details.trainings.values()):
        parts.append(Text("Every network predicts all of its images."))
    return Group(*parts)


def _others(counts: Mapping[str, float]) -> str:
    shown = [f"{printable(name)} {count:.1f}" for name, count in counts.items()][:_MOST_CLASSES]
    more = len(counts) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more > 0 else [])]) or fmt.ABSENT


def _wrong(details: ClassDetails) -> RenderableType:
    """Its wrong images; a cell says `2 of 3: egret`."""
    arms = [arm for arm, trainings in details.trainings.items() if trainings]
    table = plain_table("taken for another class by", *map(fmt.label, arms), texts=1 + len(arms))
    shown = details.wrong[:_MOST_IMAGES]
    folders = {one.image.rpartition("/")[0] for one in shown}
    folder = f"{folders.pop()}/" if len(folders) == 1 else ""
    for one in shown:
        cells = []
        for arm in arms:
            taken = one.taken_for.get(arm, {})
            names = [printable(name) for name in taken][:_MOST_TAKEN_FOR]
            more = [f"{len(taken) - len(names)} more"] if len(taken) > len(names) else []
            told = f"{sum(taken.values())} of {details.trainings[arm]}: {', '.join(names + more)}"
            cells.append(Text(told if taken else fmt.ABSENT))
        table.add_row(Text(printable(one.image.removeprefix(folder))), *cells)
    return Group(Text(f"in {printable(folder)}:"), table) if len(folder) > 1 else table
