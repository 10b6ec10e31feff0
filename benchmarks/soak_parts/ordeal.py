"""One campaign from its first launch to its end, with faults all along."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from soak_parts import disk
from soak_parts.campaigns import LIMIT_SECONDS, RUN, Kind, Reference
from soak_parts.checking import unsaved, wrong_at_the_end
from soak_parts.deck import Deck
from soak_parts.ends import AT_THE_END, CONFIRMING, ENDS, End, wrong_end
from soak_parts.files import CHECKPOINT_FAULTS, FILE_FAULTS, FileFault, Place
from soak_parts.launch import HungError, Launch
from soak_parts.ledger import Fault, Ledger
from soak_parts.losses import CLOCK_BACK, HOW, KILLED, NEIGHBOUR, PAUSED, STOPPED, STRIKES
from soak_parts.moments import searching
from soak_parts.refusals import REFUSALS
from tests.e2e.cli import Process, read_journal

GONE_SECONDS = 45.0
LATE = [CONFIRMING, AT_THE_END]
LAUNCHES = 14
"""With faults; then it is left to run to its end."""

EDITED = "journal edited"
CHEAP = {*ENDS, *FILE_FAULTS, KILLED, EDITED, CLOCK_BACK}
REFUSED = 2
NOTHING_LEFT = "nothing is left to run"
DURING: list[tuple[str, ...]] = [
    (), (CLOCK_BACK,), (KILLED,), (KILLED, NEIGHBOUR), (KILLED, KILLED)
]  # fmt: skip
"""Losses in one launch."""


class Decks:
    """What comes next, over all campaigns.

    Args:
        random: Chance.
        dear: Whether workers are killed often, and stopped, too, which takes half a minute each;
            else more is done to files between two launches, which takes no time.
        with_disk: Whether disks can be filled up.

    Attributes:
        hurried: Whether each kind should be tried soon: what was not tried yet comes first, and
            as long as a fault of checkpoints is among it, drivers are struck when there is one.
    """

    def __init__(self, random: Random, *, dear: bool, with_disk: bool) -> None:
        full = [disk.FULL, disk.BRIEFLY] if with_disk else []
        last = [] if dear else LATE  # so that one campaign may see them all
        self.ends = Deck([*(end for end in ENDS if end not in last), *full], random, last)
        self.files = Deck([*FILE_FAULTS], random)
        self.files_at_once = (2, 4) if dear else (4, 6)
        self.hurried = not dear
        often = [*DURING * 3, (STOPPED,), (PAUSED,)]
        self.during = Deck(often if dear else [*[()] * 4, (KILLED,), (CLOCK_BACK,)], random)
        mounts = with_disk and dear
        allowed = [kind for kind, of in REFUSALS.items() if mounts or not of.needs_root]
        self.refusals = Deck(allowed, random)


class Ordeal:
    """One campaign, disturbed.

    Args:
        name: Of this campaign, for the ledger.
        kind: What is run.
        reference: The same, undisturbed.
        folder: Where; made.
        decks: What is done to it.
        random: Chance, for when and where exactly.
        ledger: Told of everything.
        on_small_disk: Whether its runs lie on a disk that can be filled up.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        reference: Reference,
        folder: Path,
        decks: Decks,
        random: Random,
        ledger: Ledger,
        *,
        on_small_disk: bool,
    ) -> None:
        self.wrong: list[str] = []
        self._name = name
        self._kind = kind
        self._reference = reference
        self._folder = folder
        self._run = folder / "runs" / RUN
        self._decks = decks
        self._random = random
        self._ledger = ledger
        self._small_disk = on_small_disk
        self._own: list[Fault] = []
        self._below: set[Process] = set()
        self._damaged: set[str] = set()
        self._repeatable = 0
        self._cause: Fault | None = None

    def go(self, enough: Callable[[], bool]) -> None:
        """Launch, disturb, go on, to the end and a check; without faults once there are enough."""
        (self._folder / "tmp").mkdir(parents=True)
        (self._folder / "tmp").chmod(0o1777)  # as /tmp is, for whoever reaches for the sockets
        launches, complete = 0, False
        while not complete and not self.wrong:
            launches += 1
            calm = launches > LAUNCHES or enough()
            complete = self._to_the_end() if calm else self._disturbed()
            if not complete and not calm and not self.wrong:
                self._change_files(self._random.randint(*self._decks.files_at_once))
                self._be_refused()
        if not self.wrong:
            self._change_files(2)
            self._to_the_end()
        if not self.wrong:
            self._wrong(self._checked(), None)
        self._ledger.say(
            f"{self._name}: {len(self._own)} faults in {launches} launches, "
            + ("NOT SURVIVED" if self.wrong else "all survived")
        )

    def _checked(self) -> list[str]:
        until = time.monotonic() + GONE_SECONDS
        while (left := [p for p in self._below if p.is_alive]) and time.monotonic() < until:
            time.sleep(0.5)
        wrong = [f"a process is still there: {process}" for process in left]
        return wrong + wrong_at_the_end(
            self._run,
            read_journal(self._run / "journal.jsonl"),
            self._reference,
            exact=self._kind.width == 1,
            repeatable=self._repeatable,
        )

    def _start(self) -> Launch:
        arguments = ["resume", RUN, "--plain"]
        if not (self._run / "recipe.yaml").is_file():  # killed before there was anything to go on
            shutil.rmtree(self._run, ignore_errors=True)
            arguments = ["tune", *self._kind.arguments, f"--name={RUN}", "--plain"]
        launch = Launch(self._folder, arguments, self._run / "journal.jsonl", self._folder / "tmp")
        self._repeatable += unsaved(self._run, launch.before, self._damaged)
        return launch

    def _to_the_end(self) -> bool:
        launch = self._start()
        self._wrong(wrong_end(launch, frozenset(), LIMIT_SECONDS), None)
        self._take(launch, [])
        return True

    def _disturbed(self) -> bool:
        """One launch with its faults; whether the campaign is complete."""
        kinds = {*ENDS, *([disk.FULL, disk.BRIEFLY] if self._small_disk else [])}
        ending = self._decks.ends.draw(kinds)
        assert ending is not None
        launch = self._start()
        lost: list[Fault] = []
        try:
            if not (ending in ENDS and ENDS[ending].at_start):
                lost = self._lose_workers(launch)
            fault = (
                self._end(ENDS[ending], launch) if ending in ENDS else self._full(ending, launch)
            )
        except HungError as error:
            launch.kill()
            self._below |= launch.below
            self._wrong([f"{error}, its output:\n{launch.output}"], None)
            return False
        if fault is None:
            self._decks.ends.put_back(ending)
            self._wrong(wrong_end(launch, frozenset()), None)
        self._take(launch, lost)
        self._cause = fault or self._cause
        return launch.end_code == 0

    def _lose_workers(self, launch: Launch) -> list[Fault]:
        found = []
        for kind in self._decks.during.draw([*DURING, (STOPPED,), (PAUSED,)]) or ():
            if kind == NEIGHBOUR and os.geteuid():
                continue  # nobody else to be
            detail = STRIKES[kind](launch, self._random)
            if detail is None:
                break
            found.append(self._add(kind, HOW[kind], detail))
            self._repeatable += unsaved(self._run, launch.everything, self._damaged)
        return found

    def _end(self, end: End, launch: Launch) -> Fault | None:
        if not (
            end.moment(launch, self._random)
            and (end.at_start or end.kind in LATE or self._checkpointed(launch))
            and end.strike(launch, self._random)
        ):
            return None
        at = launch.events[-1]["event"] if launch.events else f"{launch.age:.1f} s old"
        fault = self._add(end.kind, end.how, f"at: {at}")
        self._wrong(wrong_end(launch, end.codes), fault)
        return fault

    def _checkpointed(self, launch: Launch) -> bool:
        """Wait until a fault of checkpoints has something to damage; False when it ends before."""
        if not self._decks.hurried or self._ledger.kinds >= CHECKPOINT_FAULTS:
            return True
        place = Place(self._run, self._folder / "cache", self._random)
        return bool(place.newest()) or launch.wait(lambda new: bool(place.newest()))

    def _full(self, kind: str, launch: Launch) -> Fault | None:
        """Fill the disk; go on while it is full, which is refused; free it."""
        runs = self._folder / "runs"
        if not searching(launch, self._random):
            return None
        launch.note_below()
        fault = self._add(kind, disk.HOW, "")
        if kind == disk.BRIEFLY:
            disk.fill_for(runs, self._random.uniform(0.2, 1.5))
            self._wrong(wrong_end(launch, frozenset({REFUSED}), LIMIT_SECONDS), fault)
            return fault
        disk.fill(runs)
        self._wrong(wrong_end(launch, frozenset({REFUSED})), fault)
        if launch.end_code and (self._run / "recipe.yaml").is_file():
            again = self._start()
            again.finish(LIMIT_SECONDS)
            if again.end_code != REFUSED or "Traceback" in again.output:
                self._wrong([f"begun on a full disk: {again.end_code}, {again.output}"], fault)
        disk.free(runs)
        return fault

    def _be_refused(self) -> None:
        """Try to go on under what must not be gone on with; it is undone afterwards."""
        kind = self._decks.refusals.draw(set(REFUSALS))
        if kind is None or not (self._run / "recipe.yaml").is_file():
            return
        refusal = REFUSALS[kind]
        with refusal.made(self._folder, self._run, self._random) as detail:
            if detail is None:
                self._decks.refusals.put_back(kind)
                return
            fault = self._add(kind, refusal.how, detail)
            arguments = ["resume", RUN, "--plain"]
            journal, tmp = self._run / "journal.jsonl", self._folder / "tmp"
            launch = Launch(self._folder, arguments, journal, tmp)
            try:
                code, output = launch.finish(LIMIT_SECONDS), launch.output
            except HungError as error:
                self._wrong([f"{error}, its output:\n{launch.output}"], fault)
                return
            if refusal.passes_when_done and code == 0 and NOTHING_LEFT in output:
                return
            if code != REFUSED or "Traceback" in output or not refusal.says.search(output):
                self._wrong([f"{kind}, {detail}: code {code}, {output}"], fault)

    def _change_files(self, number: int) -> None:
        """So many things done to files, if there are so many that can be."""
        place = Place(self._run, self._folder / "cache", self._random)
        tried: list[str] = []
        while number > 0:
            allowed = {*FILE_FAULTS} - set(tried)
            if self._decks.hurried:
                allowed = allowed - self._ledger.kinds or allowed
            kind = self._decks.files.draw(allowed)
            if kind is None:
                break
            tried.append(kind)
            fault = FILE_FAULTS[kind]
            detail = fault.apply(place) if self._run.is_dir() else None
            if detail is not None:
                added = self._add(kind, fault.how, detail)
                self._note_damage(fault, detail, added)
                number -= 1
            else:
                self._decks.files.put_back(kind)

    def _note_damage(self, fault: FileFault, detail: str, added: Fault) -> None:
        if fault.damages:
            self._cause = added
            self._damaged.add(detail)

    def _take(self, launch: Launch, lost: list[Fault]) -> None:
        """Whose doing it is what the launch had to train again."""
        launch.look()
        self._below |= launch.below
        causes, waiting = {}, list(lost)
        for event in launch.events:
            if event["event"] == "retried" and waiting:
                causes[event["trial"]] = waiting.pop(0)
            elif event["event"] == "repeated":
                cause = causes.get(event["trial"], self._cause)
                if cause is not None:
                    cause.epochs += 1
                    cause.seconds += event["seconds"]

    def _add(self, kind: str, how: str, detail: str) -> Fault:
        fault = self._ledger.add(kind, how, self._name, detail)
        self._own.append(fault)
        return fault

    def _wrong(self, reasons: list[str], fault: Fault | None) -> None:
        """Note what went wrong: with one fault, or with whichever of all of them."""
        if not reasons:
            return
        self.wrong += reasons
        for one in self._own if fault is None else [fault]:
            one.wrong += reasons
        self._ledger.say(f"{self._name}: NOT SURVIVED: " + "\n".join(reasons))
