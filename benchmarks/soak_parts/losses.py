"""Workers that are killed or stopped below a driver that goes on."""

from __future__ import annotations

import os
import signal
import time
from random import Random

from soak_parts.launch import Event, HungError, Launch
from soak_parts.moments import TRAINED, searching
from soak_parts.refusals import neighbour
from tests.e2e.cli import workers

MOST_A_TRIAL = 2
"""A third loss fails the trial: that is how it is meant."""

KILLED = "worker killed"
STOPPED = "worker stopped"
NEIGHBOUR = "a neighbour at the sockets"
CLOCK_BACK = "clock set back an hour"
PAUSED = "driver stopped for a minute"
HOW = {
    KILLED: "SIGKILL",
    STOPPED: "SIGSTOP",
    NEIGHBOUR: "another user's unlink",
    CLOCK_BACK: "time.time",
    PAUSED: "SIGSTOP, SIGCONT",
}
PAUSE_SECONDS = 60.0
HANG_SECONDS = 200.0
RETRY_SECONDS = 60.0


def kill_worker(launch: Launch, random: Random) -> str | None:
    """Kill a worker that runs a trial; its pid, None where the campaign ended before.

    Returns once the loss is in the journal, or something else is: the trial may just have ended.
    """
    if not searching(launch, random):
        return None
    return _strike(launch, random, signal.SIGKILL)


def stop_worker(launch: Launch, random: Random) -> str | None:
    """Stop a worker in the middle of a trial; its pid, None where that was not possible."""

    def goes_on(new: list[Event]) -> bool:
        return new[-1]["event"] == "epoch" and new[-1]["decision"] == "continue"

    if not launch.wait(goes_on):
        return None
    return _strike(launch, random, signal.SIGSTOP)


def be_a_neighbour(launch: Launch, random: Random) -> str | None:
    """Reach for a session's sockets as another user; HungError tells what was reached."""
    if not searching(launch, random):
        return None
    reached = neighbour(launch.tmp)
    if reached:
        raise HungError(f"another user could remove {reached}")
    return "reached nothing"


def set_clock_back(launch: Launch, random: Random) -> str | None:
    """Set the clock of all its Python processes back, or on again."""
    if not searching(launch, random):
        return None
    if launch.clock_marker.exists():
        launch.clock_marker.unlink()
        return "and on again"
    launch.clock_marker.touch()
    return ""


def pause_driver(launch: Launch, random: Random) -> str | None:
    """Stop the driver for a minute; its workers go on."""
    if not searching(launch, random) or launch.end_code is not None:
        return None
    os.kill(launch.pid, signal.SIGSTOP)
    time.sleep(PAUSE_SECONDS)
    os.kill(launch.pid, signal.SIGCONT)
    return ""


STRIKES = {
    KILLED: kill_worker,
    STOPPED: stop_worker,
    NEIGHBOUR: be_a_neighbour,
    CLOCK_BACK: set_clock_back,
    PAUSED: pause_driver,
}


def losses(events: list[Event]) -> dict[str, int]:
    """How often each trial has lost a worker."""
    found: dict[str, int] = {}
    for event in events:
        if event["event"] == "retried":
            found[event["trial"]] = found.get(event["trial"], 0) + 1
    return found


def _strike(launch: Launch, random: Random, number: signal.Signals) -> str | None:
    launch.look()
    lost = losses(launch.everything)
    running = _running(launch.everything)
    if not running or any(lost.get(trial, 0) >= MOST_A_TRIAL for trial in running):
        return None
    launch.note_below()
    found = workers(launch.pid)
    if not found:
        return None
    victim = random.choice(found)
    try:
        os.kill(victim.pid, number)
    except ProcessLookupError:
        return None
    hang = number == signal.SIGSTOP
    wanted = ("retried",) if hang else ("retried", "failed", *TRAINED)
    launch.wait(
        lambda new: any(event["event"] in wanted for event in new),
        HANG_SECONDS if hang else RETRY_SECONDS,
    )
    return f"pid {victim.pid}"


def _running(events: list[Event]) -> list[str]:
    running: dict[str, bool] = {}
    for event in events:
        if event["event"] == "asked":
            running[event["spec"]["trial"]] = True
        elif event["event"] == "failed" or (
            event["event"] == "epoch" and event["decision"] != "continue"
        ):
            running[event["trial"]] = False
    return [trial for trial, still in running.items() if still]
