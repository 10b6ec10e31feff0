"""Runs in an object store: the same files and names as in a folder, except journal and lock.

    s3://bucket/prefix/NAME/journal/    the journal, see pcsearch.runs.segmented_journal
    s3://bucket/prefix/NAME/lock/       the lock, see pcsearch.storage.lease

Files are written to a local staging folder and then copied to the store.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pcsearch.data.cache import default_cache_folder
from pcsearch.errors import PcsearchError, UserError, did_you_mean
from pcsearch.io import read_regular
from pcsearch.printable import encodable
from pcsearch.runs.driver import DRIVER_FILE, this_process
from pcsearch.runs.folder import READ_AT_MOST_BYTES, RunFolder, check_run_name, resume_command
from pcsearch.runs.segmented_journal import SegmentJournal, events_after, read_segments
from pcsearch.runs.shutdown import GRACE_SECONDS, Marker
from pcsearch.search.journal.events import Event
from pcsearch.search.journal.journal_file import Chain, Journal
from pcsearch.search.state import CampaignState, Status
from pcsearch.search.trial import checkpoint_folder
from pcsearch.storage import Storage, check_storage, open_storage, without_colons
from pcsearch.storage.lease import Lease, acquire, newest_holder, seen_alive
from pcsearch.storage.scratch import SCRATCH, scratch_folder


class _Guarded:
    def __init__(self, journal: SegmentJournal, lease: Lease) -> None:
        self._journal = journal
        self._lease = lease

    def append(self, event: Event) -> None:
        """Write one event.

        Raises:
            LeaseLostError: another process continues the campaign.
            StorageError: the storage did not answer.
        """
        self._lease.check()
        self._journal.append(event)


@contextlib.contextmanager
def guarded_journal(storage: Storage, lease: Lease, after: int) -> Iterator[Journal]:
    """The storage's journal after `after` events; compacted at the end if the campaign ended.

    Raises:
        LeaseLostError: it holds another number of events.
    """
    with SegmentJournal(storage, after) as journal:
        yield _Guarded(journal, lease)


STOP_MARKER = "checkpoints/stopping"
_FORGOTTEN_SECONDS = 1200.0  # S3 refuses clients whose clock differs by 900 s
_LOG = "driver.log"
_LOG_BYTES = 2**20
_LISTED_AT_ONCE = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteRun(RunFolder):
    """A run in a storage; `path` is the staging folder, which exists while the run is `held`."""

    storage: Storage
    lease: Lease | None = None

    @property
    def address(self) -> str:
        return self.storage.url

    @property
    def url(self) -> str:
        return self.storage.url

    @property
    def has_begun(self) -> bool:
        return bool(self.storage.list("journal"))

    def events(self, chain: Chain | None = None) -> Iterator[Event]:
        events = read_segments(self.storage, chain)
        if not events:
            raise UserError(f"{self.url} has no journal: nothing was started there")
        yield from events

    def status(self, state: CampaignState | None = None, *, quick: bool = False) -> Status:
        """As in a folder; detecting a vanished process takes half a minute, unless `quick`."""
        told = (state or self.state()).status
        if told != "running":
            return told
        return told if self.is_held(quick=quick) else "interrupted"

    @property
    def lock(self) -> None:
        return None

    def events_after(self, number: int) -> list[Event]:
        return events_after(self.storage, number)

    def modified(self) -> float:
        return self.storage.modified("journal") or 0.0

    def created(self) -> float:
        return self.storage.modified("environment.json") or self.modified()

    def open_journal(self, after: int) -> contextlib.AbstractContextManager[Journal]:
        return guarded_journal(self.storage, self._held_lease(), after)

    def share_data(self) -> None:
        for path in sorted(self.data.glob("*.npz")):
            self.storage.upload(f"data/{path.name}", path)

    def stop_marker(self) -> Marker:
        return _StoredMarker(self.storage)

    def drop_checkpoints(self, trial: str) -> None:
        folder = f"checkpoints/{without_colons(checkpoint_folder(trial))}"
        _in_background("dropping checkpoints", lambda: self.storage.remove_all(folder))

    def let_go(self) -> None:
        if self.lease is not None:
            self.lease.release()

    def finish(self, summary: object, *, whole: bool) -> None:
        self._held_lease().check()
        self.write_json("summary.json", summary)
        self._keep_log()
        if whole:
            self.storage.remove_all("checkpoints")

    def file(self, name: str, copies: Path) -> Path | None:
        path = copies / name
        try:
            self.storage.download(name, path)
        except FileNotFoundError:
            return None
        return path

    def read_text(self, name: str) -> str | None:
        try:
            content = self.storage.read(name)
        except FileNotFoundError:
            return None
        return content.decode("utf-8", "replace") if len(content) <= READ_AT_MOST_BYTES else None

    def read_bytes(self, name: str) -> bytes:
        return self.storage.read(without_colons(name))

    def write_text(self, name: str, content: str) -> None:
        self.storage.write(name, encodable(content).encode())

    def _held_lease(self) -> Lease:
        if self.lease is None:
            raise RuntimeError(f"{self.url} is not held")
        return self.lease

    def is_held(self, *, quick: bool = False) -> bool:
        if not quick:
            return seen_alive(self.storage) is not None
        if newest_holder(self.storage) is None:
            return False
        renewed = self.storage.modified("lock")
        return renewed is not None and time.time() - renewed < _FORGOTTEN_SECONDS

    def _keep_log(self) -> None:
        """Append Ray's output to that of earlier attempts."""
        with contextlib.suppress(OSError):
            told = read_regular(self.path / _LOG)
            if told:
                before = b""
                with contextlib.suppress(FileNotFoundError):
                    before = self.storage.read(_LOG)
                self.storage.write(_LOG, (before + told)[-_LOG_BYTES:])


