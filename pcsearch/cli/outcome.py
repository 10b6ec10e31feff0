"""How a campaign's end is told: its table, its exit code and, if need be, how to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

import typer

from pcsearch.cli.ctrl_c import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from pcsearch.cli.live import LiveView
    from pcsearch.cli.plain import PlainLines
    from pcsearch.cluster.relay import EventLines
    from pcsearch.results.summary import Summary
    from pcsearch.search.state import CampaignState

EXIT_FAILED = 1


class Ended(Protocol):
    """One campaign's end, here or on a cluster."""

    @property
    def state(self) -> CampaignState: ...

    @property
    def summary(self) -> Summary: ...

    @property
    def resume_command(self) -> str: ...


def tell(
    outcomes: Callable[[LiveView | PlainLines | EventLines], Iterable[Ended]],
    *,
    plain: bool,
    events: bool = False,
) -> typer.Exit:
    """Watch campaigns, print what came of each, and give the exit with its code.

    Args:
        outcomes: runs them with the observer that it is given.
        plain: plain lines in place of the live view.
        events: a program's lines in place of view and table.
    """
    from pcsearch.cli.console import observer

    watcher = observer(plain=plain, events=events)
    code = 0
    try:
        for outcome in outcomes(watcher):
            if not events:
                _print(outcome)
            if outcome.summary.status == "interrupted":
                code = EXIT_INTERRUPTED
                break
            if outcome.summary.status == "failed":
                code = EXIT_FAILED
    finally:
        watcher.close()
    return typer.Exit(code)


def _print(outcome: Ended) -> None:
    from pcsearch.cli.console import console
    from pcsearch.cli.render import print_summary

    print_summary(console(), outcome.summary)
    if outcome.summary.status == "interrupted":
        typer.echo(f"interrupted; go on with: {outcome.resume_command}")
