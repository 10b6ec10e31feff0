"""Whether a run folder can be made: there is room on the disk, and it may be written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pcsearch.errors import UserError

MINIMUM_FREE_BYTES = 100 * 2**20


def check_space(runs: Path) -> None:
    """A campaign that cannot write its journal should not begin; `runs` need not be there yet."""
    existing = next(path for path in (runs, *runs.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError(not_writable(runs, f"{existing} is a file"))
    if not os.access(existing, os.W_OK):
        raise UserError(not_writable(runs, f"{existing} may not be written"))
    free = shutil.disk_usage(existing).free
    if free < MINIMUM_FREE_BYTES:
        raise UserError(
            f"the disk that holds {runs} has {free / 2**20:.0f} MiB left, but a campaign needs "
            f"{MINIMUM_FREE_BYTES / 2**20:.0f} MiB at least; free some, or choose another disk "
            "with --runs"
        )


def not_writable(runs: Path, reason: str | None) -> str:
    """What to say when no run folder can be made there."""
    return f"no run folder can be made in {runs} ({reason}); choose another folder with --runs"
