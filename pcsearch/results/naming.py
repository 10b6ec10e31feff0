"""How runs are written for a person to read, and to type again."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

DEFAULT_RUNS = Path("runs")
"""Where commands keep and look for runs unless they are told otherwise."""


def resume_command(run: Path | str, cluster: str | None = None) -> str:
    """What to type to go on with a run, from the folder that one is in now.

    Args:
        run: Its folder, or its URL.
        cluster: The address of the Ray cluster that it is to go on on, if not on this machine.
    """
    on = f" --address {shlex.quote(cluster)}" if cluster else ""
    return f"pcsearch resume {shlex.quote(shown(run))}{on}"


def shown(run: Path | str) -> str:
    """How a run's folder is written for a person who is in the current folder."""
    return min(os.path.relpath(run), str(run), key=len) if isinstance(run, Path) else run


def at(runs: Path | str) -> str:
    """The option that names the folder of the runs, with a space before it; empty for the usual."""
    return "" if str(runs) == str(DEFAULT_RUNS) else f" --runs {shlex.quote(str(runs))}"
