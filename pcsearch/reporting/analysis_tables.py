"""A study's analysis for terminals: what `pcsearch summary --classes` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pcsearch.arms import CONTROL
from pcsearch.printable import printable
from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.analysis import Analysis, ArmAnalysis, Comparison
from pcsearch.reporting.class_statistics import FALSE_DISCOVERY_RATE
from pcsearch.reporting.summary_types import Scores, StudySummary, Summary

_MOST_CLASSES = 20
_PAIRS_OF_AN_ARM = 5
_RATE = f"{100 * FALSE_DISCOVERY_RATE:.0f} %"

MADE_BEFORE = (
    "This run keeps no predictions (it was made before they were kept, or no confirm trial has "
    "ended)."
)


def analysis_tables(summary: Summary) -> RenderableType:
    """One block per study that was analysed; blocks fit 80 columns, and names fold."""
    parts: list[RenderableType] = []
    for study in summary.studies:
        if study.analysis is not None:
            parts += [Text(study.id, style="bold"), *_study(study, study.analysis), Text()]
    return Group(*parts[:-1])


def plain_table(*headings: str, texts: int = 0) -> Table:
    """A table without frame whose first `texts` columns are text and the others numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(headings):
        justify = "left" if number < texts else "right"
        table.add_column(Text(heading), justify=justify, overflow="fold")  # type: ignore[arg-type]
    return table


def _study(study: StudySummary, analysis: Analysis) -> Iterator[RenderableType]:
    if not any(arm.test_top1 for arm in study.arms.values()):
        yield Text("No confirm trial has ended: there is nothing to analyse yet.")
        return
    yield _measures(study, analysis)
    if analysis.class_names is None:
        yield Text(MADE_BEFORE)
    else:
        yield from _incomplete(study, analysis)
    for name, comparison in analysis.comparisons.items():
        yield Text()
        yield from _compared(name, comparison, analysis)
    if any(arm.pairs for arm in analysis.arms.values()):
        yield Text()
        yield _pairs(analysis)
    for problem in analysis.problems:
        yield Text(f"{problem}; it is left out.")


def _incomplete(study: StudySummary, analysis: Analysis) -> Iterator[Text]:
    for name, arm in analysis.arms.items():
        scores = study.arms[name].test_top1
        if scores is not None and len(arm.seeds) < len(scores.seeds):
            yield Text(
                f"{fmt.label(name)}: predictions of {len(arm.seeds)} of {len(scores.seeds)} "
                "trainings are kept. Classes, pairs and D_EC are of these."
            )


def _measures(study: StudySummary, analysis: Analysis) -> Table:
    names = list(analysis.arms)
    table = plain_table("means over confirm seeds", *map(fmt.label, names), texts=1)
    arms = list(analysis.arms.values())
    test = [study.arms[name].test_top1 if name in study.arms else None for name in names]
    _row(table, "training top-1, %", [fmt.scores(arm.train_top1) for arm in arms])
    _row(table, "test accuracy, %", [fmt.scores(one) for one in test])
    _row(table, "test top-5, %", [fmt.scores(arm.top5) for arm in arms])
    _row(table, "negative log-likelihood, nats", [_nats(arm.nll) for arm in arms])
    if any(arm.temperature for arm in arms):
        _row(table, "  with temperature", [_nats(arm.nll_calibrated) for arm in arms])
    _row(table, "calibration error, %", [fmt.scores(arm.ece) for arm in arms])
    if any(arm.temperature for arm in arms):
        _row(table, "  with temperature", [fmt.scores(arm.ece_calibrated) for arm in arms])
        _row(table, "temperature", [_number(arm.temperature) for arm in arms])
    if any(arm.within is not None for arm in arms):
        _row(table, "D_EC within classes", [_number(arm.within) for arm in arms])
        _row(table, "D_EC between classes", [_number(arm.between) for arm in arms])
    return table


def _row(table: Table, title: str, cells: Sequence[str]) -> None:
    if any(cell != fmt.ABSENT for cell in cells):
        table.add_row(Text(title), *map(Text, cells))


