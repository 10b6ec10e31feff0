"""The small campaigns that are run: what they are, and how they go when nothing happens to them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soak_parts.launch import Event, Launch
from tests.e2e.cli import overrides, read_journal

HISTORY = ("asked", "epoch", "failed", "diverged", "chosen", "given_up", "search_closed", "looked")
RUN = "run"
LIMIT_SECONDS = 300.0


@dataclass(frozen=True)
class Kind:
    """A campaign that is run again and again.

    Attributes:
        name: What it is called.
        arguments: Of `pcsearch tune`.
        width: Trials at once; with one, everything must come out as in the undisturbed run.
    """

    name: str
    arguments: tuple[str, ...] = field(repr=False)
    width: int = 1


def _kind(name: str, classes: list[int], width: int = 1, **sections: dict[str, object]) -> Kind:
    arguments = (
        "quickstart",
        "datasets=[digits]",
        f"data.classes={classes}",
        "image.per_dataset={digits: {resize: 40, crop: 32}}",  # at 16 pixels it ends too soon
        *overrides(**sections, resources={"max_concurrent": width}),
    )
    return Kind(name, arguments, width)


_MANY = {
    "search": {"trials": 3},
    "asha": {"max_epochs": 6, "grace_epochs": 2, "reduction_factor": 2, "full_trainings": 1},
    "finalists": {"configs": 1, "repeats": 1},
    "confirm": {"seeds": 2, "epochs": 3},
}
_LONG = {
    "search": {"trials": 1},
    "asha": {"max_epochs": 24, "grace_epochs": 8, "reduction_factor": 2},
    "finalists": {"configs": 0, "repeats": 0},
    "confirm": {"seeds": 1, "epochs": 12},
}
_BRIEF = {
    **_LONG,
    "asha": {"max_epochs": 12, "grace_epochs": 6, "reduction_factor": 2},
    "confirm": {"seeds": 1, "epochs": 6},
}
KINDS = {
    kind.name: kind
    for kind in (
        _kind("many", [1, 7, 8, 9], **_MANY),  # many decisions, no trial longer than a second
        _kind("long", [0, 1, 2, 3, 4, 5, 6, 7], **_LONG),  # several checkpoints a trial
        _kind("pair", [0, 1, 2, 3, 4, 5, 6, 7], 2, **{**_LONG, "search": {"trials": 3}}),
        _kind("brief", [0, 1, 2, 3, 4, 5, 6, 7], **_BRIEF),  # for a soak of minutes
    )
}
USUAL = ("many", "long", "pair")


@dataclass(frozen=True)
class Reference:
    """How a campaign goes that nothing happens to."""

    history: list[Event]
    studies: list[dict[str, Any]]
    seconds: float


def history(events: list[Event]) -> list[Event]:
    """What was asked, measured and decided, in order; without what the clock says."""
    return [
        {key: value for key, value in event.items() if key not in ("t", "seconds")}
        for event in events
        if event["event"] in HISTORY
    ]


def studies(folder: Path) -> list[dict[str, Any]]:
    """The studies of a run's final summary, without the seconds they took."""
    summary = json.loads((folder / "summary.json").read_text())
    return [{k: v for k, v in study.items() if k != "seconds"} for study in summary["studies"]]


def reference(kind: Kind, folder: Path) -> Reference:
    """Run a campaign undisturbed.

    Raises:
        RuntimeError: it does not even do that.
    """
    (folder / "tmp").mkdir(parents=True)
    run = folder / "runs" / RUN
    arguments = ["tune", *kind.arguments, f"--name={RUN}", "--plain"]
    launch = Launch(folder, arguments, run / "journal.jsonl", folder / "tmp")
    code = launch.finish(LIMIT_SECONDS)
    if code != 0:
        raise RuntimeError(f"{kind.name} fails undisturbed, exit {code}:\n{launch.output}")
    return Reference(history(read_journal(run / "journal.jsonl")), studies(run), launch.age)
