"""Campaigns of sleeping trials on fake nodes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster import sleeper
from tests.cluster.fake_cluster import FakeCluster
from tests.e2e.cli import overrides, read_journal

NODES = 6
STEPS = 15
"""An epoch of search, of 457 images in batches of 32."""


def start(
    cluster: FakeCluster,
    folder: Path,
    *,
    trials: int,
    epochs: int,
    epoch_seconds: float,
    seeds: int = 1,
    confirm_epochs: int = 1,
) -> subprocess.Popen[bytes]:
    """Search trials that none is stopped of, then confirm trials."""
    (folder / "marks").mkdir()
    sections = sleeper.recipe(
        folder / "marks",
        epoch_seconds / STEPS,
        search={"trials": trials, "control": "none"},
        asha={"max_epochs": epochs, "grace_epochs": epochs},
        confirm={"seeds": seeds, "epochs": confirm_epochs},
    )
    return cluster.tune(folder, *overrides(**sections))


def ended(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Check that a campaign ended well."""
    events = read_journal(folder / "run" / "journal.jsonl")
    if process.returncode or events[-1].get("status") != "complete":
        raise RuntimeError(f"exit {process.returncode}: {(folder / 'out').read_text()}")
