"""A campaign as lines of JSON, read from its run: for `pcsearch.cluster.follow`.

The journal is all that a reader needs. So a campaign of another terminal, or one without any, is
followed like one on a cluster.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pcsearch.cluster.follow import LINE_KEY
from pcsearch.runs.folder import RunFolder, shown_address
from pcsearch.search.journal.journal_file import encode
from pcsearch.search.state import replay

_LOOK_SECONDS = 0.5
_READING_SHARE = 0.05
"""The most of its time that a follower spends reading: long journals are read less often."""


def run_lines(folder: RunFolder) -> Iterator[str]:
    """The lines of a run's campaign so far, then those to come, until no process runs it.

    The time, and the number of trials at once, are estimates: the journal has neither between its
    events.

    Raises:
        UserError: the journal cannot be read.
    """
    held = folder.is_held()  # before reading, so that the last events are not missed
    began = time.monotonic()
    events = list(folder.events())
    state, count = replay(events), len(events)
    for event in events:
        yield _line("history", event=event)
    width = len(state.running) if held else 0
    run = str(shown_address(folder.address))
    yield _line("started", run=run, width=width, campaign=events[0])
    changed, read = time.monotonic() - max(0.0, time.time() - folder.modified()), 0.0
    while held:
        width = max(1, width, len(state.running))
        seconds = state.seconds + time.monotonic() - changed
        yield _line("tick", seconds=seconds, width=width)
        time.sleep(_LOOK_SECONDS)
        if not (held := folder.is_held()) or time.monotonic() > read:
            began = time.monotonic()
            for event in folder.events_after(count):
                state.apply(event)
                count += 1
                changed = time.monotonic()
                yield _line("event", event=event)
            read = time.monotonic() + (time.monotonic() - began) / _READING_SHARE
    status = "interrupted" if state.status == "running" else state.status
    yield _line("finished", status=status)


def _line(kind: str, **more: Any) -> str:
    return encode({LINE_KEY: kind, **more})
