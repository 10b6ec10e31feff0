"""What a campaign gets out of a cluster that grows and shrinks with it.

    python benchmarks/cluster.py grow        from no node to six that train; from the end to none
    python benchmarks/cluster.py makespan    a campaign on six nodes ÷ what its trials alone take
    python benchmarks/cluster.py lost        a node is gone: until its trial trains elsewhere
    python benchmarks/cluster.py overhead    what an epoch's report costs the driver, of 64 trials
    python benchmarks/cluster.py all [--json FILE]

All but `overhead` run `pcsearch tune --address` on Ray's own autoscaler with its fake nodes of one
CPU (tests/cluster/fake_cluster.py): real raylets and workers, which share this machine's cores, so
what takes processor time, above all six imports of PyTorch, takes longer than on six machines. How
each figure is taken is said at the top of its file in cluster_parts/. Run it from the repository's
root; nothing else should be running.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # tests/cluster/fake_cluster.py

from data_path_parts.figures import Figure, machine, table, write_json

PARTS = ("grow", "makespan", "lost", "overhead")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=(*PARTS, "all"))
    parser.add_argument("--repeats", type=int, default=3, help="of grow and lost")
    parser.add_argument("--json", type=Path, help="write everything that was measured here")
    options = parser.parse_args()
    facts = machine()
    figures: list[Figure] = []
    for part in PARTS if options.part == "all" else (options.part,):
        module = importlib.import_module(f"cluster_parts.{part}")
        print(f"{part}: {module.__doc__.splitlines()[0]}", flush=True)
        scratch = Path(tempfile.mkdtemp(prefix=f"pcsearch-{part}-"))
        try:
            figures += module.measure(scratch, options.repeats)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if options.json:
            write_json(options.json, figures, facts)
    print(f"\n{table(figures)}")


if __name__ == "__main__":
    main()
