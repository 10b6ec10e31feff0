"""The run's files as a trial uses them: in folders that all nodes share, or in an object store."""

from __future__ import annotations

import errno
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from pcsearch.errors import NodeError, UserError
from pcsearch.search.trial import checkpoint_folder, stop_marker
from pcsearch.search.workplace import Workplace
from pcsearch.train.checkpoints import Checkpoints


class RunFiles(Protocol):
    """What a trial reads of its run, and leaves in it."""

    @property
    def data(self) -> str:
        """Folder of the files with labels."""
        ...

    def checkpoints(self, trial: str, attempt: int) -> Checkpoints:
        """A trial's checkpoints; to be closed with `done`."""
        ...

    def weights(self, file: str) -> Path:
        """Where weights are to be written, `kept` is to be called then."""
        ...

    def kept(self, path: Path) -> None:
        """Make weights that were written part of the run."""
        ...

    def done(self, trial: str) -> None:
        """Let go of what this node holds for a trial."""
        ...


class UnwritableError(OSError):
    """A worker cannot write what the run is to keep, as on a full disk.

    As where the driver itself cannot write, no trial is to blame: the campaign ends, and is gone
    on with when there is room.
    """


def run_files(workplace: Workplace) -> RunFiles:
    """The files of the workplace's run.

    Raises:
        NodeError: this node does not see the run, or cannot write to it.
    """
    if workplace.remote is not None:
        from pcsearch.search.stored_files import stored_files

        try:
            files = stored_files(workplace.remote, workplace.cache)
            _ = files.data  # fetched now, so that it is told as what this node may not read
            return files
        except UserError as error:
            raise NodeError(f"this node cannot use the store of the run: {error}") from error
    _look_at(Path(workplace.checkpoints))
    return SharedFiles(workplace)


@lru_cache(maxsize=8)
def _look_at(folder: Path) -> None:
    """See, once a process, that checkpoints can be left in a folder."""
    share = "with several nodes, put the runs on storage that all of them share, with --runs"
    try:
        if not folder.is_dir():
            raise NodeError(f"this node does not see the run folder {folder.parent}; {share}")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return  # a full disk may be freed; checkpoints are tried again
        raise NodeError(
            f"this node cannot write into the run folder {folder.parent} ({error.strerror}); mend "
            f"its permissions there, or, {share}"
        ) from error


class SharedFiles:
    """Folders that the driver and every worker see under the same path."""

    def __init__(self, workplace: Workplace) -> None:
        self.data = workplace.data
        self._checkpoints = Path(workplace.checkpoints)
        self._weights = Path(workplace.weights)

    def checkpoints(self, trial: str, attempt: int) -> Checkpoints:
        folder = self._checkpoints / checkpoint_folder(trial)
        return Checkpoints(folder, attempt, stopping=stop_marker(self._checkpoints).exists)

    def weights(self, file: str) -> Path:
        return self._weights / file

    def kept(self, path: Path) -> None:
        """Nothing: it lies there already."""

    def done(self, trial: str) -> None:
        """Nothing: what is there is the run's."""
