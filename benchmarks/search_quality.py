"""How good the search is, and how often its verdict is right, on curves that were recorded.

    python benchmarks/search_quality.py record WORLD --rows FILE [--shard K/N] [--shared DIR]
    python benchmarks/search_quality.py pack WORLD --rows FILE...      rows to curves/WORLD.parquet
    python benchmarks/search_quality.py verdicts [WORLD...] [--campaigns 1000] [--half 1]
    python benchmarks/search_quality.py regret [WORLD...] [--campaigns 200] [--half 1]
    python benchmarks/search_quality.py probe WORLD --rows FILE... [--repeats K] [--shared DIR]

`verdicts` prints, for worlds without an effect, with one, and with arms that want other learning
rates, how often campaigns say "hurts" and "helps", and how many intervals hold the mean gain.
`regret` sets the shipped search beside random search with and without plain ASHA. Half 0 of the
curves chose the defaults; half 1 reports.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from search_quality_parts import probe, recording, replaying
from search_quality_parts.replaying import Curves, Outcome, Replayed, World

from pcsearch.recipe.search_space import Space

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared"
CURVES = HERE / "search_quality_parts" / "curves"
FRACTIONS = Space.between(0.05, 0.15)
SETTINGS: dict[str, dict[str, Any]] = {
    "fieldguide": {
        "trials": 10, "lr": Space.between(0.02, 0.3, log=True), "grace_epochs": 3,
        "finalist_repeats": 3,
    },
    "birds-squeezenet": {"trials": 12, "lr": Space.between(0.0005, 0.01, log=True)},
    "birds-mobilenet": {"trials": 12, "lr": Space.between(0.002, 0.1, log=True)},
}  # fmt: skip
"""As the shipped recipes have them (quickstart; cub200-small)."""

WORLDS = {
    "no effect": World(),
    "no effect, half the noise": World(noise=0.5),
    "no effect, PC wants twice the rate": World(shift=2.0),
    "no effect, PC wants half the rate": World(shift=0.5),
    "PC +3": World(effect=3.0),
    "PC +3, half the noise": World(effect=3.0, noise=0.5),
    "PC +3, half the noise, half the rate": World(effect=3.0, noise=0.5, shift=0.5),
    "PC +10": World(effect=10.0),
    "PC -10": World(effect=-10.0),
    "PC as recorded": World(recorded=True),
}
SEARCHES: dict[str, dict[str, Any]] = {
    "shipped": {},
    "random, plain ASHA": {
        "sampler": "random", "rung_rule": "plain", "full_trainings": 0, "widen": "never",
    },
    "random, no stopping": {"sampler": "random", "grace_epochs": 10**6, "widen": "never"},
    "TPE, plain ASHA": {"rung_rule": "plain", "full_trainings": 0},
    "shipped, never widened": {"widen": "never"},
}  # fmt: skip


def recorded(name: str) -> list[dict[str, Any]]:
    """The trainings of a world's Parquet file, if there is one."""
    file = CURVES / f"{name}.parquet"
    return pq.read_table(file).to_pylist() if file.exists() else []


def point_of(row: dict[str, Any]) -> tuple[str, int, float, float]:
    """Kind, number, learning rate and λ/N of a training."""
    return row["kind"], row["number"], row["lr"], row["lambda_over_n"]


def read(name: str, half: int | None) -> Curves:
    """The curves of a world, from its Parquet file."""
    return Curves(name, recorded(name), half)


def pack(name: str, files: list[Path]) -> None:
    """Add rows to the world's Parquet file; grids that are incomplete are left out."""
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    new = {point_of(row) for row in rows}
    rows += [row for row in recorded(name) if point_of(row) not in new]
    counts: dict[tuple[str, int], int] = {}
    for row in rows:
        key = row["kind"], row["number"]
        counts[key] = counts.get(key, 0) + 1
    whole = [row for row in rows if counts[row["kind"], row["number"]] == max(counts.values())]
    whole.sort(key=lambda r: (r["kind"], r["number"], r["lr"], r["lambda_over_n"]))
    for row in whole:  # two decimals are less than one validation image
        row["values"] = [None if v is None else round(v, 2) for v in row["values"]]
        row["losses"] = [round(loss, 3) if math.isfinite(loss) else None for loss in row["losses"]]
    CURVES.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(whole), CURVES / f"{name}.parquet", compression="zstd")
    print(f"{name}: {len(whole)} trainings of {len(rows)}")


