"""Private memory that a large image store costs each further worker process.

Several processes open one store, train a few steps with a network, and read one whole epoch of
batches, so that every page of the store was mapped; then the kernel is asked for each one's
Private_Clean + Private_Dirty (/proc/PID/smaps_rollup). The same with a tiny store, which is read as
many times as makes the same number of images, gives what model, libraries and batches take. Before
that, each gives back what its allocator keeps of freed memory, which varies by chance. The figure
is the difference, a worker. Pages that only one process has mapped count as private, so the
figure is taken with several workers at once; a single one is reported apart, whose file pages the
system may still drop at any time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from data_path_parts.campaigns import BENCHMARKS, PACKAGE
from data_path_parts.figures import Figure, figure_of
from data_path_parts.memory_worker import noise_store

TINY_ROWS = 256
READY_SECONDS = 600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gigabytes", type=float, default=1.5)
    parser.add_argument("--side", type=int, default=128, help="of the stored images, in pixels")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)


def measure(options: argparse.Namespace, scratch: Path) -> list[Figure]:
    if not Path("/proc/self/smaps_rollup").exists():
        return [Figure("private memory a worker", None, 50.0, False, "MB", note="needs Linux")]
    rows = _rows(options)
    cache = scratch / "memory-cache"
    for count in (rows, TINY_ROWS):
        noise_store(count, options.side, cache)
    differences: list[float] = []
    details: dict[str, list[list[float]]] = {"large": [], "tiny": []}
    for _ in range(options.repeats):
        large = _private_megabytes(options, rows, options.workers, cache)
        tiny = _private_megabytes(options, TINY_ROWS, options.workers, cache)
        details["large"].append(large)
        details["tiny"].append(tiny)
        differences += [value - statistics.median(tiny) for value in large]
    alone = _private_megabytes(options, rows, 1, cache)[0]
    print(f"  tiny store: {statistics.median(details['tiny'][0]):.0f} MB private a worker")
    print(f"  large store: {statistics.median(details['large'][0]):.0f} MB private a worker")
    print(f"  large store, a single worker: {alone:.0f} MB, the file's own pages included")
    return [
        figure_of(
            f"private memory a worker for {options.gigabytes:g} GB",
            differences,
            wanted=50.0,
            at_least=False,
            unit="MB",
            note=f"{options.workers} workers at once, {rows} images",
            details={"private_megabytes": details, "single_worker": alone},
        )
    ]


def _rows(options: argparse.Namespace) -> int:
    return int(options.gigabytes * 1e9 / (3 * options.side**2))


def _private_megabytes(
    options: argparse.Namespace, rows: int, workers: int, cache: Path
) -> list[float]:
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(_worker(options, rows, cache, options.seed + number))
            for number in range(workers)
        ]
        for process in processes:
            line = process.stdout.readline() if process.stdout else ""
            if line.strip() != "ready":
                raise SystemExit(f"a worker did not get ready; it wrote {line!r} (see above)")
        return [private_bytes(process.pid) / 1e6 for process in processes]


@contextlib.contextmanager
def _worker(
    options: argparse.Namespace, rows: int, cache: Path, seed: int
) -> Iterator[subprocess.Popen[str]]:
    """A worker that waits, when it is ready, until its standard input is closed."""
    images = _rows(options)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "data_path_parts.memory_worker",
            *map(str, (rows, options.side, cache.resolve(), seed, images)),
        ],
        cwd=BENCHMARKS,
        env={**_environment(), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE), str(BENCHMARKS)])}


def private_bytes(pid: int) -> int:
    """Private_Clean + Private_Dirty of a process, as the kernel sums them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("Private_")]
    return 1024 * sum(kilobytes[:2])
