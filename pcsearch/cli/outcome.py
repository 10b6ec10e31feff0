"""How a campaign's end is told: its table, its exit code and, if need be, how to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pcsearch.cli.live import LiveView
    from pcsearch.cli.plain import PlainLines
    from pcsearch.running import Outcome

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def tell(
    outcomes: Callable[[LiveView | PlainLines], Iterable[Outcome]], *, plain: bool
) -> typer.Exit:
    """Watch campaigns, print what came of each, and give the exit with its code.

    Args:
        outcomes: runs them with the observer that it is given.
        plain: plain lines in place of the live view.
    """
    from pcsearch.cli.console import console, observer
    from pcsearch.cli.render import print_summary

    watcher = observer(plain=plain)
    code = 0
    try:
        for outcome in outcomes(watcher):
            print_summary(console(), outcome.summary, outcome.state)
            if outcome.summary.status == "interrupted":
                typer.echo(f"interrupted; go on with: {outcome.resume_command}")
                code = EXIT_INTERRUPTED
                break
            if outcome.summary.status == "failed":
                code = EXIT_FAILED
    except KeyboardInterrupt:
        typer.echo("interrupted; `pcsearch resume` goes on with what has begun", err=True)
        code = EXIT_INTERRUPTED
    finally:
        watcher.close()
    return typer.Exit(code)
