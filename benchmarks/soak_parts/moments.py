"""When a driver is struck. Each waits for its moment; False when the process ended before."""

from __future__ import annotations

from random import Random

from soak_parts.launch import Event, Launch

TRAINED = ("epoch", "repeated")


def starting(launch: Launch, random: Random) -> bool:
    """Python, Ray and the images; up to the first trials."""
    return launch.rest(random.uniform(0.3, 7.0) - launch.age)


def searching(launch: Launch, random: Random) -> bool:
    """Some time after an epoch that is new, or was trained again."""
    wanted = random.randint(1, 6)

    def seen(new: list[Event]) -> bool:
        return sum(event["event"] in TRAINED for event in launch.events) >= wanted

    return launch.wait(seen) and launch.rest(random.uniform(0.0, 0.4))


def confirming(launch: Launch, random: Random) -> bool:
    """While a confirm trial runs."""
    wanted = random.randint(1, 3)

    def seen(new: list[Event]) -> bool:
        lines = [event for event in launch.events if "/confirm-" in _trial(event)]
        return len(lines) >= wanted

    return launch.wait(seen) and launch.rest(random.uniform(0.0, 0.3))


def at_a_line(launch: Launch, random: Random) -> bool:
    """As soon as a line is in the journal: asked, measured, chosen, resumed."""
    wanted = random.randint(1, 12)
    return launch.wait(lambda new: len(launch.events) >= wanted)


def at_the_end(launch: Launch, random: Random) -> bool:
    """Around the journal's last line, while the summary is written and the folder tidied."""
    found = launch.wait(lambda new: new[-1]["event"] == "ended")
    return found and launch.rest(random.uniform(0.0, 0.05))


def anywhere(launch: Launch, random: Random) -> bool:
    """Now and then at the start, else while trials run."""
    return (starting if random.random() < 0.25 else searching)(launch, random)


def _trial(event: Event) -> str:
    return str(event["spec"]["trial"] if event["event"] == "asked" else event.get("trial", ""))
