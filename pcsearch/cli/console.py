"""Output: a console for people, bare JSON for scripts, and the end of a campaign."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sys
import textwrap
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
    from pcsearch.reporting.summary_types import Summary
    from pcsearch.search.observer import Observer
    from pcsearch.search.state import CampaignState

    class View(Observer, Protocol):
        """An observer that shows a campaign."""

        def close(self) -> None: ...


def print_summary(console: Console, summary: Summary) -> None:
    """Print the table of studies and its notes."""
    from pcsearch.reporting.tables import summary_table

    console.print(summary_table(summary, console.width))
    for note in summary.notes:
        console.print(Text(note))
    if summary.what_now:
        console.print(Text("\nWhat now?", "bold"))
    for line in summary.what_now:
        console.print(Text(line), soft_wrap=line.startswith(" "))


PIPED_COLUMNS = 120
"""Width of tables in a file or a pipe; COLUMNS changes it."""


class PrintableStream:
    """A standard stream that escapes everything that could control a terminal.

    Rich's consoles must control it. So they write to the stream below, which they find by the
    attribute of Rich's own proxies. `PrintableConsole` makes texts printable itself; consoles for
    help and usage errors get printable texts (`app.Commands`).
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream
        self.encoding = "utf-8"  # with ASCII, Typer would bypass this stream and write bytes

    def write(self, text: str) -> int:
        self.rich_proxied_file.write(printable_lines(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def guard_streams() -> None:
    """From now on, all output of this process is printable."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without λ must not fail
            setattr(sys, name, PrintableStream(stream))


class PrintableConsole(Console):
    """A console for plain texts: no markup, and only printable characters."""

    def __init__(self, file: TextIO, width: int | None = None) -> None:
        super().__init__(file=file, width=width, highlight=False, markup=False, emoji=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        # before lines are filled, so that columns stay aligned
        if isinstance(renderable, str):
            renderable = printable_lines(renderable)
        elif isinstance(renderable, Text):
            renderable = _printable(renderable)
        for segment in super().render(renderable, options):
            if segment.control is None and (text := printable_lines(segment.text)) != segment.text:
                segment = Segment(text, segment.style)
            yield segment


def _printable(text: Text) -> Text:
    """The same text if it is printable, else a printable copy with its styles."""
    if printable_lines(text.plain) == text.plain:
        return text
    shown = text.blank_copy()
    unseen = [at for at, one in enumerate(text.plain) if printable_lines(one) != one]
    for piece in text.divide(sorted({*unseen, *(at + 1 for at in unseen)})):
        piece.plain = printable_lines(piece.plain)
        shown.append_text(piece)
    return shown


class _Above(FileProxy):
    """A stream whose lines appear above a redrawn region, as text without colours."""

    def write(self, text: str) -> int:
        return super().write(printable_lines(text))


@contextlib.contextmanager
def printed_above(terminal: Console) -> Iterator[None]:
    """Print above the region that `terminal` redraws, so that output does not tear it.

    Rich's own redirection would interpret the output's escape sequences.
    """
    before = sys.stdout, sys.stderr
    if terminal.is_terminal:
        sys.stdout, sys.stderr = (_Above(terminal, stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def console(stream: TextIO | None = None) -> Console:
    """A console on a stream, by default standard output; respects NO_COLOR and TERM."""
    stream = stream or sys.stdout
    piped = not stream.isatty() and "COLUMNS" not in os.environ
    return PrintableConsole(stream, PIPED_COLUMNS if piped else None)


def observer(
    *, plain: bool = False, events: bool = False, stream: TextIO | None = None
) -> LiveView | PlainLines | EventLines:
    """A live view if the terminal can redraw, else plain lines; or events for programs."""
    # imported here: they import the recipe's models, which most commands do not need
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


_WHOLE = re.compile(r"`[^`\n]*`|\"[^\"\n]*\"|\bpcsearch [^;,()\n]*")
"""What stays in one piece to be copied: names in quotes, and commands."""


def broken_at_words(text: str, columns: int) -> str:
    """The text in lines of so many columns; a longer word, name or command stays in one piece.

    A terminal breaks lines within words, and a command that is broken cannot be pasted.
    """
    joined = _WHOLE.sub(lambda found: found[0].replace(" ", "\0"), text)
    lines = [
        textwrap.fill(
            line,
            columns,
            break_long_words=False,
            break_on_hyphens=False,
            expand_tabs=False,
            replace_whitespace=False,
        )
        for line in joined.split("\n")
    ]
    return "\n".join(lines).replace("\0", " ")


def say(text: str) -> None:
    """Write a message to standard error, broken at words on a terminal."""
    if sys.stderr.isatty():
        text = broken_at_words(text, shutil.get_terminal_size().columns)
    sys.stderr.write(f"{text}\n")


def note(line: str) -> None:
    """A line for the user that is no result, on standard error."""
    say(f"note: {line}")


def write_json(content: Any, *, indent: int | None = None) -> None:
    """One JSON value on standard output, without colour or wrapping."""
    sys.stdout.write(json.dumps(content, indent=indent, allow_nan=False) + "\n")


_EXIT_FAILED = 1
_EXIT_CODES = {"interrupted": EXIT_INTERRUPTED, "failed": _EXIT_FAILED}


class EndedCampaign(Protocol):
    """A campaign that has ended, here or on a cluster."""

    @property
    def state(self) -> CampaignState: ...

    @property
    def summary(self) -> Summary: ...

    @property
    def resume_command(self) -> str: ...


class Watch:
    """The view of campaigns that run one after another, and their exit code.

    Args:
        plain: Plain lines instead of the live view.
        events: JSON lines for programs instead of view and table.
    """

    def __init__(self, *, plain: bool, events: bool = False) -> None:
        self.observer: View = observer(plain=plain, events=events)
        self.exit_code = 0
        self._prints = not events

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *error: object) -> None:
        self.observer.close()

    def agrees(self) -> bool:
        """Whether a person here wants a campaign of more than a day; without a person, yes."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return True
        return typer.confirm("This takes more than a day. Start?", err=True)

    def ended(self, outcome: EndedCampaign) -> None:
        """Print a campaign's results, and how to resume it if it was interrupted."""
        status = outcome.summary.status
        if self._prints:
            print_summary(console(), outcome.summary)
            if status == "interrupted":
                typer.echo(f"interrupted; resume with: {outcome.resume_command}")
        if status in _EXIT_CODES:
            self.exit_code = _EXIT_CODES[status]
