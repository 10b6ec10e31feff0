"""Which view a stream gets, on a pseudo-terminal and on a pipe."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Iterator
from typing import TextIO

import pytest

from pcsearch.cli.console import PIPED_COLUMNS, broken_at_words, console, observer
from pcsearch.cli.views.live import LiveView
from pcsearch.cli.views.plain import PlainLines
from tests.cli.campaigns import drive, plan


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TextIO, int]]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        yield stream, ours
    os.close(ours)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('override x=3: unknown key, did you mean "trials"?', [
            'override x=3: unknown key, did', 'you mean "trials"?',
        ]),
        ("no folder /data/a-very-long/folder-name-with/many-parts; give another", [
            "no folder", "/data/a-very-long/folder-name-with/many-parts;", "give another",
        ]),
        ("error: lost; resume with: pcsearch resume runs/first --address a", [
            "error: lost; resume with:", "pcsearch resume runs/first --address a",
        ]),
        ("one\n  two; `a long command of words with blanks` lists it", [
            "one", "  two;", "`a long command of words with blanks`", "lists it",
        ]),
    ],
)  # fmt: skip
def test_words_names_and_commands_stay_whole(text: str, lines: list[str]) -> None:
    assert broken_at_words(text, 30).split("\n") == lines
    assert broken_at_words(text, 200) == text


def test_a_terminal_gets_the_live_view(terminal: tuple[TextIO, int]) -> None:
    assert isinstance(observer(stream=terminal[0]), LiveView)
    assert isinstance(observer(stream=terminal[0], plain=True), PlainLines)


def test_a_pipe_gets_plain_lines_and_wide_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(observer(stream=io.StringIO()), PlainLines)
    assert console(io.StringIO()).width == PIPED_COLUMNS


def test_a_dumb_terminal_gets_plain_lines(
    terminal: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(observer(stream=terminal[0]), PlainLines)


@pytest.mark.parametrize("no_color", [False, True])
def test_no_color_is_respected(
    terminal: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch, no_color: bool
) -> None:
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    stream, ours = terminal
    view = observer(stream=stream)
    state = drive(plan(), listener=view.event, until=5).state
    view.tick(state, 5.0, 3)
    view.close()
    stream.write("<end>")
    stream.flush()
    arrived = b""
    while b"<end>" not in arrived:  # what is written to a terminal comes piece by piece
        arrived += os.read(ours, 1 << 16)
    shown = arrived.decode()
    assert "digits/compact_cnn" in shown
    coloured = any(f"\x1b[{code}m" in shown for code in ("36", "32", "31", "33"))
    assert coloured != no_color
