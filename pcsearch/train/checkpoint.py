"""The state of a training after an epoch, to go on from after an interruption."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from pcsearch.errors import TrialError
from pcsearch.pickles import check_torch_file
from pcsearch.regular_files import open_regular
from pcsearch.train.atomic import replacing
from pcsearch.train.records import EpochRecord, record_from_dict
from pcsearch.train.settings import FitSettings

_log = logging.getLogger(__name__)
_VERSION = 1


@dataclass(frozen=True)
class Identity:
    """What must be the same for a checkpoint to be gone on from: settings, network, batches."""

    settings: dict[str, Any]
    tensors: list[list[Any]]
    batches_per_epoch: int


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the next epoch needs (its random numbers come from seed and epoch alone).

    Attributes:
        model: the network's state dict.
        optimizer: the optimizer's state dict, momentum included.
        records: of all epochs so far; the last one's number is the epoch of this state.
    """

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    records: tuple[EpochRecord, ...]


def identity_of(settings: FitSettings, module: nn.Module, batches_per_epoch: int) -> Identity:
    """The identity of a training; of the network, the names, shapes and types of its tensors."""
    tensors = [
        [name, list(tensor.shape), str(tensor.dtype)]
        for name, tensor in module.state_dict().items()
    ]
    return Identity(asdict(settings), tensors, batches_per_epoch)


def save_checkpoint(path: Path, checkpoint: Checkpoint, identity: Identity) -> None:
    """Write to `path` atomically: at any time it is the old state or the new one.

    Raises:
        TrialError: when it cannot be written (disk full, no permission).
    """
    content = {
        "version": _VERSION,
        "identity": json.dumps(asdict(identity)),
        "model": checkpoint.model,
        "optimizer": checkpoint.optimizer,
        "records": [asdict(record) for record in checkpoint.records],
    }
    try:
        with replacing(path) as written, written.open("wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError, MemoryError) as error:  # torch: a full disk is a RuntimeError
        raise TrialError(
            f"cannot write the checkpoint {path}: {error}; free disk space or check the folder's "
            "permissions"
        ) from error


def load_checkpoint(path: Path, identity: Identity) -> Checkpoint | None:
    """Read a checkpoint onto the CPU, without unpickling code; None where there is none.

    A file that is no whole checkpoint (truncated, damaged, foreign) is logged as a warning and
    counts as none.

    Raises:
        TrialError: when it belongs to a training of another identity, or may not be read.
    """
    if not path.exists() and not path.is_symlink():
        return None
    try:
        file = open_regular(path)  # a refusal to open is told from the damage inside
    except OSError as error:
        raise TrialError(f"cannot read the checkpoint {path}: {error}") from error
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
        checkpoint = Checkpoint(content["model"], content["optimizer"], records)
        if not records or [record.epoch for record in records] != [*range(1, len(records) + 1)]:
            raise ValueError("it does not have every epoch")
        differences = _differences(stored, json.loads(json.dumps(asdict(identity))))
    except Exception as error:  # a hostile or damaged file raises whatever zipfile or torch does
        _log.warning(
            "%s is no readable checkpoint (%s)",
            path,
            str(error).partition("\n")[0] or type(error).__name__,
        )
        return None
    if differences:
        raise TrialError(
            f"the checkpoint {path} is of another training: {'; '.join(differences)}. "
            "Delete it to start anew, or give its own settings to go on"
        )
    return checkpoint


def _check_archive(file: BinaryIO) -> None:
    """Whether the parts are whole: torch.load does not look."""
    with zipfile.ZipFile(file) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"its part {damaged} is damaged")


def _differences(stored: dict[str, Any], wanted: dict[str, Any]) -> Sequence[str]:
    there, here = stored["settings"], wanted["settings"]
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
