"""Interleaved timing: what is compared runs in turns, forwards and backwards, in one process."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass
class Times:
    """Seconds of each turn: by the clock on the wall, and of this process's CPUs."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def timed(run: Callable[[], object], times: Times, synchronise: Callable[[], None]) -> None:
    """Run once; the device has nothing left to do at either end."""
    synchronise()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    synchronise()
    times.cpu.append(time.process_time() - cpu)
    times.wall.append(time.perf_counter() - wall)


def in_turns(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warmups: int = 1,
    synchronise: Callable[[], None] = lambda: None,
    tidy: Callable[[], None] = lambda: None,
) -> dict[str, Times]:
    """Run all in turns, every other round backwards, so that drift falls on all of them alike.

    `tidy` follows each turn and is not timed.
    """
    times = {name: Times() for name in runs}
    for number in range(rounds + warmups):
        order = list(runs) if number % 2 == 0 else list(reversed(runs))
        for name in order:
            sink = times[name] if number >= warmups else Times()
            timed(runs[name], sink, synchronise)
            tidy()
    return times


def ratios(above: list[float], below: list[float]) -> list[float]:
    """Turn by turn, above ÷ below: neighbours in time, so that slow drift cancels."""
    return [a / b for a, b in zip(above, below, strict=True)]


def median_interval(values: list[float]) -> tuple[float, float]:
    """A distribution-free interval of about 95 % for the median, from order statistics."""
    ordered = sorted(values)
    number = len(ordered)
    reach = round(0.98 * number**0.5)
    middle = (number - 1) / 2
    low, high = int(middle - reach), int(middle + reach + 0.5)
    return ordered[max(0, low)], ordered[min(number - 1, high)]


def median(values: list[float]) -> float:
    return statistics.median(values)


@contextlib.contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Keep to so many cores, as a worker that is given so many has to where all others are busy.

    It holds for this thread and those that it starts: a helper thread is paid for by the same core.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[-count:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def synchroniser(device: str) -> Callable[[], None]:
    """What waits for the device's queue; nothing on a CPU."""
    if device != "cuda":
        return lambda: None
    import torch

    return torch.cuda.synchronize
