"""`pcsearch audit`: what a run's journal proves, decided and computed again without training."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcsearch.errors import PcsearchError, UserError
from pcsearch.recipe.problems import show
from pcsearch.reporting.summary import summarise
from pcsearch.search.journal.journal_file import Mismatch
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import PREDICTIONS, predictions_name

if TYPE_CHECKING:
    from pcsearch.runs.folder import RunFolder

_ROUNDING = 1e-6
"""Points by which a stored number may differ from one that another machine computes."""

_NOT_RESULTS = ("notes", "what_now", "mismatches", "unsealed_lines", "status")
"""Parts of a stored summary that later versions word anew."""


@dataclass(frozen=True)
class Check:
    """One thing that was checked: what it showed, and the places that contradict it."""

    name: str
    told: str
    wrong: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.wrong


def audit(folder: RunFolder) -> tuple[Check, ...]:
    """Check a run: journal, decisions, test images, predictions, and the stored summary."""
    try:
        state = folder.state()
    except UserError as error:
        return (Check("journal", "it cannot be read", (str(error),)),)
    events = list(folder.events())
    kinds = Counter(event["event"] for event in events)
    return (
        _journal(state, sum(kinds.values())),
        Check(
            "decisions",
            f"decided again: trials asked {kinds['asked']}, epochs judged {kinds['epoch']}, "
            f"choices {kinds['chosen']}, looks at the test images {kinds['looked']}",
            tuple(str(one) for one in state.mismatches if not _is_seal(one)),
        ),
        _test_images(events),
        _predictions(folder, state),
        _stored_summary(folder, state, events),
    )


def _is_seal(mismatch: Mismatch) -> bool:
    return "seal" in mismatch.what


def _journal(state: CampaignState, lines: int) -> Check:
    wrong = tuple(str(one) for one in state.mismatches if _is_seal(one))
    if state.unsealed:
        told = f"{lines} lines, the first {state.unsealed} without a seal (an earlier version)"
    else:
        told = f"{lines} lines, each sealed with all before it"
    return Check("journal", told, wrong)


def _test_images(events: list[dict[str, Any]]) -> Check:
    """Test images are opened in the confirm phase alone, after the arm's choice."""
    specs: dict[str, dict[str, Any]] = {}
    chosen: set[tuple[str, str]] = set()
    wrong, opened = [], 0
    for number, event in enumerate(events, 1):
        if event["event"] == "asked":
            specs[event["spec"]["trial"]] = event["spec"]
        elif event["event"] == "chosen":
            chosen.add((event["study"], event["arm"]))
        elif event.get("test") is not None:
            spec = specs.get(event.get("trial", ""), {})
            opened += 1
            if spec.get("phase") != "confirm" or (spec["study"], spec["arm"]) not in chosen:
                wrong.append(
                    f"line {number}: {event.get('trial')} measured test images before its arm's "
                    "configuration was chosen"
                )
    told = f"opened by {opened} trials, each after its arm's choice" if opened else "never opened"
    return Check("test images", told, tuple(wrong))


def _predictions(folder: RunFolder, state: CampaignState) -> Check:
    """The files that trials left, against the hashes in the journal."""
    kept = {name: trial.predictions for name, trial in state.trials.items() if trial.predictions}
    wrong = []
    for name, sha256 in kept.items():
        file = f"{PREDICTIONS}/{predictions_name(name)}"
        try:
            content = folder.read_bytes(file)
        except (OSError, PcsearchError) as error:
            wrong.append(f"{file} cannot be read: {error}")
            continue
        if hashlib.sha256(content).hexdigest() != sha256:
            wrong.append(f"{file} is not what {name} wrote: its SHA-256 differs")
    told = f"{len(kept)} files, with the hashes of the journal" if kept else "none were kept"
    return Check("predictions", told, tuple(wrong))


def _stored_summary(folder: RunFolder, state: CampaignState, events: list[dict[str, Any]]) -> Check:
    """The stored table against one that is computed from the journal alone."""
    name = "summary"
    text = folder.read_text("summary.json")
    if text is None:
        told = "not stored yet" if state.status == "running" else "summary.json is missing"
        return Check(name, told, () if state.status == "running" else (told,))
    if state.status == "running":
        ends = [event["event"] for event in events if event["event"] in ("ended", "resumed")]
        if ends and ends[-1] == "resumed":
            return Check(name, "not compared: the run was resumed after it was stored")
        lost = "summary.json was written at the campaign's end, which the journal lacks"
        return Check(name, "stored", (lost,))
    try:
        stored = json.loads(text)
    except ValueError:
        return Check(name, "summary.json", ("summary.json is no JSON",))
    again = json.loads(json.dumps(summarise(state, read=folder.read_bytes).to_json()))
    wrong = tuple(_differences(stored, again, ""))
    return Check(name, "accuracies, gains, intervals and verdicts, computed again", wrong)


def _differences(stored: Any, again: Any, path: str) -> Iterator[str]:
    """Where two JSON values differ. Keys that only one has come from another version."""
    if isinstance(stored, dict) and isinstance(again, dict):
        for key in stored.keys() & again.keys() - set(_NOT_RESULTS if not path else ()):
            yield from _differences(stored[key], again[key], f"{path}.{key}" if path else key)
    elif isinstance(stored, list) and isinstance(again, list) and len(stored) == len(again):
        for index, (one, other) in enumerate(zip(stored, again, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif _is_number(stored) and _is_number(again):
        if abs(stored - again) > _ROUNDING * max(1.0, abs(again)):
            yield f"summary.json says {path} is {stored}, the journal {again}"
    elif stored != again and not (path.endswith(".analysis") and stored is None):
        yield f"summary.json says {path} is {show(stored)}, the journal {show(again)}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
