"""Weights files: a PyTorch or safetensors state dict, read without running anything it holds."""

from __future__ import annotations

import pickle
import tarfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pcsearch.errors import UserError
from pcsearch.pickles import check_torch_file
from pcsearch.regular_files import expanded, open_regular

NESTED_KEYS = ("state_dict", "model", "model_state_dict", "model_state")
"""Entries under which training programs keep the state dict in a larger checkpoint."""


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Name to tensor, on the CPU, with the names as they are in the file.

    Reads `.safetensors` and whatever `torch.save` wrote (`weights_only=True`); a state dict one
    level down, under one of `NESTED_KEYS`, is found.

    Raises:
        UserError: no such file, not readable, or not a state dict; with the remedy.
    """
    file = expanded(path)
    if not file.is_file():
        there = "not a regular file" if file.exists() else "no such file"
        what = "a folder, not a file" if file.is_dir() else there
        raise UserError(f"weights: {path}: {what}; give a state dict's path, `imagenet` or `none`")
    content = _read(file)
    if isinstance(content, Mapping):
        nested = (content.get(key) for key in NESTED_KEYS)
        content = next((inner for inner in nested if isinstance(inner, Mapping)), content)
    return _as_state_dict(content, file)


def _read(file: Path) -> object:
    try:
        with open_regular(file) as content, warnings.catch_warnings():
            if file.suffix == ".safetensors":  # mapped, by the name of what is open
                return load_file(f"/dev/fd/{content.fileno()}")
            if _is_tar(content):
                raise _unreadable(file, "a tar, PyTorch's form of 2017, which unpacks to files")
            check_torch_file(content)
            warnings.simplefilter("ignore")  # what it warns of, we refuse in one message
            return torch.load(content, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(
            f"weights: {file} is not a state dict: it holds Python objects, which are never "
            "unpickled, or is no PyTorch file at all; save `model.state_dict()` with torch.save "
            "or safetensors"
        ) from error
    except (OSError, EOFError, RuntimeError, SafetensorError) as error:
        raise _unreadable(file, str(error).strip() or "it ends early") from error
    except Exception as error:  # what is no pickle at all fails anywhere in the unpickler
        raise _unreadable(file, f"{type(error).__name__}: {error}") from error


def _is_tar(content: BinaryIO) -> bool:
    """Whether torch.load would unpack it in a temporary folder."""
    try:
        with tarfile.open(fileobj=content, mode="r:"):
            return True
    except Exception:  # as it does, whatever tarfile makes of other files
        return False
    finally:
        content.seek(0)


def _unreadable(file: Path, reason: str) -> UserError:
    return UserError(
        f"weights: {file} cannot be read as a state dict ({reason.splitlines()[0]}): it is damaged "
        "or of another kind; copy or download it again"
    )


def _as_state_dict(content: object, file: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping) or not content:
        kind = "an empty mapping" if isinstance(content, Mapping) else type(content).__name__
        raise UserError(
            f"weights: {file} is not a state dict but {kind}; save `model.state_dict()`"
        )
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise UserError(
                f"weights: {file} is not a state dict: {_named(key)} is of type "
                f"{type(value).__name__}; save `model.state_dict()`, alone or under the key "
                "`state_dict`"
            )
    return dict(content)


def _named(key: object) -> str:
    """An entry's name; what is none may be anything, and is not written out."""
    return f'entry "{key}"' if isinstance(key, str) else f"an entry named by a {type(key).__name__}"
