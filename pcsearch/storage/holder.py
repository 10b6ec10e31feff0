"""Who holds a lease, and whether it is still there to hold it.

lock/00000001        JSON: who took the lease; made by exclusive creation
lock/00000001.beat   rewritten by it every few seconds
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass
from typing import Any

from pcsearch.storage.base import Storage

FOLDER = "lock"
LEASE_SECONDS = 30.0
"""How long a holder has to stand still before another may take over."""

BEATS = 6
"""In a lease time."""

_LONGEST_SECONDS = 600.0
_NAME = re.compile(rf"{FOLDER}/([0-9]{{8}})(\.beat)?")


@dataclass(frozen=True)
class Holder:
    """What a lock says.

    Attributes:
        number: of the lock; a later holder has a larger one.
        identity: differs in all holders.
        started: when it took the lease, as its clock has it.
        expires_in_seconds: after its last beat.
    """

    number: int
    host: str
    pid: int
    identity: str
    started: str
    expires_in_seconds: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def lock_name(number: int) -> str:
    return f"{FOLDER}/{number:08d}"


def beat_name(number: int) -> str:
    return f"{lock_name(number)}.beat"


def clock() -> float:
    """Seconds that also pass while the machine sleeps, where the system can tell."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


def encoded(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def newest_number(storage: Storage) -> int:
    """The number of the last lock; 0 if there is none."""
    matches = map(_NAME.fullmatch, storage.list(FOLDER))
    return max((int(match[1]) for match in matches if match and not match[2]), default=0)


def remove_older(storage: Storage, number: int) -> None:
    """Remove the locks before a number, and their beats."""
    matches = map(_NAME.fullmatch, storage.list(FOLDER))
    storage.remove(*(match[0] for match in matches if match and int(match[1]) < number))


def newest_holder(storage: Storage) -> Holder | None:
    """Who took the lease last and has not given it back; it need not be alive."""
    while number := newest_number(storage):
        try:
            return _decoded(storage.read(lock_name(number)), number)
        except FileNotFoundError:  # given back in between
            continue
    return None


def seen_alive(storage: Storage, seconds: float = LEASE_SECONDS) -> Holder | None:
    """Watch the lease: its holder, as soon as it was seen to beat or to change; None without one.

    Returns None, too, when the holder stood still for the lease time by this machine's clock.
    That takes up to `seconds` or what the lock says, whichever is longer.
    """
    holder = newest_holder(storage)
    if holder is None or stands_still(storage, holder, seconds):
        return None
    return newest_holder(storage)


def stands_still(storage: Storage, holder: Holder, seconds: float) -> bool:
    """Watch a holder until it is seen to beat (False), is replaced or gone (False), or was still.

    A time in which the storage did not answer is not counted: the holder could not beat either.
    """
    needed = max(seconds, holder.expires_in_seconds)
    pause = needed / (2 * BEATS)
    beat = _beat(storage, holder)
    since = last = clock()
    while clock() - since < needed:
        time.sleep(pause)
        if _beat(storage, holder) != beat or newest_number(storage) != holder.number:
            return False
        if clock() - last > needed / 2:
            since = clock()
        last = clock()
    return True


def _beat(storage: Storage, holder: Holder) -> bytes:
    try:
        return storage.read(beat_name(holder.number))
    except FileNotFoundError:
        return b""


def _decoded(data: bytes, number: int) -> Holder:
    """A lock's content, which anybody may have written: what makes no sense is left out."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    told = told if isinstance(told, dict) else {}
    pid, seconds = told.get("pid"), told.get("expires_in_seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST_SECONDS:
        seconds = LEASE_SECONDS
    return Holder(
        number=number,
        host=_word(told.get("host")),
        pid=pid if isinstance(pid, int) else 0,
        identity=_word(told.get("identity")),
        started=_word(told.get("started")),
        expires_in_seconds=seconds,
    )


def _word(value: Any) -> str:
    is_word = isinstance(value, str) and value.isprintable() and 0 < len(value) <= 255
    return value if is_word else "unknown"
