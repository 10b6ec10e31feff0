"""A run as one self-contained HTML page: no script, no network, no other file.

Like the summary, it is made from the journal, so it works at any time of a run. All text is
escaped, because a run folder may come from anybody.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, Template
from markupsafe import Markup, escape

from pcsearch.io import open_regular
from pcsearch.printable import printable_lines
from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.figures import Plot, confirm_plots, search_plot
from pcsearch.reporting.summary import summarise, trial_rows
from pcsearch.reporting.summary_types import ArmSummary, StudySummary
from pcsearch.reporting.tables import accuracies
from pcsearch.reporting.trials_table import (
    STATES,
    Row,
    differing,
    hyperparameters,
    last_value_text,
    short_name,
    shown_rows,
    test_value,
    value_text,
)
from pcsearch.runs.folder import RunFolder, resume_command
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan
from pcsearch.search.state import CampaignState, Status
from pcsearch.version import __version__

_LISTED_AT_MOST = 1000
"""Most trials of a study on the page; `pcsearch trials` lists all."""


_GENERATOR = b'<meta name="generator" content="pcsearch '
"""What `report.html.j2` has near its start."""


@dataclass(frozen=True)
class _Arm:
    """A line of a study's table, as text."""

    name: str
    strength: str
    fraction: str
    settings: str
    validation: str
    test: str
    gain: str
    level: str
    verdict: str
    p_value: str
    colour: str
    epochs: str


@dataclass(frozen=True)
class _Study:
    """The content of a study's section."""

    summary: StudySummary
    plan: StudyPlan
    arms: list[_Arm]
    plots: list[Plot]
    trials: list[dict[str, str]]
    trials_in_all: int
    time: str


def is_report(file: Path) -> bool:
    """Whether a file is empty or a page of `html_report`, of any version, so that it may go."""
    try:
        with open_regular(file) as content:
            start = content.read(2000)
    except OSError:
        return False
    return not start or _GENERATOR in start


def html_report(folder: RunFolder, state: CampaignState, status: Status) -> str:
    """The page of a run whose journal holds `state`."""
    summary = summarise(state, status)
    rows = shown_rows(trial_rows(state), running=status == "running")
    studies = [
        _study(state, one, plan, [row for row in rows if row["study"] == plan.id])
        for one, plan in zip(summary.studies, state.plan.studies, strict=True)
    ]
    treated = fmt.label(fmt.campaign_headline(summary))
    page: str = _template().render(
        summary=summary,
        address=folder.url or folder.name,
        facts=_facts(state.plan),
        studies=studies,
        notes=summary.notes,
        meaning=accuracies(summary, treated),
        files=[(name, folder.read_text(name)) for name in ("recipe.yaml", "environment.json")],
        written=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        version=__version__,
        duration=fmt.duration(state.seconds),
        resume=resume_command(folder.address) if status == "interrupted" else None,
        strengths=any(
            set(arm.own) - {"lambda", "lambda_over_n"}
            for study in summary.studies
            for arm in study.arms.values()
        ),
    )
    return page


def _template() -> Template:
    text = (files("pcsearch.reporting") / "report.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters["commands"] = _commands
    return environment.from_string(text)


def _shown(value: object) -> object:
    """Make text safe for the template; markup of our own is unchanged."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return printable_lines(str(value)) if is_text else value


def _commands(line: str) -> Markup:
    """Text between backticks becomes code."""
    line = printable_lines(line)
    parts = [escape(part) for part in line.split("`")]
    if len(parts) % 2 == 0:  # one is missing
        return escape(line)
    code = (
        Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts)
    )
    return Markup("").join(code)


def _study(
    state: CampaignState, summary: StudySummary, plan: StudyPlan, rows: Sequence[Row]
) -> _Study:
    search = search_plot(state, plan)
    return _Study(
        summary=summary,
        plan=plan,
        arms=[_arm(arm, plan.arm(name)) for name, arm in summary.arms.items()],
        plots=[*([] if search is None else [search]), *confirm_plots(summary)],
        trials=_trials(rows[:_LISTED_AT_MOST]),
        trials_in_all=len(rows),
        time=fmt.duration(summary.seconds),
    )


def _arm(arm: ArmSummary, plan: ArmPlan) -> _Arm:
    searched = [key for key in arm.config if key in plan.space] or arm.config  # or borrowed
    own = ("lambda", "lambda_over_n", *plan.own)
    settings = (f"{key}={value_text(arm.config[key])}" for key in searched if key not in own)
    gain = arm.gain
    word = arm.verdict.word if arm.verdict else ""
    return _Arm(
        name=fmt.label(plan.name),
        strength=fmt.regulariser_text(arm),
        fraction=fmt.fraction(arm),
        settings=", ".join(settings) or fmt.ABSENT,
        validation=fmt.percent(arm.val_top1),
        test=fmt.scores(arm.test_top1),
        gain=fmt.gain_text(gain),
        level=fmt.level(gain) if gain is not None and gain.low is not None else "",
        verdict=word,
        p_value=""
        if gain is None or gain.p_value is None or word == "withheld"
        else fmt.p_value(gain.p_value),
        colour={"helps": "good", "hurts": "bad"}.get(word, ""),
        epochs=str(arm.epochs_run),
    )


def _trials(rows: Sequence[Row]) -> list[dict[str, str]]:
    shown = differing(rows)
    return [
        {
            "arm": fmt.label(row["arm"]),
            "name": short_name(row),
            "state": STATES[row["state"]] + (", superseded" if row["set_aside"] else ""),
            "epochs": str(len(row["epochs"])),
            "value": last_value_text(row),
            "test": test_value(row),
            "time": fmt.duration(row["seconds"]),
            "settings": hyperparameters(row, shown),
            "error": fmt.first_line(row["error"]) if row["error"] else "",
        }
        for row in rows
    ]


def _facts(plan: Plan) -> list[tuple[str, str]]:
    """The settings of the search, for readers who judge or repeat it."""
    ladder = f"grace {plan.grace_epochs}, factor {plan.reduction_factor}"
    finalists = plan.finalist_configs and plan.finalist_repeats
    confirm = f"{len(plan.confirm_seeds)} seeds × {plan.confirm_epochs} epochs"
    facts = [
        ("metric", plan.metric),
        ("sampler", f"{plan.sampler}, seed {plan.seed}"),
        ("early stopping", f"ASHA up to {plan.max_epochs} epochs, {ladder}"),
        (
            "finalists",
            f"every arm retrains all arms' best {plan.finalist_configs}, {finalists} times each"
            if finalists
            else "none",
        ),
        ("confirm", confirm if plan.confirm_seeds else "none: no test images were measured"),
    ]
    if plan.budget_seconds is not None:
        facts.append(("budget", fmt.duration(plan.budget_seconds)))
    if plan.budget_cost is not None:
        price = f"{plan.price_per_node_hour:g} a node-hour" if plan.price_per_node_hour else ""
        facts.append(("budget", f"{plan.budget_cost:g} at {price}"))
    return facts