class _StoredMarker:
    """The mark of a clean stop. A signal handler may set it, so `touch` returns at once."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._setting: threading.Thread | None = None
        self._is_clear = False

    def touch(self) -> None:
        self._is_clear = False
        self._storage.set_deadline(GRACE_SECONDS)
        self._setting = _in_background(
            "marking the stop", lambda: self._storage.write(STOP_MARKER, b"")
        )

    def unlink(self, missing_ok: bool = False) -> None:
        if self._setting is not None:
            self._setting.join()
        if self._is_clear:
            return
        try:
            self._storage.remove(STOP_MARKER)
            self._is_clear = True
        except PcsearchError as error:
            _log.warning("%s/%s stays: %s", self._storage.url, STOP_MARKER, error)


def check_place(runs: str) -> None:
    """Check that runs can be stored there."""
    check_storage(open_storage(runs))


def is_taken(runs: str, name: str) -> bool:
    """Whether a run has that name."""
    return open_storage(runs).below(check_run_name(name)).exists("recipe.yaml")


def check_free(runs: str, name: str) -> None:
    """Refuse a taken name early."""
    if is_taken(runs, name):
        raise UserError(_taken(_run(open_storage(runs), name)))


@contextlib.contextmanager
def new_run(runs: str, name: str, recipe: str, environment: dict[str, Any]) -> Iterator[RemoteRun]:
    """Create a run and hold its lease.

    Raises:
        UserError: the name is taken, perhaps by a run created at the same moment.
    """
    run = _run(open_storage(runs), name)
    if not run.storage.create("recipe.yaml", recipe.encode()):
        raise UserError(_taken(run))
    with held(run) as run:
        run.write_json("environment.json", environment)
        run.make_folders()
        yield run


@contextlib.contextmanager
def held(run: RemoteRun) -> Iterator[RemoteRun]:
    """Hold a run's lease, with a staging folder; may first watch a dead driver for 30 s.

    Raises:
        UserError: another process runs the campaign.
    """
    with acquire(run.storage) as lease, scratch_folder(default_cache_folder() / SCRATCH) as folder:
        path = folder / run.name
        path.mkdir()
        with contextlib.suppress(FileNotFoundError):
            run.storage.download("recipe.yaml", path / "recipe.yaml")
        run = replace(run, path=path, lease=lease)
        run.write_json(DRIVER_FILE, this_process())
        yield run


def list_runs(runs: str) -> list[RunFolder]:
    """Every campaign, newest first."""
    root = open_storage(runs)
    found = [_run(root, name) for name in root.folders()]
    with ThreadPoolExecutor(_LISTED_AT_ONCE) as pool:
        times = list(pool.map(lambda run: run.storage.modified("journal"), found))
    begun = [(when, run) for when, run in zip(times, found, strict=True) if when is not None]
    return [run for _, run in sorted(begun, key=lambda one: one[0], reverse=True)]


def find_run(url: str, *, begun: bool = True) -> RemoteRun | None:
    """The run at an address, if any; `begun=False` also accepts one without a journal."""
    runs, _, name = url.rstrip("/").rpartition("/")
    if runs.endswith(":/"):
        raise UserError(f"{url} names a bucket, but no run in it; write s3://bucket/prefix/NAME")
    run = _run(open_storage(runs), name)
    is_there = run.has_begun or (not begun and run.storage.exists("recipe.yaml"))
    return run if is_there else None


def no_such_run(run: str, runs: str) -> UserError:
    hint = did_you_mean(run, [other.name for other in list_runs(runs)])
    return UserError(
        f'there is no run "{run}" under {runs}{hint}; `pcsearch runs ls --runs {runs}` lists the '
        "existing runs"
    )


def _run(root: Storage, name: str) -> RemoteRun:
    return RemoteRun(Path(name), root.below(name))


def _taken(run: RemoteRun) -> str:
    taken = f"{run.url} already exists and is never overwritten"
    holder = newest_holder(run.storage)
    if holder is not None:
        taken += f" ({holder} ran it last)"
    go_on = resume_command(run.url)
    return f"{taken}; resume it with `{go_on}`, or choose another name with --name"


def _in_background(what: str, action: Callable[[], None]) -> threading.Thread:
    def act() -> None:
        try:
            action()
        except PcsearchError as error:
            _log.warning("%s failed: %s", what, error)

    thread = threading.Thread(target=act, name=what, daemon=True)
    thread.start()
    return thread
