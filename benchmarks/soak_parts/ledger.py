"""The faults that were tried: a line each as they happen, a table of their kinds at the end."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Fault:
    """One fault.

    Attributes:
        kind: What was done.
        how: By which means.
        campaign: To which campaign.
        detail: Where exactly.
        second: When, counted from the soak's beginning.
        wrong: What did not survive it; empty where everything did.
        epochs: Epochs that were trained a second time because of it.
        seconds: What these took.
    """

    kind: str
    how: str
    campaign: str
    detail: str
    second: float
    wrong: list[str] = field(default_factory=list)
    epochs: int = 0
    seconds: float = 0.0


class Ledger:
    """All faults so far."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.skipped: dict[str, str] = {}
        """Kinds that cannot be tried here, and why."""
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def kinds(self) -> set[str]:
        return {fault.kind for fault in self.faults}

    def add(self, kind: str, how: str, campaign: str, detail: str) -> Fault:
        fault = Fault(kind, how, campaign, detail, round(self.seconds, 1))
        self.faults.append(fault)
        self.say(
            f"fault {len(self.faults):3}  {campaign}: {kind}{f' ({detail})' if detail else ''}"
        )
        return fault

    def say(self, text: str) -> None:
        print(f"[{self.seconds:6.1f} s] {text}", flush=True)

    def not_survived(self) -> list[Fault]:
        return [fault for fault in self.faults if fault.wrong]


def table(faults: Iterable[Fault], skipped: dict[str, str]) -> str:
    """Markdown: kind, means, tried, survived, epochs trained again and the seconds these took."""
    rows: dict[tuple[str, str], list[Fault]] = {}
    everything = list(faults)
    for fault in everything:
        rows.setdefault((fault.kind, fault.how), []).append(fault)
    head = ["fault", "how", "tried", "survived", "epochs trained again", "seconds of that"]
    lines = [head, ["---"] * len(head)]
    for (kind, how), of_kind in sorted(rows.items()):
        lines.append([kind, how, *_counts(of_kind)])
    lines.append(["all", "", *_counts(everything)])
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    for kind, reason in skipped.items():
        text += f"\nnot tried: {kind}: {reason}"
    return text


def _counts(faults: list[Fault]) -> list[str]:
    survived = sum(not fault.wrong for fault in faults)
    epochs = sum(fault.epochs for fault in faults)
    seconds = sum(fault.seconds for fault in faults)
    return [str(len(faults)), str(survived), str(epochs), f"{seconds:.1f}"]


def as_json(ledger: Ledger) -> dict[str, Any]:
    return {"faults": [asdict(fault) for fault in ledger.faults], "skipped": ledger.skipped}
