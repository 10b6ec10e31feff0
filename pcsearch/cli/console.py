"""Where output goes: a console for people, bare JSON for scripts, and the view of a campaign."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console

if TYPE_CHECKING:
    from pcsearch.cli.live import LiveView
    from pcsearch.cli.plain import PlainLines
    from pcsearch.cluster.relay import EventLines

PIPED_COLUMNS = 120
"""Width of tables in a file or a pipe, where no terminal sets one; COLUMNS changes it."""


def console(stream: TextIO | None = None) -> Console:
    """The console on a stream, by default standard output; NO_COLOR and TERM are respected."""
    stream = stream or sys.stdout
    piped = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(file=stream, width=PIPED_COLUMNS if piped else None, highlight=False)


def observer(
    *, plain: bool = False, events: bool = False, stream: TextIO | None = None
) -> LiveView | PlainLines | EventLines:
    """A live view where the terminal can redraw, else plain lines; or a program's events."""
    # here, because they bring the recipe's models along, which most commands do without
    from pcsearch.cli.live import LiveView
    from pcsearch.cli.plain import PlainLines

    stream = stream or sys.stdout
    if events:
        from pcsearch.cluster.relay import EventLines

        return EventLines(stream)
    terminal = console(stream)
    if plain or not stream.isatty() or terminal.is_dumb_terminal:
        return PlainLines(stream)
    return LiveView(terminal)


def write_json(content: Any, *, indent: int | None = None) -> None:
    """One JSON value on standard output, without colour or wrapping."""
    sys.stdout.write(json.dumps(content, indent=indent, allow_nan=False) + "\n")
