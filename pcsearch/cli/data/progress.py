"""Progress of downloads, checks and decoding: bars on a terminal, else plain lines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Protocol, TextIO

import typer

from pcsearch.cli.ctrl_c import EXIT_INTERRUPTED
from pcsearch.cli.views.text import short_duration
from pcsearch.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from pcsearch.data.download import FetchStep

_LINE_SECONDS = 30.0
_BAR_CELLS = 12
_DOWNLOADING = "downloading "


class ProgressDisplay(Protocol):
    """A `DownloadProgress` that also counts other things than bytes."""

    def moved(
        self, step: FetchStep, file: str, done_bytes: int, total_bytes: int | None
    ) -> None: ...

    def counted(self, what: str, done: int, total: int) -> None:
        """Report that `done` of `total` items (of kind `what`, such as images) are done."""

    def noted(self, line: str) -> None: ...


@contextlib.contextmanager
def show_progress(stream: TextIO, interrupted: str = "interrupted") -> Iterator[ProgressDisplay]:
    """Show progress on a stream during the block; bars disappear at its end.

    Ctrl-C in the block prints `interrupted` and ends the command with exit code 130.
    """
    from pcsearch.cli.console import console

    terminal = console(stream)
    try:
        if not stream.isatty() or terminal.is_dumb_terminal:
            yield Lines(stream)
        else:
            yield from _bars(terminal)
    except KeyboardInterrupt:
        stream.write(f"{interrupted}\n")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _bars(terminal: Console) -> Iterator[Bars]:
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    from pcsearch.cli.console import printed_above

    class HowFar(ProgressColumn):
        """Makes its words when a frame is drawn, so they are always current."""

        def render(self, task: Task) -> Text:
            words: Callable[[], str] = task.fields["words"]
            return Text(words(), no_wrap=True)

    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=_BAR_CELLS),
        HowFar(),
        console=terminal,
        transient=True,
        refresh_per_second=4,
    )
    with printed_above(terminal), bars:
        yield Bars(bars)


class Pace:
    """Speed since the first report, so resumed bytes do not count."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, resumes: bool = False
    ) -> None:
        self._clock, self._resumes = clock, resumes
        self._began = clock()
        self._first: int | None = None
        self.done = 0
        self.total: int | None = None

    def report(self, done: int, total: int | None) -> None:
        if self._first is None or done < self.done:
            self._first, self._began = done, self._clock()
        self.done, self.total = done, total

    @property
    def resumed_bytes(self) -> int:
        """Bytes from an earlier download."""
        return (self._first or 0) if self._resumes else 0

    @property
    def per_second(self) -> float | None:
        """The speed; None in the first second."""
        seconds = self._clock() - self._began
        return (self.done - (self._first or 0)) / seconds if seconds >= 1 else None

    @property
    def seconds_left(self) -> float | None:
        speed = self.per_second
        return (self.total - self.done) / speed if self.total is not None and speed else None


def how_far(pace: Pace, *, is_bytes: bool) -> str:
    """`20.0 of 45.6 MB, 3.2 MB/s, ~0:10 left`, as far as known."""
    from pcsearch.io import human_bytes

    done, total = pace.done, pace.total
    if not is_bytes:
        parts = [f"{done:,} of {total or 0:,}"]
    elif total is None:
        parts = [human_bytes(done)]
    else:
        (number, _, unit), whole = human_bytes(done).partition(" "), human_bytes(total)
        same = whole.endswith(f" {unit}")
        parts = [f"{number if same else human_bytes(done)} of {whole}"]
    speed = pace.per_second
    if pace.resumed_bytes and speed is None:
        parts.append(f"resuming at {human_bytes(pace.resumed_bytes)}")
    if speed and is_bytes:
        parts.append(f"{human_bytes(int(speed))}/s")
    left = pace.seconds_left
    if left is not None:
        parts.append(f"~{short_duration(left)} left")
    return ", ".join(parts)


class Lines:
    """A line at the start, every half minute, and at the end."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._now = ""
        self._pace = Pace(clock)
        self._said = 0.0

    def moved(self, step: FetchStep, file: str, done_bytes: int, total_bytes: int | None) -> None:
        self._report(f"{step} {file}", done_bytes, total_bytes, is_bytes=True)

    def counted(self, what: str, done: int, total: int) -> None:
        self._report(what, done, total, is_bytes=False)

    def noted(self, line: str) -> None:
        self._stream.write(f"{printable(line)}\n")
        self._stream.flush()

    def _report(self, what: str, done: int, total: int | None, *, is_bytes: bool) -> None:
        now = self._clock()
        begins = what != self._now
        if begins:
            self._now = what
            self._pace = Pace(self._clock, resumes=what.startswith(_DOWNLOADING))
        self._pace.report(done, total)
        if begins or now - self._said >= _LINE_SECONDS or (total == done and total):
            self._said = now
            self.noted(f"{what}: {how_far(self._pace, is_bytes=is_bytes)}")
        if total == done and total:
            self._now = ""


class Bars:
    """One bar for the current step."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._what = ""
        self._pace = Pace()

    def moved(self, step: FetchStep, file: str, done_bytes: int, total_bytes: int | None) -> None:
        self._report(f"{step} {file}", done_bytes, total_bytes, is_bytes=True)

    def counted(self, what: str, done: int, total: int) -> None:
        self._report(what, done, total, is_bytes=False)

    def noted(self, line: str) -> None:
        from rich.text import Text

        self._bars.console.print(Text(line))

    def _report(self, what: str, done: int, total: int | None, *, is_bytes: bool) -> None:
        if what != self._what:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._what, self._task = what, None
            self._pace = Pace(resumes=what.startswith(_DOWNLOADING))
        self._pace.report(done, total)
        if self._task is None:
            words = partial(how_far, self._pace, is_bytes=is_bytes)
            self._task = self._bars.add_task(what, total=total, completed=done, words=words)
        self._bars.update(self._task, total=total, completed=done)
