"""The run folder: everything a campaign leaves, without pickles.

runs/NAME/
  recipe.yaml         the resolved recipe
  environment.json    versions, machine, command line
  journal.jsonl       every decision and every epoch, append-only
  summary.json        the final summary, once the campaign ended
  report.html         the page of `pcsearch report`, if requested
  weights/            one safetensors file per choice of each arm: its first confirm seed
  predictions/        one safetensors file per finalist and confirm trial
  data/               labels of the images, and which decoded images they belong to
  checkpoints/        of running trials
  driver.lock         held by the process that runs the campaign
  driver.json         host, pid and start of that process
  output.log          what a detached campaign prints
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import platform
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pcsearch.cpus import usable_cpus
from pcsearch.errors import UserError, did_you_mean
from pcsearch.io import (
    open_regular,
    own_folder,
    own_text,
    read_regular,
    remove_half_written,
    replacing,
)
from pcsearch.printable import encodable
from pcsearch.runs.driver import (
    DRIVER_FILE,
    LOCK_FILE,
    Driver,
    is_locked,
    parse_driver,
    this_process,
)
from pcsearch.runs.shutdown import Marker
from pcsearch.search.journal.audit import audited, refusal
from pcsearch.search.journal.journal_file import (
    LINE_BYTES,
    Chain,
    Event,
    FileJournal,
    Journal,
    read_events,
)
from pcsearch.search.state import CampaignState, Status
from pcsearch.search.trial import PREDICTIONS, checkpoint_folder, stop_marker

_DEFAULT_RUNS = Path("runs")
"""Where commands keep and find runs by default."""


def resume_command(run: Path | str, cluster: str | None = None) -> str:
    """The command that resumes a run, typed in the current folder.

    Args:
        run: Its folder, or its URL.
        cluster: The address of the Ray cluster to use; None is this machine.
    """
    on = f" --address {shlex.quote(cluster)}" if cluster else ""
    return f"pcsearch resume {shlex.quote(shown_address(run))}{on}"


def shown_address(run: Path | str) -> str:
    """A run's folder as shown to a user in the current folder."""
    return min(os.path.relpath(run), str(run), key=len) if isinstance(run, Path) else run


def at(runs: Path | str) -> str:
    """The option for the folder of the runs, after a space; empty for the default."""
    return "" if str(runs) == str(_DEFAULT_RUNS) else f" --runs {shlex.quote(str(runs))}"


_MINIMUM_FREE_BYTES = 100 * 2**20


