"""A journal that is written only while its run is held."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pcsearch.search.events import Event
from pcsearch.search.journal import Journal
from pcsearch.storage import Storage
from pcsearch.storage.journal import SegmentJournal
from pcsearch.storage.lease import Lease


class _Guarded:
    def __init__(self, journal: SegmentJournal, lease: Lease) -> None:
        self._journal = journal
        self._lease = lease

    def append(self, event: Event) -> None:
        """Write one event.

        Raises:
            TakenOverError: another process goes on with the campaign.
            StorageError: the storage did not answer.
        """
        self._lease.check()
        self._journal.append(event)


@contextlib.contextmanager
def guarded_journal(storage: Storage, lease: Lease, after: int) -> Iterator[Journal]:
    """The storage's journal after `after` events, compacted at the end if the campaign has ended.

    Raises:
        TakenOverError: it holds another number of events.
    """
    with SegmentJournal(storage, after) as journal:
        yield _Guarded(journal, lease)