def _nats(scores: Scores | None) -> str:
    if scores is None:
        return fmt.ABSENT
    return f"{scores.mean:.3f}" if scores.std is None else f"{scores.mean:.3f} ± {scores.std:.3f}"


def _number(value: float | None) -> str:
    return fmt.ABSENT if value is None else f"{value:.3f}"


def _compared(name: str, comparison: Comparison, analysis: Analysis) -> Iterator[RenderableType]:
    label = fmt.label(name)
    yield from _classes(name, comparison, analysis)
    table = plain_table("seed", f"only {label} right", "only control right", "p (McNemar)")
    for seed, test in comparison.mcnemar.items():
        cells = (str(seed), str(test.only_arm), str(test.only_control), _p(test.p_value))
        table.add_row(*map(Text, cells))
    yield Text()
    yield table


def _classes(name: str, comparison: Comparison, analysis: Analysis) -> Iterator[RenderableType]:
    label, names = fmt.label(name), analysis.class_names or ()
    if all(one.p_value is None for one in comparison.classes):
        yield Text(
            f"Whether {label} helps some classes more than others needs two seeds and two test "
            "images of a class."
        )
        return
    clear = sorted(
        (one for one in comparison.classes if one.differs), key=lambda one: one.gain or 0.0
    )
    tested = sum(one.p_value is not None for one in comparison.classes)
    if not clear:
        largest = max(comparison.classes, key=lambda one: abs(one.gain or 0.0))
        yield Text(
            f"No class differs clearly between {label} and control ({tested} tested, false "
            f"discovery rate {_RATE}). The largest difference: {fmt.points(largest.gain or 0.0)} "
            f'points for "{printable(names[largest.index])}".'
        )
        return
    better = sum((one.gain or 0.0) > 0 for one in clear)
    yield Text(
        f"{label} against control: {better} of {tested} classes better, {len(clear) - better} "
        f"worse (false discovery rate {_RATE})."
    )
    table = plain_table("class", "images", "control", label, "gain", "q", texts=1)
    shown = clear if len(clear) <= _MOST_CLASSES else clear[:10] + clear[-10:]
    for one in reversed(shown):
        style = "green" if (one.gain or 0.0) > 0 else "red"
        accuracies = [_accuracy(analysis.arms[arm], one.index) for arm in (CONTROL, name)]
        table.add_row(
            Text(printable(names[one.index])),
            Text(str(one.images)),
            *map(Text, accuracies),
            Text(fmt.points(one.gain or 0.0), style),
            Text(_p(one.q_value)),
        )
    yield table
    if len(clear) > len(shown):
        yield Text(f"The {len(shown)} most different of {len(clear)}; --json has all.")


def _accuracy(arm: ArmAnalysis, index: int) -> str:
    return fmt.percent(None if arm.class_top1 is None else arm.class_top1[index])


def _p(value: float | None) -> str:
    if value is None:
        return fmt.ABSENT
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _pairs(analysis: Analysis) -> Table:
    """The most confused pairs of every arm, with the errors of all arms."""
    names = analysis.class_names or ()
    known = {name: arm for name, arm in analysis.arms.items() if arm.seeds}
    told = {
        (pair.first, pair.second): max(
            other.errors
            for arm in known.values()
            if (other := arm.pair(pair.first, pair.second)) is not None
        )
        for arm in known.values()
        for pair in arm.pairs[:_PAIRS_OF_AN_ARM]
    }
    labels = [fmt.label(name) for name in known]
    headings = [*labels, *(f"D_EC {label}" for label in labels)]
    table = plain_table("taken for each other, images a training", *headings, texts=1)
    for pair in sorted(told, key=lambda pair: -told[pair]):
        found = [arm.pair(*pair) for arm in known.values()]
        errors = [fmt.ABSENT if one is None else f"{one.errors:.2f}" for one in found]
        confusions = [fmt.ABSENT if one is None else _number(one.confusion) for one in found]
        both = " / ".join(printable(names[index]) for index in pair)
        table.add_row(Text(both), *map(Text, [*errors, *confusions]))
    return table
