"""Tables for terminals: rich renderables that fit a width without cutting anything off.

The summary table has several layouts, from one line to a block per study; the first that fits is
used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pcsearch.arms import search_keys, symbol_of
from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.formatting import natural_width
from pcsearch.reporting.notes import notes
from pcsearch.reporting.summary_types import ArmSummary, StudySummary, Summary
from pcsearch.reporting.trials_table import trials_table


@dataclass(frozen=True)
class Cells:
    """One study's cells as text; `style` colours its gain if the verdict is clear."""

    dataset: str
    backbone: str
    classes: str
    regulariser_text: str
    fraction: str
    rate: str
    control_rate: str
    validation: str
    control_validation: str
    treated: str
    control: str
    gain: str
    interval: str
    verdict: str
    trials: str
    epochs: str
    share: str
    time: str
    style: str


def cells(study: StudySummary) -> Cells:
    """The cells of a study's row."""
    name = fmt.headline(study)
    arm = study.arms[name] if name else None
    control = study.arms.get("control")
    gain = arm.gain if arm else None
    trials, epochs = study.trials, study.epochs
    share = epochs.run / epochs.full_budget if epochs.full_budget else 0.0
    return Cells(
        dataset=study.dataset,
        backbone=study.backbone,
        classes=str(study.num_classes),
        regulariser_text=fmt.regulariser_text(arm) if arm else fmt.ABSENT,
        fraction=fmt.fraction(arm) if arm else fmt.ABSENT,
        rate=_rate(arm),
        control_rate=_rate(control),
        validation=fmt.percent(arm.val_top1 if arm else None),
        control_validation=fmt.percent(control.val_top1 if control else None),
        treated=fmt.scores(arm.test_top1 if arm else None),
        control=fmt.scores(control.test_top1 if control else None),
        gain=fmt.points(gain.mean) if gain else fmt.ABSENT,
        interval=fmt.interval(gain),
        verdict=arm.verdict.word if arm and arm.verdict else "",
        trials=f"{trials.total} / {trials.pruned} / {trials.failed}",
        epochs=f"{epochs.run} of {epochs.full_budget}",
        share=f"{share:.0%}".replace("%", " %"),
        time=fmt.duration(study.seconds),
        style=_STYLES.get(arm.verdict.word if arm and arm.verdict else "", ""),
    )


def _rate(arm: ArmSummary | None) -> str:
    """The learning rate of an arm's choice, marked if it is at an end of its range."""
    if arm is None or "lr" not in arm.config:
        return fmt.ABSENT
    end = {"low": "↓", "high": "↑"}.get(arm.edges.get("lr", ""), "")
    return fmt.significant(float(arm.config["lr"])) + end


_STYLES = {"helps": "green", "hurts": "red"}


__all__ = ["accuracies", "notes", "summary_table", "trials_table"]


@dataclass(frozen=True)
class Column:
    """A heading and the text of its cells; both may have several lines."""

    heading: str
    text: Callable[[Cells], str]
    right: bool = False
    coloured: bool = False


def summary_table(summary: Summary, width: int) -> RenderableType:
    """The summary with one row per study, in at most `width` terminal columns."""
    studies = [cells(study) for study in summary.studies]
    name = fmt.campaign_headline(summary)
    treated, best = fmt.label(name), _best(name)
    title = Text(f"{summary.campaign} · {summary.status}", style="bold")
    counts = "trials: run / stopped early / failed. time: summed over trials."
    meaning = Text(f"{accuracies(summary, treated)}\n{counts}", style="dim")
    for layout in (one(treated, best) for one in (_one_line, _three_lines, _four_lines)):
        table = _table(layout, studies)
        if natural_width(table) <= width:
            return Group(title, table, meaning)
    return Group(title, Text(), *(_block(study, treated, best) for study in studies), meaning)


def _one_line(treated: str, best: str) -> list[Column]:
    return [
        Column("dataset", lambda c: c.dataset),
        Column("backbone", lambda c: c.backbone),
        Column("N", lambda c: c.classes, right=True),
        Column(best, lambda c: c.regulariser_text, right=True),
        *([Column("λ/N", lambda c: c.fraction, right=True)] if "λ" in best else []),
        Column(f"lr\n{treated}, control", lambda c: f"{c.rate}, {c.control_rate}", right=True),
        Column(
            f"val top-1\n{treated}, control",
            lambda c: f"{c.validation}, {c.control_validation}",
            right=True,
        ),
        Column(f"{treated}\ntest top-1", lambda c: c.treated, right=True),
        Column("control\ntest top-1", lambda c: c.control, right=True),
        Column(
            "gain [interval]\nverdict",
            lambda c: f"{c.gain} {c.interval}\n{c.verdict}",
            coloured=True,
        ),
        Column("trials run/\nstopped/failed", lambda c: c.trials),
        Column("epochs run\nof full budget", lambda c: f"{c.epochs} ({c.share})"),
        Column("trial\ntime", lambda c: c.time, right=True),
    ]


def _three_lines(treated: str, best: str) -> list[Column]:
    return [
        Column("dataset\nbackbone", lambda c: f"{c.dataset}\n{c.backbone}"),
        Column("\nN", lambda c: c.classes, right=True),
        Column("\n".join(_strength_lines(best)), lambda c: _strengths(c, best), right=True),
        Column(f"lr {treated},\ncontrol", lambda c: f"{c.rate}\n{c.control_rate}", right=True),
        Column(
            f"val top-1\n{treated}, control",
            lambda c: f"{c.validation}\n{c.control_validation}",
            right=True,
        ),
        Column(
            f"test top-1\n{treated}, control", lambda c: f"{c.treated}\n{c.control}", right=True
        ),
        Column(
            "gain\n[interval]\nverdict",
            lambda c: f"{c.gain}\n{c.interval}\n{c.verdict}",
            coloured=True,
        ),
        Column("trials\nepochs\ntime", lambda c: f"{c.trials}\n{c.epochs}, {c.share}\n{c.time}"),
    ]