def check_space(runs: Path) -> None:
    """Refuse a campaign that cannot write its journal; `runs` need not exist yet."""
    existing = next(path for path in (runs, *runs.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError(_not_writable(runs, f"{existing} is a file"))
    if not os.access(existing, os.W_OK):
        raise UserError(_not_writable(runs, f"{existing} is not writable"))
    free = shutil.disk_usage(existing).free
    if free < _MINIMUM_FREE_BYTES:
        raise UserError(
            f"the disk of {runs} has {free / 2**20:.0f} MiB left, but a campaign needs at least "
            f"{_MINIMUM_FREE_BYTES / 2**20:.0f} MiB; free some, or choose another disk with --runs"
        )


def _not_writable(runs: Path, reason: str | None) -> str:
    """The message if no run folder can be created there."""
    return f"cannot create a run folder in {runs} ({reason}); choose another folder with --runs"


_REPORTED = ("pcsearch", "torch", "torchvision", "ray", "optuna", "numpy", "pillow")


def environment(weights: Sequence[str], published: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored with every run: versions, machine, and each network's weights.

    `weights` are sentences on their sources; `published` is each network's licence (see
    `PublishedWeights`).
    """
    return {
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": usable_cpus(),
        "weights": list(weights),
        "published_weights": dict(published),
        "versions": {package: _version(package) for package in _REPORTED},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


_LOCK_SECONDS = 1.0  # longer than a reader needs to test the lock
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_WRITTEN_ONCE = "environment.json"
READ_AT_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class RunFolder:
    """One campaign's folder."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def address(self) -> Path | str:
        """The address that a user types."""
        return self.path

    @property
    def url(self) -> str | None:
        """Its address in an object store; None in a file system."""
        return None

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def weights(self) -> Path:
        return self.path / "weights"

    @property
    def has_begun(self) -> bool:
        """Whether its journal has a complete event; a driver may die before the first."""
        try:
            with open_regular(self.journal) as file:
                return file.readline(LINE_BYTES + 1).endswith(b"\n")
        except FileNotFoundError:
            return False

    def modified(self) -> float:
        """When the journal was last written, Unix time in seconds."""
        return self.journal.stat().st_mtime

    def created(self) -> float:
        """When the run was created, Unix time in seconds."""
        try:
            return (self.path / _WRITTEN_ONCE).stat().st_mtime
        except FileNotFoundError:  # somebody removed the file
            return self.modified()

    def open_journal(self, after: int) -> contextlib.AbstractContextManager[Journal]:
        """The journal, for writing after the `after` events read from it."""
        return FileJournal(self.journal)

    def share_data(self) -> None:
        """Make the files in `data` visible to all workers."""

    def stop_marker(self) -> Marker:
        """See `Ending`."""
        return stop_marker(self.checkpoints)

    def drop_checkpoints(self, trial: str) -> None:
        """Remove the checkpoints of a trial that ended."""
        shutil.rmtree(self.checkpoints / checkpoint_folder(trial), ignore_errors=True)

    def let_go(self) -> None:
        """Release the lock before this process ends itself; the system releases a file lock."""

    def make_folders(self) -> None:
        """Create the folders of a run; existing ones stay."""
        for folder in (self.data, self.checkpoints, self.weights, self.path / PREDICTIONS):
            own_folder(folder)

    def events(self, chain: Chain | None = None) -> Iterator[Event]:
        """The journal's events, also while the run is active; `chain` follows its lines."""
        if not self.journal.is_file():
            raise UserError(f"{self.path} has no journal.jsonl: nothing was started there")
        return read_events(self.journal, chain)

    def state(self) -> CampaignState:
        """The campaign according to its journal, also while it runs.

        Contradictions in the journal are in `CampaignState.mismatches`.
        """
        chain = Chain()
        try:
            return audited(self.events(chain), chain)
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise UserError(f"{self.address}: the journal is damaged: {error!r}") from error

    def trusted_state(self) -> CampaignState:
        """The same, without contradictions.

        Raises:
            UserError: the journal contradicts itself; names the first such line.
        """
        state = self.state()
        if state.mismatches:
            raise UserError(f"{self.address}: {refusal(state.mismatches)}")
        return state

    def status(self, state: CampaignState | None = None, *, quick: bool = False) -> Status:
        """`running` only while a process holds the lock; otherwise it was interrupted.

        `quick` avoids a slow check, so a process that vanished recently may still count as running.
        """
        told = (state or self.state()).status
        return "interrupted" if told == "running" and not self.is_locked() else told

    def is_held(self, *, quick: bool = False) -> bool:
        """Whether a process runs this campaign or prepares to; `quick` as in `status`."""
        return self.is_locked()

    def driver(self) -> Driver | None:
        """The process that held the lock last, as far as `driver.json` says."""
        return parse_driver(self.read_text(DRIVER_FILE))

    @property
    def lock(self) -> Path | None:
        """The file that its driver has open; None in an object store."""
        return self.path / LOCK_FILE

    def events_after(self, number: int) -> list[Event]:
        """The journal's events after the first `number`."""
        return list(itertools.islice(self.events(), number, None))

    def is_locked(self) -> bool:
        """Whether a process is running this campaign now."""
        return is_locked(self.path / LOCK_FILE)

    def finish(self, summary: object, *, whole: bool) -> None:
        """Write the final summary; a completed (`whole`) campaign loses its checkpoints."""
        self.write_json("summary.json", summary)
        if whole:
            if self.checkpoints.is_dir():  # rmtree would block for ever on a named pipe
                shutil.rmtree(self.checkpoints, ignore_errors=True)
            remove_half_written(self.path, self.data, self.weights, self.path / PREDICTIONS)

    def file(self, name: str, copies: Path) -> Path | None:
        """A file of the run, to be read; None if there is none.

        Args:
            name: Its name within the run, such as `weights/a.safetensors`.
            copies: A folder for the copy of a file from an object store.
        """
        path = self.path / name
        return path if path.is_file() and not path.is_symlink() else None

    def read_text(self, name: str) -> str | None:
        """A file of the run as text; None if it is missing or unsafe, see `own_text`."""
        return own_text(self.path / name, READ_AT_MOST_BYTES)

    def read_bytes(self, name: str) -> bytes:
        """A file of the run.

        Raises:
            OSError: it cannot be read, or is a link, whose target is somewhere else.
            StorageError: the store does not answer.
        """
        path = self.path / name
        if path.is_symlink() or path.parent.is_symlink():
            raise OSError(errno.ELOOP, "is a link", str(path))
        return read_regular(path)

    def write_json(self, name: str, content: object) -> None:
        """Write a file atomically."""
        self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False))

    def write_text(self, name: str, content: str) -> None:
        """Write a file atomically. Names of files in it may be no UTF-8."""
        with replacing(self.path / name) as temporary:
            temporary.write_text(encodable(content), encoding="utf-8")