def campaigns(curves: Curves, world: World, count: int, **changes: Any) -> Iterator[Outcome]:
    """Replayed campaigns that differ in their search seed, and so in all their luck."""
    settings = SETTINGS[curves.name] | changes
    best = replaying.oracle(Replayed(curves, 0, world), settings["lr"], FRACTIONS)
    for number in range(count):
        plan = replaying.plan_of(curves, number, fractions=FRACTIONS, **settings)
        yield replaying.campaign(Replayed(curves, number, world), plan, best)


def verdicts(names: list[str], count: int, half: int | None) -> None:
    print("| world | hurts | helps | withheld | hold the mean gain | mean gain | its SD |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        curves = read(name, half)
        for label, world in WORLDS.items():
            done = list(campaigns(curves, world, count))
            mean = fmean(one.mean for one in done)
            share = {
                word: 100 * sum(one.word == word for one in done) / count
                for word in ("hurts", "helps", "withheld")
            }
            held = 100 * sum(one.low <= mean <= one.high for one in done) / count
            print(
                f"| {name}: {label} | {share['hurts']:.1f} % | {share['helps']:.1f} % | "
                f"{share['withheld']:.1f} % | {held:.0f} % | {mean:+.2f} | "
                f"{stdev(one.mean for one in done):.2f} |",
                flush=True,
            )


def regret(names: list[str], count: int, half: int | None) -> None:
    print("| world, search | regret, control | regret, PC | epochs an arm | trained fully |")
    print("| --- | --- | --- | --- | --- |")
    for name in names:
        curves = read(name, half)
        for label, changes in SEARCHES.items():
            done = list(campaigns(curves, World(recorded=True), count, **changes))
            arms = [
                _with_interval([one.regret[arm] for one in done if arm in one.regret])
                for arm in ("control", "pc")
            ]
            print(
                f"| {name}, {label} | {arms[0]} | {arms[1]} | "
                f"{fmean(o.epochs for o in done):.0f} | {fmean(o.full for o in done):.1f} |",
                flush=True,
            )


def _with_interval(values: list[float]) -> str:
    """The mean and its 95 % interval by the bootstrap over campaigns."""
    generator = random.Random(0)
    means = sorted(fmean(generator.choices(values, k=len(values))) for _ in range(400))
    return f"{fmean(values):.2f} [{means[10]:.2f}, {means[389]:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="train a world's grid")
    record.add_argument("world")
    record.add_argument("--rows", type=Path, required=True, help="JSON lines, one a training")
    record.add_argument("--shard", default="0/1", help="this process's part, as 0/2")
    record.add_argument("--shared", type=Path, default=SHARED)
    packed = commands.add_parser("pack", help="rows to a Parquet file")
    packed.add_argument("world")
    packed.add_argument("--rows", type=Path, nargs="+", required=True)
    for command in ("verdicts", "regret"):
        replayed = commands.add_parser(command, help="replay campaigns")
        replayed.add_argument("worlds", nargs="*")
        replayed.add_argument(
            "--campaigns", type=int, default=1000 if command == "verdicts" else 200
        )
        replayed.add_argument("--half", type=int, choices=(0, 1))
    probed = commands.add_parser("probe", help="compare `pcsearch probe` with what was recorded")
    probed.add_argument("world")
    probed.add_argument("--rows", type=Path, nargs="+", required=True)
    probed.add_argument("--repeats", type=int, default=20)
    probed.add_argument("--shared", type=Path, default=SHARED)
    options = parser.parse_args()
    if options.command == "record":
        recording.keep_low_priority()
        shard, shards = map(int, options.shard.split("/"))
        world = recording.worlds(options.shared)[options.world]
        known = {point_of(row) for row in recorded(options.world)}
        recording.record(world, options.rows, shard, shards, known)
    elif options.command == "pack":
        pack(options.world, options.rows)
    elif options.command == "probe":
        world = recording.worlds(options.shared)[options.world]
        probe.compare(world, options.rows, options.repeats)
    else:
        names = options.worlds or sorted(file.stem for file in CURVES.glob("*.parquet"))
        run = verdicts if options.command == "verdicts" else regret
        run(names, options.campaigns, options.half)


if __name__ == "__main__":
    main()