def _four_lines(treated: str, best: str) -> list[Column]:
    return [
        Column("dataset\nbackbone", lambda c: f"{c.dataset}\n{c.backbone}\nN = {c.classes}"),
        Column(
            "\n".join([*_strength_lines(best), f"lr {treated}", "control"]),
            lambda c: f"{_strengths(c, best)}\n{c.rate}\n{c.control_rate}",
            right=True,
        ),
        Column(
            f"val top-1\n{treated}\ncontrol",
            lambda c: f"{c.validation}\n{c.control_validation}",
            right=True,
        ),
        Column(
            f"test top-1\n{treated}\ncontrol", lambda c: f"{c.treated}\n{c.control}", right=True
        ),
        Column(
            "gain\n[interval]\nverdict",
            lambda c: f"{c.gain}\n{c.interval}\n{_halved(c.verdict)}",
            coloured=True,
        ),
        Column("trials\nepochs\ntime", lambda c: f"{c.trials}\n{c.epochs}\n{c.share}\n{c.time}"),
    ]


def _halved(verdict: str) -> str:
    """`no clear difference` in two lines, because it is wider than any interval."""
    return verdict.replace(" difference", "\ndifference")


def _strength_lines(best: str) -> list[str]:
    """The headings of an arm's own parameters, and λ/N if one of them is λ."""
    return [best, "λ/N"] if "λ" in best else [best]


def _strengths(study: Cells, best: str) -> str:
    fraction = [study.fraction] if "λ" in best else []
    return "\n".join([study.regulariser_text, *fraction])


def _best(arm: str) -> str:
    """The heading of the column with the arm's own parameters."""
    names = (parameter.name for parameter in search_keys(arm).values())
    symbols = ["λ" if name == "lambda_over_n" else symbol_of(name) for name in names]
    text = ", ".join(symbols or [arm])
    return f"best {text}" if len(text) == 1 else text


def _table(columns: Sequence[Column], studies: Sequence[Cells]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            Text(column.heading), justify="right" if column.right else "left", no_wrap=True
        )
    for study in studies:
        texts = [column.text(study).rstrip() for column in columns]
        if any("\n" in text for text in texts):
            table.leading = 1
        styles = [study.style if column.coloured else "" for column in columns]
        table.add_row(*map(Text, texts, styles))
    return table


def _block(study: Cells, treated: str, best: str) -> RenderableType:
    """A study as lines of words and numbers, for narrow terminals."""
    heading = f"{study.dataset} · {study.backbone} · N = {study.classes}"
    body = Text.assemble(
        f"{best} {study.regulariser_text}" + (f", λ/N {study.fraction}\n" if "λ" in best else "\n"),
        f"lr: {treated} {study.rate}, control {study.control_rate}\n",
        f"val top-1: {study.validation}, control {study.control_validation}\n",
        f"test top-1: {treated} {study.treated}\n",
        f"test top-1: control {study.control}\n",
        "gain: ",
        (f"{study.gain} {study.interval}".rstrip(), study.style),
        f"\nverdict: {study.verdict or fmt.ABSENT}",
        f"\ntrials: {study.trials}\n",
        f"epochs: {study.epochs} ({study.share})\n",
        f"time: {study.time}\n",
    )
    return Group(Text(heading, style="bold"), Padding(body, (0, 0, 0, 2)))


def accuracies(summary: Summary, treated: str) -> str:
    """An explanation of the accuracies and the gain."""
    seeds = [
        len(arm.test_top1.seeds)
        for study in summary.studies
        for arm in study.arms.values()
        if arm.test_top1 is not None
    ]
    over = "confirm seeds"
    if seeds and min(seeds) == max(seeds):
        over = f"{seeds[0]} confirm seed{'s' if seeds[0] > 1 else ''}"
    parts = [
        "Accuracies in percent. val: what each arm was chosen by, hence optimistic.",
        f"test: mean ± std over {over}.",
    ]
    if seeds and max(seeds) == 1:
        parts[-1] = "test: of 1 confirm seed, which gives neither ± nor an interval."
    elif any("control" in study.arms for study in summary.studies):
        parts.append(
            f"gain: {treated} − control, paired by seed. Its {_level(summary)} interval covers "
            f"{_covered(summary)}."
        )
    return "\n".join(parts)


def _covered(summary: Summary) -> str:
    """The sources of error that the intervals cover in every study."""
    gains = [arm.gain for study in summary.studies for arm in study.arms.values() if arm.gain]
    covered = ["training seeds"]
    if all(gain.parts.search is not None for gain in gains):
        covered.append("the search's luck")
    if all(gain.parts.images is not None for gain in gains):
        covered.append("the choice of test images")
    return " and ".join(", ".join(covered).rsplit(", ", 1)) if len(covered) > 1 else covered[0]


def _level(summary: Summary) -> str:
    """`96 %`; several levels if studies differ."""
    gains = [arm.gain for study in summary.studies for arm in study.arms.values() if arm.gain]
    levels = dict.fromkeys(f"{100 * gain.level:.4g}" for gain in gains)
    return f"{', '.join(levels) or '96'} %"
