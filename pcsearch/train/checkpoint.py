"""The state of a training after an epoch, to go on from after an interruption."""

from __future__ import annotations

import json
import logging
import pickle
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pcsearch.errors import TrialError
from pcsearch.train.atomic import replacing
from pcsearch.train.records import EpochRecord, record_from_dict
from pcsearch.train.settings import FitSettings

_log = logging.getLogger(__name__)
_VERSION = 1
# what reading a truncated, damaged, foreign or hostile file raises
_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


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
    if not path.exists():
        return None
    try:
        with path.open("rb"):  # a refusal to open is told from the OSError of a truncated file
            pass
    except OSError as error:
        raise TrialError(f"cannot read the checkpoint {path}: {error}") from error
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load itself does not check the checksums
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"its part {damaged} is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["version"] != _VERSION:
            raise ValueError(f"its version is {content['version']}, not {_VERSION}")
        stored = json.loads(content["identity"])
        records = tuple(record_from_dict(record) for record in content["records"])
        checkpoint = Checkpoint(content["model"], content["optimizer"], records)
        if not records:
            raise ValueError("it has no epoch")
    except _UNREADABLE as error:
        _log.warning(
            "%s is no readable checkpoint (%s)",
            path,
            str(error).partition("\n")[0] or type(error).__name__,
        )
        return None
    if differences := _differences(stored, json.loads(json.dumps(asdict(identity)))):
        raise TrialError(
            f"the checkpoint {path} is of another training: {'; '.join(differences)}. "
            "Delete it to start anew, or give its own settings to go on"
        )
    return checkpoint


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
