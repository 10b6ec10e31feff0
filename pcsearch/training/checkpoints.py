"""A training's checkpoints: what one holds, when one is written, and which one is resumed.

A file name holds the attempt and the epoch: `a0001-e00012.pt`. A worker may outlive a killed
driver. It then belongs to an earlier attempt, so it never overwrites or removes later files.
"""

from __future__ import annotations

import json
import logging
import re
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor, nn

from pcsearch.errors import PcsearchError, TrialError
from pcsearch.io import open_regular, remove_half_written, replacing
from pcsearch.pickle_check import check_torch_file
from pcsearch.training.config import TrainConfig
from pcsearch.training.metrics import EpochRecord, record_from_dict

_log = logging.getLogger(__name__)
_VERSION = 1


@dataclass(frozen=True)
class Identity:
    """What a checkpoint and the training that resumes it must share: settings, network, batches."""

    settings: dict[str, Any]
    tensors: list[list[Any]]
    batches_per_epoch: int


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the next epoch needs. Its random numbers come from seed and epoch alone.

    Attributes:
        model: the network's state dict.
        optimizer: the optimizer's state dict, including momentum.
        records: of all epochs so far. The last one's number is the epoch of this state.
        average: the state dict of the running mean of the weights; None without one.
    """

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    records: tuple[EpochRecord, ...]
    average: dict[str, Any] | None = None


def identity_of(settings: TrainConfig, module: nn.Module, batches_per_epoch: int) -> Identity:
    """The identity of a training. The network counts by its tensors' names, shapes and types."""
    tensors = [
        [name, list(tensor.shape), str(tensor.dtype)]
        for name, tensor in module.state_dict().items()
    ]
    return Identity(asdict(settings), tensors, batches_per_epoch)


def save_checkpoint(path: Path, checkpoint: Checkpoint, identity: Identity) -> None:
    """Write to `path` atomically: at any time the file is the old state or the new one.

    Raises:
        TrialError: the file cannot be written (disk full, no permission).
    """
    content = {
        "version": _VERSION,
        "identity": json.dumps(asdict(identity)),
        "model": checkpoint.model,
        "optimizer": checkpoint.optimizer,
        "records": [asdict(record) for record in checkpoint.records],
        "average": checkpoint.average,
    }
    try:
        with replacing(path) as written, written.open("wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError, MemoryError) as error:  # torch: a full disk is a RuntimeError
        raise TrialError(
            f"cannot write the checkpoint {path}: {error}. Free disk space, or check the folder's "
            "permissions"
        ) from error


def _load_checkpoint(path: Path, identity: Identity) -> Checkpoint | None:
    """Read a checkpoint onto the CPU, without unpickling code; None if there is none.

    A truncated, damaged or foreign file is logged as a warning and counts as none.

    Raises:
        TrialError: the file belongs to a training of another identity, or may not be read.
    """
    if not path.exists() and not path.is_symlink():
        return None
    try:
        file = open_regular(path)  # outside the next try: a refusal to open is not damage
    except OSError as error:
        raise TrialError(
            f"cannot read the checkpoint {path}: {error}. Check the file's permissions"
        ) from error
    try:
        with file:
            check_torch_file(file)
            _check_archive(file)
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
        if content["version"] != _VERSION:
            raise ValueError(f"its version is {content['version']}, not {_VERSION}")
        stored = asdict(Identity(**json.loads(content["identity"])))
        records = tuple(record_from_dict(record) for record in content["records"])
        average = content.get("average")
        checkpoint = Checkpoint(content["model"], content["optimizer"], records, average)
        if not records or [record.epoch for record in records] != [*range(1, len(records) + 1)]:
            raise ValueError("it does not have every epoch")
        differences = _differences(stored, json.loads(json.dumps(asdict(identity))))
    except Exception as error:  # on a hostile or damaged file, zipfile and torch raise anything
        _log.warning(
            "%s is no readable checkpoint (%s)",
            path,
            str(error).partition("\n")[0] or type(error).__name__,
        )
        return None
    if differences:
        raise TrialError(
            f"the checkpoint {path} belongs to another training: {'; '.join(differences)}. "
            "Delete it to start from scratch, or give its own settings to resume it"
        )
    return checkpoint


def _check_archive(file: BinaryIO) -> None:
    """Raise ValueError if a part is damaged: torch.load does not verify their checksums."""
    with zipfile.ZipFile(file) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"its part {damaged} is damaged")


_DEFAULTS = {one.name: one.default for one in fields(TrainConfig) if one.default is not MISSING}
"""Values of settings that older checkpoints do not have."""


