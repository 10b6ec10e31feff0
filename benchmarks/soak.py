"""A long test of "nothing is lost": campaigns disturbed by real faults, again and again.

    python benchmarks/soak.py [--minutes 30] [--seed 0] [--faults N] [--only brief] [--json FILE]

Small campaigns on the digits are run once undisturbed, for reference.
Then they are run again and again while drivers, workers and Ray's own processes are killed, stopped
and interrupted, files are damaged or deleted between two launches, and the disk fills up; after
each, `pcsearch resume`. Clocks go back, drivers stand still, and another user reaches for the
sockets. An edited journal, a full TMPDIR and a read-only run must be refused. With one trial at a
time, every decision and every figure must be, at the end, that of the undisturbed campaign, bit for
bit. With two, each trial must have been asked once and each of its epochs taken once. No traceback,
no hang, no process left, and no epoch trained again that a checkpoint held.

What is done to which campaign follows from the seed; the exact moment depends on the machine. It
is over when the time is; with `--faults`, what takes long is left out, and it is over once there
were so many faults and all other kinds among them. Ends with code 1 when something was not
survived, and keeps its folder then. Run it from the repository's root: it uses tests/e2e/cli.py.
Filling up a disk needs root, to mount one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import signal
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_path_parts.figures import machine
from soak_parts import disk
from soak_parts.campaigns import KINDS, USUAL, Reference, reference
from soak_parts.ledger import Ledger, as_json, table
from soak_parts.ordeal import CHEAP, Decks, Ordeal

SMALL_DISK_EVERY = 4  # of three kinds in turn: each has its turn on a small disk


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    # a shell without job control has what runs in the background ignore it, and its children too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    folder.chmod(0o755)
    ledger = Ledger()
    if reason := disk.why_not():
        ledger.skipped[disk.FULL] = reason
    survived = _soak(options, folder, ledger)
    if options.json:
        facts = {"seed": options.seed, "minutes": ledger.seconds / 60, "machine": machine()}
        untried = {"untried": sorted(CHEAP - ledger.kinds)}
        options.json.write_text(json.dumps({**facts, **as_json(ledger), **untried}, indent=2))
    print(f"\n{table(ledger.faults, ledger.skipped)}\n")
    if survived:
        shutil.rmtree(folder, ignore_errors=True)
        return
    print(f"NOT SURVIVED with --seed {options.seed}; everything is kept in {folder}")
    raise SystemExit(1)


def _soak(options: argparse.Namespace, folder: Path, ledger: Ledger) -> bool:
    """Disturb campaigns until the time is over, or enough was tried; whether all survived."""
    random = Random(options.seed)
    kinds = [KINDS[name] for name in options.only or USUAL]
    references: dict[str, Reference] = {}
    for kind in kinds:
        references[kind.name] = reference(kind, folder / f"undisturbed-{kind.name}")
        ledger.say(f"{kind.name} undisturbed: {references[kind.name].seconds:.1f} s")
    cheap = options.faults is not None
    with_disk = disk.FULL not in ledger.skipped and not cheap
    decks = Decks(random, dear=not cheap, with_disk=with_disk)
    survived = True
    for number, kind in enumerate(itertools.cycle(kinds), start=1):
        if _enough(options, ledger):
            return survived
        own = folder / f"{number:03}-{kind.name}"
        small = with_disk and number % SMALL_DISK_EVERY == 0
        with disk.small_disk(own / "runs") if small else nullcontext():
            ordeal = Ordeal(
                own.name,
                kind,
                references[kind.name],
                own,
                decks,
                random,
                ledger,
                on_small_disk=small,
            )
            ordeal.go(lambda: _enough(options, ledger))
            if ordeal.wrong and small:
                shutil.copytree(own / "runs", folder / f"{own.name}-runs")
        if ordeal.wrong:
            survived = False
        else:
            shutil.rmtree(own, ignore_errors=True)
    return survived


def _enough(options: argparse.Namespace, ledger: Ledger) -> bool:
    """The time is over, or there were so many faults, and every kind that costs little."""
    if ledger.seconds > 60 * options.minutes:
        return True
    wanted: int | None = options.faults
    return wanted is not None and len(ledger.faults) >= wanted and ledger.kinds >= CHEAP


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="no new fault after these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, help="cheap ones only: so many, each kind once")
    parser.add_argument("--only", action="append", choices=[*KINDS], help="these campaigns alone")
    parser.add_argument("--json", type=Path, help="write every fault here")
    return parser


if __name__ == "__main__":
    main()
