"""A lock for stores that know no processes: a lease that its holder renews.

lock/00000001        JSON: who took the lease; exclusively created
lock/00000001.beat   rewritten by the holder every few seconds

Another process may take over only after it has seen no beat for the whole lease time by its own
clock. The clocks of two machines are never compared. A holder that was cut off from the store for
that long waits in `check` until the store has said whether it was replaced. If one continues
anyway, the journal's numbers stop it.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import re
import secrets
import socket
import threading
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

from pcsearch.errors import PcsearchError, UserError
from pcsearch.storage.base import LeaseLostError, Storage, StorageError

LOCK_FOLDER = "lock"
_LEASE_SECONDS = 30.0
"""Time without a beat after which another process may take over."""

_BEATS = 6
"""Beats per lease time."""

_LONGEST_SECONDS = 600.0
_NAME = re.compile(rf"{LOCK_FOLDER}/([0-9]{{8}})(\.beat)?")


@dataclass(frozen=True)
class Holder:
    """The content of a lock.

    Attributes:
        number: Number of the lock; later holders have larger ones.
        identity: Unique to each holder.
        started: When it took the lease, by its own clock.
        expires_in_seconds: Lease time, counted from its last beat.
    """

    number: int
    host: str
    pid: int
    identity: str
    started: str
    expires_in_seconds: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _lock_name(number: int) -> str:
    return f"{LOCK_FOLDER}/{number:08d}"


def _beat_name(number: int) -> str:
    return f"{_lock_name(number)}.beat"


def clock() -> float:
    """Monotonic seconds, including time asleep where the system counts it."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


