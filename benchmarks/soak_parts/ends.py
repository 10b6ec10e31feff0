"""What ends a driver, or the Ray below it, in the middle of its work."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from soak_parts import moments
from soak_parts.launch import HungError, Launch
from tests.e2e.cli import descendants

KILLED = frozenset({-signal.SIGKILL})
INTERRUPTED = frozenset({130, -signal.SIGINT})  # which a shell shows as 130
TERMINATED = frozenset({128 + signal.SIGTERM, -signal.SIGTERM})  # before Python could take it
GO_ON = re.compile("pcsearch resume|the same command starts it again")
WITHOUT_RAY = frozenset({3})
END_SECONDS = 40.0


@dataclass(frozen=True)
class End:
    """One way to end a driver.

    Attributes:
        kind: What is done.
        how: By which means.
        moment: When; see moments.py.
        strike: Does it; False where there was nothing to strike.
        codes: Exit codes that are right then, besides 0 of one that was about to end anyway.
        at_start: Whether it may come before anything is trained.
    """

    kind: str
    how: str
    moment: Callable[[Launch, Random], bool]
    strike: Callable[[Launch, Random], bool]
    codes: frozenset[int]
    at_start: bool = False


def _signal(number: signal.Signals) -> Callable[[Launch, Random], bool]:
    def strike(launch: Launch, random: Random) -> bool:
        launch.send(number)
        return True

    return strike


def _twice(launch: Launch, random: Random) -> bool:
    launch.send(signal.SIGINT)
    if launch.rest(random.choice((0.05, 0.5, 1.5)) * random.random()):
        launch.send(signal.SIGINT)
    return True


def _process(name: str) -> Callable[[Launch, Random], bool]:
    def strike(launch: Launch, random: Random) -> bool:
        launch.note_below()
        found = [p for p in descendants(launch.pid) if p.command.split(" ")[0].endswith(name)]
        for process in found:
            os.kill(process.pid, signal.SIGKILL)
        return bool(found)

    return strike


_KILL, _INT, _TERM = _signal(signal.SIGKILL), _signal(signal.SIGINT), _signal(signal.SIGTERM)
CONFIRMING, AT_THE_END = "driver killed while it confirms", "driver killed as it writes the end"
ENDS = {
    end.kind: end
    for end in (
        End("driver killed as it starts", "SIGKILL", moments.starting, _KILL, KILLED, True),
        End("driver killed while it searches", "SIGKILL", moments.searching, _KILL, KILLED),
        End(CONFIRMING, "SIGKILL", moments.confirming, _KILL, KILLED),
        End("driver killed after a journal line", "SIGKILL", moments.at_a_line, _KILL, KILLED),
        End(AT_THE_END, "SIGKILL", moments.at_the_end, _KILL, KILLED),
        End("Ctrl-C", "SIGINT", moments.anywhere, _INT, INTERRUPTED, True),
        End("Ctrl-C twice", "SIGINT, SIGINT", moments.anywhere, _twice, INTERRUPTED, True),
        End("driver asked to end", "SIGTERM", moments.anywhere, _TERM, TERMINATED, True),
        End("raylet killed", "SIGKILL", moments.searching, _process("raylet"), WITHOUT_RAY),
        End("GCS killed", "SIGKILL", moments.searching, _process("gcs_server"), WITHOUT_RAY),
    )
}


def wrong_end(launch: Launch, codes: frozenset[int], seconds: float = END_SECONDS) -> list[str]:
    """What is wrong with how a launch ends after it was struck."""
    began = time.monotonic()
    try:
        code = launch.finish(seconds)
    except HungError as error:
        return [f"{error} after it was struck, its output:\n{launch.output}"]
    output = launch.output
    wrong = []
    if code not in codes and code != 0:
        wrong.append(f"exit code {code}, expected {sorted(codes)} or 0")
    if "Traceback" in output:
        wrong.append("a traceback")
    if (code > 0 or code in INTERRUPTED) and code not in TERMINATED and not GO_ON.search(output):
        wrong.append("it does not say how to go on")
    if wrong:
        wrong[-1] += (
            f"; {time.monotonic() - began:.1f} s after it was struck, its output:\n{output}"
        )
    return wrong