@contextlib.contextmanager
def new_run(runs: Path, name: str, recipe: str, environment: dict[str, Any]) -> Iterator[RunFolder]:
    """Create a run folder and hold its lock.

    Raises:
        UserError: the name is taken or is not a folder name, the disk is nearly full, or the
            folder is not writable.
    """
    folder = RunFolder(runs / check_run_name(name))
    check_space(runs)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        folder.path.mkdir()
    except FileExistsError:
        raise UserError(_taken(folder)) from None
    except OSError as error:
        raise UserError(_not_writable(runs, error.strerror)) from error
    with held(folder):
        folder.write_json(_WRITTEN_ONCE, environment)
        folder.make_folders()
        folder.write_text("recipe.yaml", recipe)  # last: with it, the run can be resumed
        yield folder


@contextlib.contextmanager
def held(folder: RunFolder) -> Iterator[RunFolder]:
    """Hold a run's lock; the system releases it when the process dies.

    Raises:
        UserError: another process runs the campaign, or the folder is not writable.
    """
    try:
        lock = FileLock(folder.path / LOCK_FILE, timeout=_LOCK_SECONDS)
        lock.acquire()
    except Timeout:
        raise UserError(f"{_in_use(folder)}; wait for it, or stop it there first") from None
    except OSError as error:
        raise UserError(f"{folder.path} cannot be locked ({error.strerror or error})") from error
    try:
        try:
            folder.write_json(DRIVER_FILE, this_process())
        except OSError as error:
            raise UserError(f"{folder.path} cannot be written ({error.strerror})") from error
        yield folder
    finally:
        lock.release()


def check_free(runs: Path, name: str) -> None:
    """Refuse a taken name early, before anything is prepared."""
    folder = RunFolder(runs / check_run_name(name))
    if folder.path.exists():
        raise UserError(_taken(folder))


def check_run_name(name: str) -> str:
    """Check the name of a run, which is the name of a folder."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f'the run name is "{name}", but must consist of letters, digits, ".", "_" and "-" and '
            "begin with a letter or digit"
        )
    return name


def list_runs(runs: Path) -> list[RunFolder]:
    """Every campaign under a folder, newest first."""
    if not runs.is_dir():
        return []
    folders = [RunFolder(path) for path in runs.iterdir() if (path / "journal.jsonl").is_file()]
    return sorted(folders, key=lambda folder: folder.journal.stat().st_mtime, reverse=True)


def find_run(run: str | None, runs: Path, *, begun: bool = True) -> RunFolder:
    """A run by its folder or its name; the newest if none is named.

    `begun=False` also finds a named run whose driver died before the journal's first line.
    """
    known = list_runs(runs)
    if run is None:
        if not known:
            raise UserError(
                f'there are no runs under "{runs}"; start one with '
                f"`pcsearch tune quickstart{at(runs)}`"
            )
        return known[0]
    for path in (Path(run), runs / run):
        sign = "journal.jsonl" if begun else "recipe.yaml"
        if (path / "journal.jsonl").is_file() or (path / sign).is_file():
            return RunFolder(path.resolve())
    names = [folder.name for folder in known]
    hint = did_you_mean(Path(run).name, names)
    where = f'there is no run "{run}" under {runs}'
    if len(Path(run).parts) > 1:
        where = f"{run} is not a run"
    raise UserError(f"{where}{hint}; `pcsearch runs ls{at(runs)}` lists the existing runs")


def _taken(folder: RunFolder) -> str:
    if folder.is_locked():
        return f"{_in_use(folder)}; choose another name with --name"
    begun = (folder.path / "recipe.yaml").is_file()
    go_on = f" resume it with `{resume_command(folder.path)}`, or" if begun else ""
    taken = f"{folder.path} already exists and is never overwritten"
    return f"{taken};{go_on} choose another name with --name"


def _in_use(folder: RunFolder) -> str:
    who = folder.driver() or "another process"
    return f"{folder.path} is in use: {who} runs it now"