def encoded(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _newest_number(storage: Storage) -> int:
    """The number of the last lock; 0 if there is none."""
    matches = map(_NAME.fullmatch, storage.list(LOCK_FOLDER))
    return max((int(match[1]) for match in matches if match and not match[2]), default=0)


def _remove_older(storage: Storage, number: int) -> None:
    """Remove the locks before a number, and their beats."""
    matches = map(_NAME.fullmatch, storage.list(LOCK_FOLDER))
    storage.remove(*(match[0] for match in matches if match and int(match[1]) < number))


def newest_holder(storage: Storage) -> Holder | None:
    """Who took the lease last and has not released it; may be dead."""
    while number := _newest_number(storage):
        try:
            return _decoded(storage.read(_lock_name(number)), number)
        except FileNotFoundError:  # released in between
            continue
    return None


def seen_alive(storage: Storage, seconds: float = _LEASE_SECONDS) -> Holder | None:
    """Watch the lease; returns its holder once it beats or changes, None without one.

    Also returns None if the holder does not beat for the lease time by this machine's clock. That
    takes `seconds` or the time in the lock, whichever is longer.
    """
    holder = newest_holder(storage)
    if holder is None or is_stale(storage, holder, seconds):
        return None
    return newest_holder(storage)


def is_stale(storage: Storage, holder: Holder, seconds: float) -> bool:
    """Watch a holder: False once it beats, is replaced or is gone; True after the lease time.

    Time in which the storage does not answer is not counted: the holder cannot beat either.
    """
    needed = max(seconds, holder.expires_in_seconds)
    pause = needed / (2 * _BEATS)
    heartbeat = _beat(storage, holder)
    since = last = clock()
    while clock() - since < needed:
        time.sleep(pause)
        if _beat(storage, holder) != heartbeat or _newest_number(storage) != holder.number:
            return False
        if clock() - last > needed / 2:
            since = clock()
        last = clock()
    return True


def _beat(storage: Storage, holder: Holder) -> bytes:
    try:
        return storage.read(_beat_name(holder.number))
    except FileNotFoundError:
        return b""


def _decoded(data: bytes, number: int) -> Holder:
    """A lock's content. Anybody may have written it, so invalid values are replaced."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    told = told if isinstance(told, dict) else {}
    pid, seconds = told.get("pid"), told.get("expires_in_seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST_SECONDS:
        seconds = _LEASE_SECONDS
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


_log = logging.getLogger(__name__)


def acquire(storage: Storage, seconds: float = _LEASE_SECONDS) -> Lease:
    """Take the lease; may first watch a dead holder for the lease time.

    Args:
        seconds: The lease time.

    Raises:
        UserError: another process holds it and is alive; the message names it.
    """
    while True:
        holder = newest_holder(storage)
        if holder is not None:
            _log.warning(
                "%s was in use by %s; checking for up to %.0f s whether it still is",
                storage.url,
                holder,
                max(seconds, holder.expires_in_seconds),
            )
            if not is_stale(storage, holder, seconds):
                if newest_holder(storage) == holder:
                    raise UserError(
                        f"{storage.url} is in use: {holder} runs it now (since {holder.started}); "
                        "stop it first, or choose another run"
                    )
                continue  # it was released, or another process took it
        me = _me(holder.number + 1 if holder else 1, seconds)
        if not storage.create(_lock_name(me.number), encoded(me)):
            continue
        if _newest_number(storage) == me.number:
            return Lease(storage, me)
        storage.remove(_lock_name(me.number))  # others have taken and released it since


class Lease:
    """A held lease, from `acquire`. A thread renews it until `release`."""

    def __init__(self, storage: Storage, me: Holder) -> None:
        self.holder = me
        self._storage = storage
        self._lock = encoded(me)
        self._beats = 0
        self._renewed = clock()
        self._renewing = threading.Lock()
        self._error: PcsearchError | None = None
        self._released = threading.Event()
        self._renew()
        self.check()
        _remove_older(storage, me.number)
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether another process is known to hold it, or the storage is unreachable."""
        return self._error is not None

    def check(self) -> None:
        """Return while the lease is held; call it before actions of the only driver.

        After a time without contact it asks the storage, and waits as long as the storage retries.

        Raises:
            LeaseLostError: another process took over.
            StorageError: the storage did not answer.
        """
        if self._error is None and self._is_stale():
            self._renew(only_stale=True)
        if self._error is not None:
            raise self._error

    def release(self) -> None:
        """Release the lease at once; does nothing if it is lost or already released."""
        if self._released.is_set():
            return
        self._released.set()
        self._thread.join(self.holder.expires_in_seconds)
        number = self.holder.number
        try:
            if not self.lost and self._storage.read(_lock_name(number)) == self._lock:
                self._storage.remove(_lock_name(number), _beat_name(number))
        except (PcsearchError, FileNotFoundError) as error:
            _log.warning("the lock of %s could not be removed: %s", self._storage.url, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _keep(self) -> None:
        while not self._released.wait(self.holder.expires_in_seconds / _BEATS):
            self._renew()
            if self.lost:
                return

    def _is_stale(self) -> bool:
        return clock() - self._renewed > self.holder.expires_in_seconds

    def _renew(self, *, only_stale: bool = False) -> None:
        """Check that nobody took over, then beat; errors are kept for `check`."""
        with self._renewing:
            if self._error is not None or (only_stale and not self._is_stale()):
                return
            began = clock()
            try:
                self._see_that_it_is_ours()
                self._beats += 1
                heartbeat = {"identity": self.holder.identity, "count": self._beats}
                self._storage.write(_beat_name(self.holder.number), json.dumps(heartbeat).encode())
            except PcsearchError as error:
                self._error = error
            except Exception as error:
                self._error = StorageError(f"the lock of {self._storage.url} failed: {error!r}")
            else:
                self._renewed = began

    def _see_that_it_is_ours(self) -> None:
        number = self.holder.number
        url = self._storage.url
        if _newest_number(self._storage) > number:
            other = newest_holder(self._storage)
            raise LeaseLostError(
                f"{other or 'another process'} has taken over {url}; this process stops"
            )
        try:
            ours = self._storage.read(_lock_name(number)) == self._lock
        except FileNotFoundError:
            ours = False
        if not ours:
            raise LeaseLostError(f"the lock of {url} was removed or replaced; this process stops")


def _me(number: int, seconds: float) -> Holder:
    return Holder(
        number=number,
        host=socket.gethostname(),
        pid=os.getpid(),
        identity=secrets.token_hex(16),
        started=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        expires_in_seconds=seconds,
    )