def _differences(stored: dict[str, Any], wanted: dict[str, Any]) -> Sequence[str]:
    there, here = _DEFAULTS | stored["settings"], wanted["settings"]
    found = [
        f"{key} is {there.get(key)} there and {here.get(key)} here"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    if stored["tensors"] != wanted["tensors"]:
        found.append("its network has other parameters or shapes")
    if stored["batches_per_epoch"] != wanted["batches_per_epoch"]:
        found.append(
            f"it has {stored['batches_per_epoch']} batches an epoch, not "
            f"{wanted['batches_per_epoch']}"
        )
    return found


KEPT_CHECKPOINTS = 2
"""Files that are kept: the newest, and the one before it in case the newest is damaged."""

SHORTEST_INTERVAL_SECONDS = 2.0
"""Least training time between two checkpoints: a crash loses about this much.

It is longer than writing a small checkpoint takes.
"""

LONGEST_INTERVAL_SECONDS = 4.0
"""After this time a checkpoint is due, even if writing is slow. Longer epochs are all saved."""

_COST = 20  # interval over writing time: writing takes at most 5 % of the time
_NAME = re.compile(r"a(\d{4,})-e(\d{5,})\.pt")


class Origin(Protocol):
    """Where checkpoints are kept if the local folder holds only copies."""

    def names(self) -> Sequence[str]:
        """The names of the files there."""
        ...

    def fetch(self, path: Path) -> None:
        """Copy the file called `path.name` to `path`; FileNotFoundError if it is gone."""
        ...

    def store(self, path: Path) -> None:
        """Copy a file from `path`; TrialError if that fails. Training continues then."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file."""
        ...


class Checkpoints:
    """The folder with one training's checkpoints.

    The next checkpoint is due 20 times the last one's writing time later: at least
    `every_seconds`, at most `longest_seconds`.

    Args:
        folder: Created with the first checkpoint.
        attempt: How often the training was resumed. Later attempts have larger numbers.
        every_seconds: Least time between two checkpoints; 0 writes one an epoch.
        stopping: Whether the training will pause soon. While True, every epoch is saved.
        longest_seconds: Most time between two checkpoints, even if writing is slow.
        origin: Where checkpoints are kept, if `folder` holds only copies.

    Attributes:
        saved_epoch: The newest saved epoch that this process knows of; 0 for none.
        error: Why the last checkpoint could not be written; None if it was.
    """

    def __init__(
        self,
        folder: Path,
        attempt: int = 0,
        *,
        every_seconds: float = SHORTEST_INTERVAL_SECONDS,
        stopping: Callable[[], bool] = lambda: False,
        longest_seconds: float = LONGEST_INTERVAL_SECONDS,
        origin: Origin | None = None,
    ) -> None:
        self.folder = folder
        self.attempt = attempt
        self.saved_epoch = 0
        self.error: str | None = None
        self._every = every_seconds
        self._longest = longest_seconds
        self._stopping = stopping
        self._origin = origin
        self._wait = every_seconds
        self._last = time.monotonic()
        self._warned = False
        self._damaged: set[str] = set()

    @property
    def due(self) -> bool:
        """Whether the epoch that has just ended should be saved."""
        return time.monotonic() - self._last >= self._wait or self._stopping()

    def save(self, checkpoint: Checkpoint, identity: Identity) -> None:
        """Write the state after `checkpoint`'s last epoch; then remove all but the newest two.

        If writing fails, `error` says why and the earlier files stay. Training may continue: the
        next checkpoint that is due is tried again.
        """
        epoch = checkpoint.records[-1].epoch
        path = self.folder / f"a{self.attempt:04d}-e{epoch:05d}.pt"
        began = time.monotonic()
        try:
            save_checkpoint(path, checkpoint, identity)
            if self._origin is not None:
                self._origin.store(path)
        except TrialError as error:
            self._failed(str(error))
        else:
            self.saved_epoch, self.error = epoch, None
            self._damaged.discard(path.name)
        self._last = time.monotonic()
        cost = _COST * (self._last - began) if self._every else 0.0
        self._wait = max(self._every, min(cost, self._longest))
        if self.folder.is_symlink():
            return  # we wrote nothing there, so we remove nothing there
        self._remove_old()

    def _remove_old(self) -> None:
        if self._origin is not None and self.error is None:
            with suppress(PcsearchError):
                for name in self._superfluous(self._origin.names()):
                    self._origin.remove(name)
        for name in self._superfluous(_names(self.folder)):
            with suppress(OSError):
                (self.folder / name).unlink()

    def _superfluous(self, names: Iterable[str]) -> list[str]:
        """All but the newest two that are not known to be damaged."""
        known = _newest_first(names, self.attempt)
        whole = [name for name in known if name not in self._damaged]
        return [name for name in known if name not in whole[:KEPT_CHECKPOINTS]]

    def _failed(self, error: str) -> None:
        self.error = error
        if not self._warned:
            _log.warning("%s; training continues without it", error)
        self._warned = True

    def load(self, identity: Identity) -> Checkpoint | None:
        """The newest whole checkpoint of any attempt; None if there is none.

        Raises:
            TrialError: a file belongs to a training of another identity, or may not be read.
        """
        self._last = time.monotonic()
        if not self.folder.is_symlink():
            remove_half_written(self.folder)  # left by an attempt that was killed while writing
        there = _names(self.folder) if self._origin is None else self._origin.names()
        files = [self.folder / name for name in _newest_first(there)]
        for number, path in enumerate(files):
            if self._origin is not None:
                with suppress(FileNotFoundError):
                    self._origin.fetch(path)
            checkpoint = _load_checkpoint(path, identity)
            if checkpoint is not None:
                self.saved_epoch = checkpoint.records[-1].epoch
                if number:
                    _log.warning("training resumes from the checkpoint before, %s", path)
                return checkpoint
            self._damaged.add(path.name)
        if files:
            _log.warning(
                "%s holds no readable checkpoint; training starts from scratch", self.folder
            )
        return None


def _newest_first(names: Iterable[str], attempt: int | None = None) -> list[str]:
    """Checkpoints by epoch, then attempt, descending; only of attempts up to `attempt`."""
    matches = [match for name in names if (match := _NAME.fullmatch(name))]
    known = [(int(match[2]), int(match[1]), match.string) for match in matches]
    return [
        name
        for _, number, name in sorted(known, reverse=True)
        if attempt is None or number <= attempt
    ]


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []
