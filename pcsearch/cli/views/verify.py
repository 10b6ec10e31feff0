"""Shows a report on a dataset on one screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pcsearch.cli.views.text import count, short_duration
from pcsearch.data.verify import VerifyReport
from pcsearch.printable import printable


def report_view(report: VerifyReport) -> RenderableType:
    """Facts, findings, and the verdict last, where a terminal stops scrolling."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for heading, text in _facts(report):
        grid.add_row(heading, Text(text))
    lines: list[RenderableType] = [
        Text.assemble((report.dataset, "bold"), f": {report.title}"),
        grid,
    ]
    lines += _findings("problem", "bold red", report.problems)
    lines += _findings("warning", "yellow", report.warnings)
    if report.problems or report.warnings:
        lines.append(Text("Each line names only the first; --json lists all.", "dim"))
    return Group(*lines, _verdict(report))


def _facts(report: VerifyReport) -> Iterator[tuple[str, str]]:
    parts = []
    for part in report.parts:
        differs = part.expected is not None and part.expected != part.images
        official = f" (officially {part.expected:,})" if differs else ""
        parts.append(f"{part.images:,} {part.part}{official}")
    yield "images", ", ".join(parts)
    balance = report.balance
    of_all = ""
    if report.classes_in_all not in (None, report.classes):
        of_all = f" of {report.classes_in_all:,}"
    spread = f"{balance.least:,} to {balance.most:,}"
    if balance.least == balance.most:
        spread = f"{balance.least:,}"
    each = f"{spread} training images each, median {balance.median:g}"
    yield "classes", f"{report.classes:,}{of_all}; {each}"
    unread = len(report.missing) + len(report.undecodable)
    readable = "all can be read"
    if unread:
        readable = f"{len(report.missing)} missing, {len(report.undecodable)} unreadable"
    yield "files", readable
    if report.oddities:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(report.oddities.items()))
        yield "unusual", f"{kinds} (used as RGB)"
    yield "copies", _copies(report)


def _copies(report: VerifyReport) -> str:
    if not report.duplicates:
        return "no picture occurs twice"
    within = len(report.duplicates) - len(report.leaks)
    text = f"{len(report.leaks):,} across parts, {within:,} within a part"
    conflicts = len(report.label_conflicts)
    return f"{text}; {conflicts:,} with two labels" if conflicts else text


def _findings(what: str, style: str, sentences: Sequence[str]) -> Iterator[Text]:
    for sentence in sentences:
        yield Text.assemble((f"{what}: ", style), printable(sentence))


def _verdict(report: VerifyReport) -> Text:
    took = f"{count(report.images, 'image')} in {short_duration(report.seconds)}"
    if report.ok:
        warnings = len(report.warnings)
        but = f", {count(warnings, 'warning')}" if warnings else ""
        return Text.assemble(("fine", "bold green"), f"{but}: {took}")
    return Text.assemble((count(len(report.problems), "problem"), "bold red"), f": {took}")
