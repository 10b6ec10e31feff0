"""Where output goes: a console for people, bare JSON for scripts, and the end of a campaign."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.file_proxy import FileProxy
from rich.segment import Segment
from rich.text import Text

from pcsearch.cli.ctrl_c import EXIT_INTERRUPTED
from pcsearch.printable import printable_lines

if TYPE_CHECKING:
    from pcsearch.cli.views.live import LiveView
    from pcsearch.cli.views.plain import PlainLines
    from pcsearch.cluster.follow import EventLines
    from pcsearch.reporting.models import Summary
    from pcsearch.search.state import CampaignState


def print_summary(console: Console, summary: Summary) -> None:
    """The table of studies and the notes on it."""
    from pcsearch.reporting.tables import summary_table

    console.print(summary_table(summary, console.width))
    for note in summary.notes:
        console.print(Text(note))


PIPED_COLUMNS = 120
"""Width of tables in a file or a pipe, where no terminal sets one; COLUMNS changes it."""


class PrintableStream:
    """A standard stream to which nothing is written that commands a terminal.

    Rich's consoles have to, so they write to the stream below, which they find by the attribute
    that Rich's own proxies have. The console of here makes texts printable itself; those that print
    help and mistakes in a command get printable texts (`app.main`).
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream
        self.encoding = "utf-8"  # Typer would write past a stream of ASCII, to the bytes below

    def write(self, text: str) -> int:
        self.rich_proxied_file.write(printable_lines(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def guard_streams() -> None:
    """From now on, whatever this process prints is printable."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without λ is no reason to fail
            setattr(sys, name, PrintableStream(stream))


class PrintableConsole(Console):
    """A console that takes texts for nothing but texts: no markup, and only what can be seen."""

    def __init__(self, file: TextIO, width: int | None = None) -> None:
        super().__init__(file=file, width=width, highlight=False, markup=False, emoji=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        # before lines are filled, so that columns stay in line
        if isinstance(renderable, str):
            renderable = printable_lines(renderable)
        elif isinstance(renderable, Text):
            renderable = _printable(renderable)
        for segment in super().render(renderable, options):
            if segment.control is None and (text := printable_lines(segment.text)) != segment.text:
                segment = Segment(text, segment.style)
            yield segment


def _printable(text: Text) -> Text:
    """The same text if it is printable, else a copy that is, its styles kept."""
    if printable_lines(text.plain) == text.plain:
        return text
    shown = text.blank_copy()
    unseen = [at for at, one in enumerate(text.plain) if printable_lines(one) != one]
    for piece in text.divide(sorted({*unseen, *(at + 1 for at in unseen)})):
        piece.plain = printable_lines(piece.plain)
        shown.append_text(piece)
    return shown


class _Above(FileProxy):
    """A stream of which each line appears above what a console redraws, as text and no colours."""

    def write(self, text: str) -> int:
        return super().write(printable_lines(text))


@contextlib.contextmanager
def printed_above(terminal: Console) -> Iterator[None]:
    """What is printed in the block does not tear the region that `terminal` redraws.

    Rich's own redirection obeys the colours of what is printed.
    """
    before = sys.stdout, sys.stderr
    if terminal.is_terminal:
        sys.stdout, sys.stderr = (_Above(terminal, stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def console(stream: TextIO | None = None) -> Console:
    """The console on a stream, by default standard output; NO_COLOR and TERM are respected."""
    stream = stream or sys.stdout
    piped = not stream.isatty() and "COLUMNS" not in os.environ
    return PrintableConsole(stream, PIPED_COLUMNS if piped else None)


def observer(
    *, plain: bool = False, events: bool = False, stream: TextIO | None = None
) -> LiveView | PlainLines | EventLines:
    """A live view where the terminal can redraw, else plain lines; or a program's events."""
    # here, because they bring the recipe's models along, which most commands do without
    from pcsearch.cli.views.live import LiveView
    from pcsearch.cli.views.plain import PlainLines

    stream = stream or sys.stdout
    if events:
        from pcsearch.cluster.follow import EventLines

        return EventLines(stream)
    terminal = console(stream)
    if plain or not stream.isatty() or terminal.is_dumb_terminal:
        return PlainLines(stream)
    return LiveView(terminal)


def write_json(content: Any, *, indent: int | None = None) -> None:
    """One JSON value on standard output, without colour or wrapping."""
    sys.stdout.write(json.dumps(content, indent=indent, allow_nan=False) + "\n")


_EXIT_FAILED = 1
_EXIT_CODES = {"interrupted": EXIT_INTERRUPTED, "failed": _EXIT_FAILED}


class EndedCampaign(Protocol):
    """One campaign's end, here or on a cluster."""

    @property
    def state(self) -> CampaignState: ...

    @property
    def summary(self) -> Summary: ...

    @property
    def resume_command(self) -> str: ...


class Watch:
    """The view of campaigns that run one after another, and the exit code that follows from them.

    Args:
        plain: Plain lines in place of the live view.
        events: A program's lines in place of view and table.
    """

    def __init__(self, *, plain: bool, events: bool = False) -> None:
        self.observer = observer(plain=plain, events=events)
        self.exit_code = 0
        self._prints = not events

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *error: object) -> None:
        self.observer.close()

    def ended(self, outcome: EndedCampaign) -> None:
        """Print what came of a campaign, and how to resume it if it was interrupted."""
        status = outcome.summary.status
        if self._prints:
            print_summary(console(), outcome.summary)
            if status == "interrupted":
                typer.echo(f"interrupted; go on with: {outcome.resume_command}")
        if status in _EXIT_CODES:
            self.exit_code = _EXIT_CODES[status]
