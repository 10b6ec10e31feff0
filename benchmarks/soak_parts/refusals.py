"""What a campaign must refuse to go on with, or must not even notice, and is undone afterwards."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from pcsearch.search.journal.journal_file import sealed

NOBODY = 65534


@dataclass(frozen=True)
class Refusal:
    """Something under which `pcsearch resume` must end with code 2 and say why.

    Attributes:
        kind: What is done.
        how: By which means.
        made: Does it to a campaign's folder and run, and undoes it; yields what exactly, None
            where there was nothing to do it to.
        says: What the message must hold.
        needs_root: Whether it mounts something.
        passes_when_done: Whether a run with nothing left to run takes no notice of it.
    """

    kind: str
    how: str
    made: Callable[[Path, Path, Random], AbstractContextManager[str | None]]
    says: re.Pattern[str]
    needs_root: bool = False
    passes_when_done: bool = False


@contextmanager
def _edited(folder: Path, run: Path, random: Random) -> Iterator[str | None]:
    """One figure or decision changed by hand, or with all seals computed anew."""
    journal = run / "journal.jsonl"
    before = journal.read_bytes() if journal.is_file() else b""
    events = [json.loads(line) for line in before.rpartition(b"\n")[0].splitlines()]
    places = [(event, edit) for event in events for edit in EDITS if edit.fits(event)]
    if not places:
        yield None
        return
    event, edit = random.choice(places)
    edit.apply(event)
    anew = random.random() < 0.5
    if anew:
        lines, head = [], ""
        for one in events:
            one.pop("seal", None)
            line, head = sealed(one, head)
            lines.append(line)
        journal.write_bytes(b"".join(lines))
    else:
        journal.write_bytes("".join(f"{json.dumps(one)}\n" for one in events).encode())
    try:
        yield f"{edit.what}{', sealed anew' if anew else ''}"
    finally:
        journal.write_bytes(before)


@dataclass(frozen=True)
class Edit:
    """A change of one event that its campaign's own rules contradict."""

    what: str
    fits: Callable[[dict[str, Any]], bool]
    apply: Callable[[dict[str, Any]], None]


def _is_measured(event: dict[str, Any]) -> bool:
    return event["event"] == "epoch" and event["value"] is not None


def _turned(event: dict[str, Any]) -> None:
    event["decision"] = "prune" if event["decision"] == "continue" else "continue"


EDITS = (
    Edit(
        "a value raised",
        _is_measured,
        lambda event: event.update(value=(event["value"] + 20) % 100),
    ),
    Edit("a decision turned", _is_measured, _turned),
    Edit(
        "a seed changed",
        lambda event: event["event"] == "asked",
        lambda event: event["spec"]["config"].update(seed=event["spec"]["config"]["seed"] + 1),
    ),
    Edit(
        "a rate out of its range",
        lambda event: event["event"] == "asked" and event["spec"]["phase"] == "search",
        lambda event: event["spec"]["config"].update(lr=1000.0),
    ),
)


@contextmanager
def _full_tmp(folder: Path, run: Path, random: Random) -> Iterator[str | None]:
    with _mounted("-t", "tmpfs", "-o", "size=64k", "tmpfs", folder / "tmp"):
        yield ""


@contextmanager
def _read_only(folder: Path, run: Path, random: Random) -> Iterator[str | None]:
    if not (run / "journal.jsonl").is_file():
        yield None
        return
    with _mounted("--bind", run, run):
        subprocess.run(["mount", "-o", "remount,bind,ro", run], check=True)
        yield ""


@contextmanager
def _mounted(*arguments: str | Path) -> Iterator[None]:
    subprocess.run(["mount", *map(str, arguments)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(arguments[-1])], check=True)


REFUSALS = {
    refusal.kind: refusal
    for refusal in (
        Refusal(
            "journal edited",
            "rewritten",
            _edited,
            re.compile("of the journal|the journal is damaged"),
        ),
        Refusal("TMPDIR full", "a tmpfs of 64 kB", _full_tmp, re.compile("TMPDIR"), True, True),
        Refusal("run read-only", "a bind mount", _read_only, re.compile("[Rr]ead-only"), True),
    )
}


def neighbour(tmp: Path) -> list[str]:
    """Try, as another user, to take the sockets of a running session; what was reached.

    A child with that user's rights goes through the folder for temporary files and unlinks every
    socket and file that it can find.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        found = []
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            for place, _, names in os.walk(tmp):
                for name in names:
                    try:
                        Path(place, name).unlink()
                        found.append(name)
                    except OSError:
                        continue
        finally:
            os.write(writer, json.dumps(found[:20]).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        reached: list[str] = json.loads(told.read() or b'["nothing was told"]')
    os.waitpid(child, 0)
    return reached
