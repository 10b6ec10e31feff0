"""The live view on a terminal: what it writes is interpreted by a small screen of our own."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from pcsearch.cli.views.live import REPAINT_SECONDS, LiveView
from pcsearch.search.plan import Plan
from pcsearch.search.state import CampaignState
from tests.cli.campaigns import arm, drive, plan

CONTROL = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])")
FOLDER = Path("runs/demo-1")


class Screen:
    """As much of a terminal as the view uses: cursor up, column one, erase line, scrolling."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines = [""] * rows
        self.row = self.column = 0
        self.scrolled: list[str] = []
        self.cursor_shown = True

    def feed(self, text: str) -> None:
        position = 0
        while position < len(text):
            if match := CONTROL.match(text, position):
                self._control(*match.groups())
                position = match.end()
                continue
            self._put(text[position])
            position += 1

    def _control(self, argument: str, kind: str) -> None:
        if kind == "A":
            self.row = max(0, self.row - int(argument or 1))
        elif kind == "K":
            self.lines[self.row] = ""
        elif kind in "hl" and argument == "?25":
            self.cursor_shown = kind == "h"
        elif kind == "J":
            self.lines, self.row, self.column = [""] * self.rows, 0, 0
        elif kind not in "mH":
            raise AssertionError(f"unexpected control {argument}{kind}")

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.column = 0
            self.row += 1
            if self.row == self.rows:
                self.scrolled.append(self.lines.pop(0))
                self.lines.append("")
                self.row -= 1
        else:
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1
            assert self.column <= self.columns, "a line is wider than the terminal"


class Terminal:
    """A console whose output is shown on a screen."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.stream = io.StringIO()
        self.screen = Screen(columns, rows)
        self.console = Console(
            file=self.stream, width=columns, height=rows, force_terminal=True, highlight=False
        )

    def update(self) -> list[str]:
        self.screen.feed(self.stream.getvalue())
        self.stream.seek(0)
        self.stream.truncate()
        return self.screen.lines


@pytest.mark.parametrize(
    ("size", "width"),
    [((80, 24), 3), ((80, 24), 40), ((100, 30), 3), ((100, 30), 40), ((60, 15), 9)],
)
def test_a_whole_campaign_stays_in_its_region(size: tuple[int, int], width: int) -> None:
    terminal = Terminal(*size)
    now = [0.0]
    view = LiveView(terminal.console, clock=lambda: now[0])
    arms = (arm("control"), arm("pc"), arm("label_smoothing"))
    one = plan(arms=arms)
    titles = []

    def tick(state: CampaignState, seconds: float) -> None:
        now[0] = seconds
        view.tick(state, seconds, width)
        screen = terminal.update()
        titles.append(sum("elapsed" in line for line in screen))
        assert "elapsed" in screen[0]
        assert not terminal.screen.cursor_shown

    view.preparing("digits images", 10, 100)
    assert "preparing digits images: 10 of 100" in terminal.update()[0]
    view.preparing("digits images", 100, 100)
    view.started(FOLDER, one, width)
    drive(one, listener=view.event, tick=tick, max_concurrent=width)
    view.finished("complete")

    screen = terminal.update()
    assert set(titles) == {1}, "a frame was torn or left behind"
    assert not terminal.screen.scrolled
    assert screen[0].startswith("demo complete after ")
    left = [line.strip() for line in screen if line.strip()]
    assert len(left) <= 3
    assert left[-1] == str(FOLDER)
    assert terminal.screen.cursor_shown


def test_repaints_at_most_four_times_a_second() -> None:
    terminal = Terminal()
    now = [0.0]
    view = LiveView(terminal.console, clock=lambda: now[0])
    frames = 0
    state = drive(plan(), listener=view.event, until=5).state
    for step in range(100):  # ten seconds, ten ticks a second
        now[0] = step / 10
        view.tick(state, now[0], 3)
        frames += bool(terminal.stream.getvalue())
        terminal.update()
    view.close()
    assert 20 <= frames <= 10 / REPAINT_SECONDS


def test_what_others_print_goes_above_and_tears_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    now = [0.0]
    view = LiveView(terminal.console, clock=lambda: now[0])
    state = drive(plan(), listener=view.event, until=5).state
    view.tick(state, 5, 3)
    print("a line of a library")  # noqa: T201
    now[0] = 1
    view.tick(state, 6, 3)
    screen = terminal.update()
    assert screen[0].strip() == "a line of a library"
    assert sum("elapsed" in line for line in screen) == 1
    view.close()
    assert "elapsed" not in "".join(terminal.update())


def test_a_resized_terminal_is_drawn_afresh() -> None:
    terminal = Terminal(100, 30)
    now = [0.0]
    view = LiveView(terminal.console, clock=lambda: now[0])
    state = drive(plan(), listener=view.event, until=5).state
    view.tick(state, 5, 3)
    terminal.update()
    terminal.console.size = (70, 20)
    terminal.screen.columns = 100
    now[0] = 1
    view.tick(state, 6, 3)
    screen = [line.rstrip() for line in terminal.update()]
    assert "0:06 elapsed" in screen[0]
    assert max(map(len, screen)) <= 70
    view.close()


def test_close_is_safe_before_and_after_anything() -> None:
    terminal = Terminal()
    view = LiveView(terminal.console)
    view.close()
    view.preparing("digits", 1, 2)
    view.close()
    view.close()
    view.finished("failed")
    assert not "".join(terminal.update()).strip()
    assert terminal.screen.cursor_shown


def test_a_second_campaign_starts_clean() -> None:
    terminal = Terminal()
    now = [0.0]
    view = LiveView(terminal.console, clock=lambda: now[0])

    def run(one: Plan) -> None:
        view.started(FOLDER, one, 3)

        def tick(state: CampaignState, seconds: float) -> None:
            now[0] += 1
            view.tick(state, seconds, 3)

        drive(one, listener=view.event, tick=tick)
        view.finished("complete")

    run(plan())
    run(plan(("digits/vgg16",)))
    screen = [line.rstrip() for line in terminal.update() if line.strip()]
    assert [line.split(" after ")[0] for line in screen if "after" in line] == ["demo complete"] * 2
