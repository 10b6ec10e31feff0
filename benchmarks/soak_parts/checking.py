"""What must hold of a run folder at the end, whatever happened to it before."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from soak_parts.campaigns import Reference, history, studies
from soak_parts.launch import Event


def wrong_at_the_end(
    run: Path, events: list[Event], reference: Reference, *, exact: bool, repeatable: int
) -> list[str]:
    """What does not hold of a campaign that should be complete.

    Args:
        run: Its folder.
        events: Its journal.
        reference: The same campaign, undisturbed.
        exact: Whether everything must be as there, in its order and bit for bit.
        repeatable: Epochs that came after a last checkpoint when their trial was begun again: no
            more may have been trained a second time.
    """
    wrong = _guarantees(events)
    if exact:
        wrong += _difference(history(events), reference.history)
    try:
        summary = json.loads((run / "summary.json").read_text())
    except (OSError, ValueError) as error:
        return [*wrong, f"summary.json: {error!r}"]
    if exact and studies(run) != reference.studies:
        wrong.append(f"the summary's studies differ: {studies(run)}\nfrom {reference.studies}")
    wrong += _of_summary(summary, events)
    if (repeated := len(_of_kind(events, "repeated"))) > repeatable:
        wrong.append(f"{repeated} epochs were trained again, but only {repeatable} were not saved")
    left = [str(path.relative_to(run)) for path in run.rglob(".*.tmp")]
    if left or (run / "checkpoints").exists():
        wrong.append(f"left over: {left or 'checkpoints'}")
    return wrong


def unsaved(run: Path, events: list[Event], damaged: set[str]) -> int:
    """Epochs of running trials that no usable checkpoint holds.

    Args:
        run: The run folder.
        events: Its journal.
        damaged: Names of checkpoints, with their folder's, that cannot be used.
    """
    last: dict[str, int] = {}
    for event in events:
        if event["event"] == "asked":
            last[event["spec"]["trial"]] = 0
        elif event["event"] == "epoch":
            last[event["trial"]] = event["epoch"]
            if event["decision"] != "continue":
                del last[event["trial"]]
    total = 0
    for trial, epoch in last.items():
        files = run.glob(f"checkpoints/{trial.replace('/', '.')}/a*-e*.pt")
        usable = [path for path in files if f"{path.parent.name}/{path.name}" not in damaged]
        saved = max((int(path.stem.partition("-e")[2]) for path in usable), default=0)
        total += max(0, epoch - saved)
    return total


def _guarantees(events: list[Event]) -> list[str]:
    """Each trial asked once, trained epoch by epoch, to an end; the campaign complete."""
    wrong = []
    asked = Counter(event["spec"]["trial"] for event in _of_kind(events, "asked"))
    wrong += [f"{trial} was asked {times} times" for trial, times in asked.items() if times > 1]
    for trial in asked:
        epochs = [event for event in _of_kind(events, "epoch") if event["trial"] == trial]
        if [event["epoch"] for event in epochs] != list(range(1, len(epochs) + 1)):
            wrong.append(f"{trial} has epochs {[event['epoch'] for event in epochs]}")
        if not epochs or epochs[-1]["decision"] == "continue":
            wrong.append(f"{trial} did not end")
    wrong += [f"{event['trial']} failed: {event['error']}" for event in _of_kind(events, "failed")]
    wrong += [f"given up: {event['reason']}" for event in _of_kind(events, "given_up")]
    if not events or events[-1].get("status") != "complete":
        wrong.append(f"the journal ends in {events[-1:]}")
    return wrong


def _difference(found: list[Event], expected: list[Event]) -> list[str]:
    for number, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            return [f"decision {number} is {one}\nand not {other}"]
    if len(found) != len(expected):
        return [f"{len(found)} decisions, not {len(expected)}"]
    return []


def _of_summary(summary: dict[str, Any], events: list[Event]) -> list[str]:
    wrong = []
    if summary["status"] != "complete":
        wrong.append(f"the summary says {summary['status']}")
    counted = summary["interruptions"]
    repeated = _of_kind(events, "repeated")
    facts = {
        "resumed": len(_of_kind(events, "resumed")),
        "retried": len(_of_kind(events, "retried")),
        "repeated_epochs": len(repeated),
        "differing_epochs": 0,
    }
    for key, value in facts.items():
        if counted[key] != value:
            wrong.append(f"the summary counts {counted[key]} {key}, the journal {value}")
    if not all(event["same"] for event in repeated):
        wrong.append("an epoch that was trained again measured something else")
    return wrong


def _of_kind(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["event"] == kind]
