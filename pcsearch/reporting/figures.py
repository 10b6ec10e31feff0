"""Figures of one study as self-contained SVG text.

They show what decided: search trials by epoch with the rungs that stopped them, each regulariser's
strength against validation, and the confirm trials paired by seed.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pcsearch.arms import CONTROL, colour_of, symbol_of
from pcsearch.printable import printable_lines
from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.summary_types import StudySummary
from pcsearch.search.asha import rungs
from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.state import ArmState, CampaignState
from pcsearch.search.trial import Trial
from pcsearch.search.verdicts.gain import Gain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BySeed = Mapping[int, float]

DRAWN_AT_MOST = 200
"""Most trials drawn per arm: more lines add megabytes, but no information."""

_PAPER_RANGE = (0.05, 0.15)
"""λ/N within which the paper finds the best λ (section 5.1, "Choice of Hyperparameter λ")."""

_GOOD, _BAD, _OPEN = "#1a7f37", "#b3261e", "#5f6368"
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # no name is a formula
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8,
}
_PANEL_INCHES = (4.4, 2.9)


@dataclass(frozen=True)
class Plot:
    """A figure and a sentence about it."""

    svg: str
    caption: str


def search_plot(state: CampaignState, study: StudyPlan) -> Plot | None:
    """The search trials by epoch, and each regulariser's strength against validation.

    None while no search trial has a value.
    """
    drawn = {arm.name: _most_telling(state.arms[study.id, arm.name]) for arm in study.arms}
    if not any(drawn.values()):
        return None
    ended = {name for name, trials in drawn.items() if any(t.state != "RUNNING" for t in trials)}
    treated = [(arm, own) for arm in study.arms if arm.name in ended for own in arm.own]
    with _style(f"search {study.id}"):
        figure, panels = _panels(1 + len(treated))
        _curves(panels[0], state, study, drawn)
        for panel, (arm, own) in zip(panels[1:], treated, strict=True):
            _strength(panel, state, study, arm, own, drawn)
        svg = _svg(figure)
    caption = (
        "Search trials of each arm. Left: validation by epoch; dotted lines are the rungs at which "
        "trials are compared. A line that ends before the last epoch was stopped or still runs. "
        "Other panels: the last value by the regulariser's strength. Filled: fully trained. "
        "Hollow: stopped early, so lower for having fewer epochs."
    )
    if state.plan.finalist_repeats and state.plan.finalist_configs:
        caption += " The mean over finalists, which are not drawn, makes the choice."
    most = max(len(state.arms[study.id, arm.name].trials["search"]) for arm in study.arms)
    if most > DRAWN_AT_MOST:
        caption += f" Only the {DRAWN_AT_MOST} longest trained trials of each arm are drawn."
    return Plot(svg, caption)


def confirm_plots(study: StudySummary) -> list[Plot]:
    """Each arm against the control on the test images, for each seed that both have."""
    control = study.arms.get(CONTROL)
    if control is None or control.test_top1 is None:
        return []
    return [
        _pairs(study, name, arm.test_top1.by_seed(), control.test_top1.by_seed(), arm.gain)
        for name, arm in study.arms.items()
        if arm.gain is not None and arm.test_top1 is not None
    ]


def _pairs(study: StudySummary, name: str, ours: _BySeed, theirs: _BySeed, gain: Gain) -> Plot:
    pairs = [(theirs[seed], value) for seed, value in ours.items() if seed in theirs]
    with _style(f"confirm {study.id} {name}"):
        figure, (left, right) = _panels(2)
        for pair in pairs:
            left.plot((0, 1), pair, "-o", color="#9aa0a6", markersize=3.5, linewidth=0.9)
        means = [sum(values) / len(pairs) for values in zip(*pairs, strict=True)]
        left.plot((0, 1), means, "-D", color=colour_of(name), markersize=6, label="mean")
        left.set_xticks((0, 1), (fmt.label(CONTROL), fmt.label(name)))
        left.set_xlim(-0.4, 1.4)
        left.set(title="test accuracy, a line a seed", ylabel="%")
        left.legend(loc="best")
        _gains(right, [after - before for before, after in pairs], gain)
        svg = _svg(figure)
    caption = (
        f"Confirm trials of {fmt.label(name)} and control with the same seeds on the test images; "
        f"right, the difference of each seed, and their mean with its {fmt.level(gain)} interval "
        "(seeds, search and test images)."
    )
    return Plot(svg, caption)


def _curves(
    panel: Axes, state: CampaignState, study: StudyPlan, drawn: dict[str, list[Trial]]
) -> None:
    from matplotlib.ticker import MaxNLocator

    plan = state.plan
    most = max(plan.epochs(arm, "search") for arm in study.arms)
    for rung in rungs(most, plan.grace_epochs, plan.reduction_factor):
        panel.axvline(rung, color="#c4c7c5", linestyle=":", linewidth=0.9, zorder=0)
    for name, trials in drawn.items():
        for trial in trials:
            points = [(e.epoch, e.value) for e in trial.epochs if e.value is not None]
            epochs, values = zip(*points, strict=True)
            panel.plot(epochs, values, color=colour_of(name), alpha=0.45, linewidth=1.0)
            if trial.state != "COMPLETE":
                panel.plot(*points[-1], "o", color=colour_of(name), alpha=0.45, markersize=2.5)
        if trials:
            panel.plot([], [], color=colour_of(name), label=fmt.label(name))
    panel.set(title="search trials", xlabel="epoch", ylabel="validation %")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.legend(loc="best")


def _strength(
    panel: Axes,
    state: CampaignState,
    study: StudyPlan,
    arm: ArmPlan,
    parameter: str,
    drawn: dict[str, list[Trial]],
) -> None:
    colour, choice = colour_of(arm.name), state.arms[study.id, arm.name].choice
    for state_name, face, label in (
        ("COMPLETE", colour, "fully trained"),
        ("PRUNED", "none", "stopped early"),
    ):
        points = [
            (float(trial.spec.config[parameter]), trial.last_value)
            for trial in drawn[arm.name]
            if trial.state == state_name and trial.last_value is not None
        ]
        if points:
            strengths, values = zip(*points, strict=True)
            panel.scatter(strengths, values, s=22, facecolors=face, edgecolors=colour, label=label)
    if choice is not None:
        chosen = [t for t in drawn[arm.name] if t.spec.trial == choice.source]
        for trial in chosen:
            place = (float(trial.spec.config[parameter]), trial.last_value or 0.0)
            panel.plot(*place, "*", color="#d93025", markersize=11, label="chosen", zorder=3)
    complete = [t.last_value for t in drawn.get(CONTROL, ()) if t.state == "COMPLETE"]
    best = max((value for value in complete if value is not None), default=None)
    if best is not None:
        panel.axhline(
            best, color=colour_of(CONTROL), linestyle="--", linewidth=1.0, label="control's best"
        )
    if parameter == "lambda_over_n":
        panel.axvspan(*_PAPER_RANGE, color="#0072b2", alpha=0.07, zorder=0, label="paper's range")
    panel.set(title=fmt.label(arm.name), xlabel=symbol_of(parameter), ylabel="last validation %")
    if arm.space[parameter].log:
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(_plain)  # matplotlib's own would be LaTeX in the SVG
        panel.xaxis.set_minor_formatter("")
    if panel.get_legend_handles_labels()[0]:
        panel.legend(loc="best")


def _plain(value: float, position: float) -> str:
    """A tick of a logarithmic axis: `0.05`."""
    return f"{value:g}"


def _gains(panel: Axes, differences: Sequence[float], gain: Gain) -> None:
    colour = _OPEN
    if gain.includes_zero is False:
        colour = _GOOD if gain.mean > 0 else _BAD
    rows = range(len(differences), 0, -1)
    panel.axvline(0, color="#202124", linewidth=0.9)
    panel.plot(sorted(differences, reverse=True), list(rows), "o", color="#9aa0a6", markersize=4)
    if gain.low is not None and gain.high is not None:
        panel.plot((gain.low, gain.high), (0, 0), color=colour, linewidth=2.5)
    panel.plot(gain.mean, 0, "D", color=colour, markersize=7)
    panel.set_yticks((0, (1 + len(differences)) / 2), ("mean", "seeds"))
    panel.set_ylim(-0.8, len(differences) + 0.8)
    panel.set(title="gain by seed", xlabel="points")


def _most_telling(arm: ArmState) -> list[Trial]:
    """Comparable search trials with a value, the longest trained first."""
    known = [
        trial for trial in arm.trials["search"] if trial.comparable and trial.last_value is not None
    ]
    return sorted(known, key=lambda t: (-t.last_epoch, -(t.last_value or 0.0)))[:DRAWN_AT_MOST]


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns = min(count, 2)
    rows = -(-count // columns)
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in panels[count:]:
        unused.remove()
    return figure, panels[:count]


def _matplotlib() -> ModuleType:
    """Import matplotlib from an empty current folder.

    Its first import reads a matplotlibrc in the current folder. That may be a stranger's, and some
    versions evaluate its content. Without a writable home it caches fonts in a temporary folder;
    its advice about that is no part of a report.
    """
    if "matplotlib" not in sys.modules:
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        here = os.open(".", os.O_RDONLY)
        with tempfile.TemporaryDirectory() as empty:
            os.chdir(empty)
            try:
                import matplotlib  # noqa: F401
            finally:
                os.fchdir(here)
                os.close(here)
    return sys.modules["matplotlib"]


@contextlib.contextmanager
def _style(figure: str) -> Iterator[None]:
    """Ignore the user's settings, and give ids that are unique on the page.

    The same figure has the same ids, and so the same bytes.
    """
    matplotlib = _matplotlib()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE | {"svg.hashsalt": figure})
        yield


def _svg(figure: Figure) -> str:
    """The figure's `<svg>` element, without the XML header."""
    file = io.StringIO()
    nobody = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(file, format="svg", metadata=nobody, transparent=True)
    text = printable_lines(file.getvalue())
    text = text[text.index("<svg") :]
    used = set(re.findall(r"""(?:url\(|href=")#([^")]+)""", text))
    return re.sub(r' id="([^"]+)"', lambda one: one[0] if one[1] in used else "", text)
