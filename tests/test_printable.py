"""No text commands a terminal or hides what stands beside it, whichever way it leaves."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from pcsearch.cli.console import PrintableStream, console, guard_streams, printed_above
from pcsearch.cli.data.progress import Lines
from pcsearch.cli.views.plain import PlainLines
from pcsearch.errors import NodeError, UserError
from pcsearch.printable import encodable, file_name, printable, printable_lines
from tests.e2e.cli import CommandLine
from tests.fuzz.guard import UNSEEN

HOSTILE = (
    "\x1b[31mred", "\x1b]0;title\x07", "\x1b[2J", "\x9b8m", "\x85", "\x7f", "a\x00b", "\x08\x08ok",
    "\u202egnp.exe", "\u2066a\u2069", "\u200ea", "\u200bzero", "a\u2028b", "\ufeffa", "\u3164",
    "\U000e0041", "a\ufe0f", "a\U000e0141", "a\u2800", "\udcff", "\u061ca", "\xada",
)  # fmt: skip


def test_a_name_that_is_not_utf8_can_be_stored_and_read_back() -> None:
    name = os.fsdecode(b"m\xf6we\xff \xc3\xa9")
    assert encodable(name) == r"m\udcf6we\udcff é" == printable(name)
    assert file_name(encodable(name)) == name
    json.dumps(encodable(name), ensure_ascii=False).encode()
    for plain in ("möwe", r"C:\users\udine", r"a\udc7f", "\n"):
        assert encodable(plain) == plain == file_name(plain)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_cannot_be_seen_is_escaped(text: str) -> None:
    for shown in (
        printable(text),
        printable_lines(text),
        str(UserError(text)),
        str(NodeError(text)),
    ):
        assert not UNSEEN.search(shown)
        assert "\\" in shown, "two names must not look alike"


@given(st.text(st.characters(codec=None)))
def test_any_text(text: str) -> None:
    shown = printable(text)
    assert not UNSEEN.search(shown)
    assert "\n" not in shown
    assert printable(shown) == shown
    assert not UNSEEN.search(printable_lines(text))
    assert printable_lines(printable_lines(text)) == printable_lines(text)


@pytest.mark.parametrize(
    "text", ["λ = 0.05·N", "naïve – “quoted”", "日本語", "a\u00a0b\u3000c", "🐦", "é"]
)
def test_letters_of_all_languages_stay(text: str) -> None:
    assert printable(text) == text


def test_lines_and_tabs_stay() -> None:
    assert printable_lines("a\n\tb\r\nc") == "a\n\tb\nc"


@given(st.text(st.characters(codec=None, exclude_categories=("Cs",))))
def test_a_line_of_json_stays_json(text: str) -> None:
    line = json.dumps({"name": text}, ensure_ascii=False)
    assert json.loads(printable_lines(line)) == {"name": text}


def test_an_error_survives_being_sent() -> None:
    error = pickle.loads(pickle.dumps(UserError("a\x1bb\nc")))
    assert isinstance(error, UserError)
    assert str(error) == "a\\x1bb\nc"


@pytest.mark.parametrize("text", HOSTILE)
def test_streams_lines_and_consoles(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", PrintableStream(stream))
    print(text)  # noqa: T201
    sys.stdout.writelines([text])
    PlainLines(stream).noted(f"{text}\nnext")
    Lines(stream).noted(text)
    terminal = console()
    table = Table(f"head {text}", title=text)
    table.add_row(text)
    table.add_row(Text.assemble("a ", (text, "bold")))
    terminal.print(text, Text(text), table)
    with Progress(TextColumn("{task.description}", markup=False), console=terminal) as bars:
        bars.add_task(text, total=1)
    assert not UNSEEN.search(stream.getvalue())
    assert stream.getvalue().count("\nnext") == 0, "an event's text is one line"


def test_columns_stay_in_line() -> None:
    stream = io.StringIO()
    table = Table("name", "value")
    table.add_row(Text("a\x1b[31mb\u202e"), "1")
    table.add_row("a plain name", "2")
    console(stream).print(table)
    assert len({len(line) for line in stream.getvalue().splitlines() if line}) == 1


def test_markup_of_others_is_text() -> None:
    stream = io.StringIO()
    table = Table("[red]head[/red]")
    table.add_row("[link=https://example.org]cell[/link] :smile:")
    console(stream).print(table, "[bold]x[/]")
    for word in ("[red]head[/red]", "[link=https://example.org]cell[/link] :smile:", "[bold]x[/]"):
        assert word in stream.getvalue()


def test_colours_of_ours_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", PrintableStream(stream))
    console().print(Text("fine\x1b[8m", "green"))
    assert "\x1b[32m" in stream.getvalue()
    assert "\x1b[8m" not in stream.getvalue()


@pytest.mark.parametrize(
    "arguments",
    [
        ("recipes", "validate", "\x1b[31m\u202e.yaml"),
        ("recipes", "\x1b[31m"),
        ("recipes", "show", "quickstart", "--\x1b[31m"),
        ("data", "verify", "--images", "\x9b31m[red]"),
        ("data", "verify", "digits", "--instance", "\u202e3"),
        ("summary", "\x1b]0;x\x07"),
        ("plan", "quickstart", "search.\x1b[31m=\u202e"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = CommandLine(tmp_path, tmp_path / "cache").run(*arguments, timeout=60)
    assert result.code == 2
    assert not UNSEEN.search(result.out + result.err)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_streams_of_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    guard_streams()
    typer.echo("a\x1b[31m\u202eb\x9bc λ")
    console().print("d\x9b\u202ee λ")
    sys.stdout.flush()
    shown = written.getvalue().decode(encoding)
    assert not UNSEEN.search(shown)
    assert "\\u202eb\\u009bc" in shown
    assert "d\\u009b\\u202ee" in shown


def test_what_is_printed_above_bars_has_no_colours_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    terminal = console(stream)
    before = sys.stdout
    with printed_above(terminal), Progress(console=terminal):
        print("a\x1b[8mhidden\x1b[0m\u202e")  # noqa: T201
    assert sys.stdout is before
    assert "a\\x1b[8mhidden" in stream.getvalue()
    assert "\x1b[8m" not in stream.getvalue()
