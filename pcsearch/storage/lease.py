"""A lock where a store knows no processes: a lease that its holder keeps renewing.

Another process may take over only after it has watched the holder's beat stand still for the whole
lease time by its own clock: the clocks of two machines are never compared. A holder that was cut
off from the store for so long lets nothing take effect (`check` waits) until the store has told it
whether it was replaced. Should one go on all the same, the journal's numbers stop it.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import secrets
import socket
import threading
from types import TracebackType
from typing import Self

from pcsearch.errors import PcsearchError, UserError
from pcsearch.storage.base import Storage, StorageError, TakenOverError
from pcsearch.storage.holder import (
    BEATS,
    LEASE_SECONDS,
    Holder,
    beat_name,
    clock,
    encoded,
    lock_name,
    newest_holder,
    newest_number,
    remove_older,
    stands_still,
)

_log = logging.getLogger(__name__)


def acquire(storage: Storage, seconds: float = LEASE_SECONDS) -> Lease:
    """Take the lease, which may first need a holder that died to be watched for the lease time.

    Args:
        seconds: the lease time.

    Raises:
        UserError: another process holds it and is alive; the message names it.
    """
    while True:
        holder = newest_holder(storage)
        if holder is not None:
            _log.warning(
                "%s was in use by %s; watching for %.0f s whether it still is",
                storage.url,
                holder,
                max(seconds, holder.expires_in_seconds),
            )
            if not stands_still(storage, holder, seconds):
                if newest_holder(storage) == holder:
                    raise UserError(
                        f"{storage.url} is in use: {holder} runs it now (since {holder.started}); "
                        "stop it first, or choose another run"
                    )
                continue  # it was given back, or another took it
        me = _me(holder.number + 1 if holder else 1, seconds)
        if not storage.create(lock_name(me.number), encoded(me)):
            continue
        if newest_number(storage) == me.number:
            return Lease(storage, me)
        storage.remove(lock_name(me.number))  # others took and left it since it was looked at


class Lease:
    """A held lease; made by `acquire`. A thread renews it until `release`."""

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
        remove_older(storage, me.number)
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether it is known that another holds it, or that the storage is not to be reached."""
        return self._error is not None

    def check(self) -> None:
        """Return while the lease is held; call it before what only one driver may do.

        After a time without contact it asks the storage, and waits as long as that is patient.

        Raises:
            TakenOverError: another process took over.
            StorageError: the storage did not answer.
        """
        if self._error is None and self._is_stale():
            self._renew(only_stale=True)
        if self._error is not None:
            raise self._error

    def release(self) -> None:
        """Give the lease back at once; does nothing if it is lost or was given back."""
        if self._released.is_set():
            return
        self._released.set()
        self._thread.join(self.holder.expires_in_seconds)
        number = self.holder.number
        try:
            if not self.lost and self._storage.read(lock_name(number)) == self._lock:
                self._storage.remove(lock_name(number), beat_name(number))
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
        while not self._released.wait(self.holder.expires_in_seconds / BEATS):
            self._renew()
            if self.lost:
                return

    def _is_stale(self) -> bool:
        return clock() - self._renewed > self.holder.expires_in_seconds

    def _renew(self, *, only_stale: bool = False) -> None:
        """See that nobody took over, and say that this process is alive; errors are kept."""
        with self._renewing:
            if self._error is not None or (only_stale and not self._is_stale()):
                return
            began = clock()
            try:
                self._see_that_it_is_ours()
                self._beats += 1
                beat = {"identity": self.holder.identity, "count": self._beats}
                self._storage.write(beat_name(self.holder.number), json.dumps(beat).encode())
            except PcsearchError as error:
                self._error = error
            except Exception as error:
                self._error = StorageError(f"the lock of {self._storage.url} failed: {error!r}")
            else:
                self._renewed = began

    def _see_that_it_is_ours(self) -> None:
        number = self.holder.number
        url = self._storage.url
        if newest_number(self._storage) > number:
            other = newest_holder(self._storage)
            raise TakenOverError(f"{other or 'another process'} has taken over {url}; this stops")
        try:
            ours = self._storage.read(lock_name(number)) == self._lock
        except FileNotFoundError:
            ours = False
        if not ours:
            raise TakenOverError(f"the lock of {url} was removed or replaced; this process stops")


def _me(number: int, seconds: float) -> Holder:
    return Holder(
        number=number,
        host=socket.gethostname(),
        pid=os.getpid(),
        identity=secrets.token_hex(16),
        started=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        expires_in_seconds=seconds,
    )
