"""How good the search is, and how often its verdict is right, on curves that were recorded.

python benchmarks/search_quality.py record WORLD --rows FILE [--shard K/N] [--shared DIR]
python benchmarks/search_quality.py probe WORLD --rows FILE... [--repeats K] [--shared DIR]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from search_quality_parts import probe, recording

SHARED = Path(__file__).resolve().parents[2] / "shared"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="train a world's grid")
    record.add_argument("world")
    record.add_argument("--rows", type=Path, required=True, help="JSON lines, one a training")
    record.add_argument("--shard", default="0/1", help="this process's part, as 0/2")
    record.add_argument("--shared", type=Path, default=SHARED)
    probed = commands.add_parser("probe", help="compare `pcsearch probe` with what was recorded")
    probed.add_argument("world")
    probed.add_argument("--rows", type=Path, nargs="+", required=True)
    probed.add_argument("--repeats", type=int, default=20)
    probed.add_argument("--shared", type=Path, default=SHARED)
    options = parser.parse_args()
    if options.command == "probe":
        world = recording.worlds(options.shared)[options.world]
        probe.compare(world, options.rows, options.repeats)
    if options.command == "record":
        recording.keep_low_priority()
        shard, shards = map(int, options.shard.split("/"))
        world = recording.worlds(options.shared)[options.world]
        recording.record(world, options.rows, shard, shards)


if __name__ == "__main__":
    main()
