"""A folder of `pcsearch export`: one trained network, and how to use it without this program.

config.json         network, options, preprocessing, origin; the SHA-256 of the files, and its own
class_names.json    N names, in the order of the network's outputs
model.safetensors   the state dict
predict.py          prints the likeliest classes of images; needs no pcsearch where that is possible
README.md           the model card, which may be edited
model.onnx          on request
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcsearch.errors import UserError
from pcsearch.io import open_regular, read_regular
from pcsearch.training.export import NetworkFacts, facts_of

CONFIG, CLASS_NAMES, WEIGHTS = "config.json", "class_names.json", "model.safetensors"
SCRIPT, CARD, ONNX = "predict.py", "README.md", "model.onnx"
FORMAT = "pcsearch network 1"
_LARGEST_BYTES = 2**26
_AGAIN = "export the network again, or restore the folder from a copy"


@dataclass(frozen=True)
class ExportedFolder:
    """What such a folder holds, checked against its hashes."""

    study: str
    arm: str
    facts: NetworkFacts
    weights: Path


def is_exported(folder: Path) -> bool:
    """Whether a folder looks like one of `pcsearch export`, whole or damaged, and like no run."""
    signs = (CONFIG, WEIGHTS)
    try:
        is_run = (folder / "journal.jsonl").exists()
        return not is_run and any((folder / name).is_file() for name in signs)
    except OSError:  # a name that is too long, for example
        return False


def read_exported(folder: Path) -> ExportedFolder:
    """Read and check such a folder. Nothing in it is run.

    Raises:
        UserError: a file is missing or was changed; the text names it.
    """
    stated = _config(folder)
    names = _json(folder, CLASS_NAMES)
    for name, digest in stated["files"].items():
        if not isinstance(name, str) or Path(name).name != name:
            raise UserError(f"{folder / CONFIG} is damaged: it lists the file {name!r}; {_AGAIN}")
        if _digest(folder, name) != digest:
            raise UserError(f"{folder / name} was changed after the export; {_AGAIN}")
    for name in (CLASS_NAMES, WEIGHTS):
        if name not in stated["files"]:
            raise UserError(f"{folder / CONFIG} is damaged: it has no hash of {name}; {_AGAIN}")
    facts = facts_of({**stated, "class_names": names}, str(folder / CONFIG))
    study, arm = stated.get("study"), stated.get("arm")
    if not isinstance(study, str) or not isinstance(arm, str):
        raise UserError(f"{folder / CONFIG} is damaged: it names no study and arm; {_AGAIN}")
    return ExportedFolder(study, arm, facts, folder / WEIGHTS)


def sealed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The content of config.json with its own hash."""
    return {**config, "sha256": _seal(config)}


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def _config(folder: Path) -> dict[str, Any]:
    stated = _json(folder, CONFIG)
    if not isinstance(stated, dict) or stated.get("format") != FORMAT:
        raise UserError(
            f"{folder / CONFIG} is not one of pcsearch export of this version (format "
            f'"{FORMAT}"); name a run, or a folder that pcsearch export wrote'
        )
    seal = stated.pop("sha256", None)
    if seal != _seal(stated) or not isinstance(stated.get("files"), dict):
        raise UserError(f"{folder / CONFIG} was changed after the export; {_AGAIN}")
    return stated


def _seal(config: Mapping[str, Any]) -> str:
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _json(folder: Path, name: str) -> Any:
    try:
        return json.loads(read_regular(folder / name, _LARGEST_BYTES))
    except FileNotFoundError as error:
        raise UserError(f"{folder} lacks {name}; {_AGAIN}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{folder / name} cannot be read ({error}); {_AGAIN}") from error


def _digest(folder: Path, name: str) -> str:
    try:
        return file_digest(folder / name)
    except FileNotFoundError as error:
        raise UserError(f"{folder} lacks {name}; {_AGAIN}") from error
    except OSError as error:
        raise UserError(f"{folder / name} cannot be read ({error.strerror}); {_AGAIN}") from error
