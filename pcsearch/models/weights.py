"""Weights files: read state dicts without running code, and match them with a network."""

from __future__ import annotations

import math
import pickle
import re
import tarfile
import warnings
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pcsearch.errors import UserError
from pcsearch.io import expanded, is_safetensors, not_the_file, open_regular
from pcsearch.pickle_check import check_torch_file

_NESTED_KEYS = ("state_dict", "model", "model_state_dict", "model_state")
"""Keys under which training programs store the state dict in a larger checkpoint."""

_AVERAGED_KEYS = ("state_dict_ema", "model_ema", "ema_state_dict", "model_state_ema", "ema")
"""Keys of an average of the weights over the steps (EMA). Programs that keep one evaluate it."""


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of `read_weights`."""
    return read_weights(path)[0]


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], str]:
    """Name to tensor, on the CPU, with the file's own names; and which part of the file that is.

    Reads files of safetensors, whatever their name, and of `torch.save` (`weights_only=True`). A
    state dict may be one level down, under one of `_NESTED_KEYS`. Averaged weights come before
    plain ones. The second value is empty if the file has no averaged weights.

    Raises:
        UserError: no such file, not readable, or not a state dict. The text says what to do.
    """
    file = expanded(path)
    if not file.is_file():
        there = "not a regular file" if file.exists() else "no such file"
        what = "a folder, not a file" if file.is_dir() else there
        raise UserError(f"weights: {path}: {what}; give a state dict's path, `imagenet` or `none`")
    content = _read(file)
    part = ""
    if isinstance(content, Mapping):
        plain = next((key for key in _NESTED_KEYS if isinstance(content.get(key), Mapping)), None)
        averaged = next((key for key in _AVERAGED_KEYS if _is_state(content.get(key))), None)
        if averaged is not None:
            part = f"its averaged weights `{averaged}`"
            part += f", not the plain ones `{plain}`" if plain is not None else ""
        chosen = averaged or plain
        content = content if chosen is None else content[chosen]
    return _as_state_dict(content, file), part


def _is_state(content: object) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(value, Tensor) for value in content.values())
    )


def _read(file: Path) -> object:
    try:
        with open_regular(file) as content, warnings.catch_warnings():
            start = content.read(32)
            content.seek(0)
            if reason := not_the_file(start):
                raise UserError(f"weights: {file} is {reason}")
            named = file.suffix == ".safetensors" and not start.startswith(b"PK")
            if named or is_safetensors(start):
                # load_file takes a path; this one is the open file
                return load_file(f"/dev/fd/{content.fileno()}")
            if _is_tar(content):
                raise _unreadable(file, "a tar, PyTorch's format of 2017, which unpacks to files")
            check_torch_file(content)
            warnings.simplefilter("ignore")  # torch warns of files that we refuse in one message
            return torch.load(content, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(
            f"weights: {file} is not a state dict: it is no PyTorch file, or it holds Python "
            "objects, which are never unpickled; save `model.state_dict()` with torch.save or "
            "safetensors"
        ) from error
    except (OSError, EOFError, RuntimeError, SafetensorError) as error:
        raise _unreadable(file, str(error).strip() or "it ends early") from error
    except Exception as error:  # a file that is no pickle may raise anything in the unpickler
        raise _unreadable(file, f"{type(error).__name__}: {error}") from error


def _is_tar(content: BinaryIO) -> bool:
    """Whether torch.load would unpack the file to a temporary folder."""
    try:
        with tarfile.open(fileobj=content, mode="r:"):
            return True
    except Exception:  # tarfile may raise anything on other files; torch.load also ignores it
        return False
    finally:
        content.seek(0)


def _unreadable(file: Path, reason: str) -> UserError:
    return UserError(
        f"weights: {file} cannot be read as a state dict ({reason.splitlines()[0]}): it is damaged "
        "or of another format; copy or download it again"
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
    """An entry's name. A key that is no string may be anything, so only its type is shown."""
    return f'entry "{key}"' if isinstance(key, str) else f"an entry named by a {type(key).__name__}"


WRAPPERS = tuple(
    re.compile(pattern)
    for pattern in (r"^", r"^(?:module\.|_orig_mod\.)+", r"^(?:module\.|_orig_mod\.|model\.)+")
)
"""Prefixes that data parallelism, `torch.compile` and Lightning leave in a state dict. The first
one is empty, for networks that have a layer of such a name."""

PARTS = tuple(
    re.compile(rf"^(?:module\.|_orig_mod\.|model\.)*{part}\.(?:module\.|_orig_mod\.)*")
    for part in ("backbone", "encoder", "network")
)
"""Names of a network inside a larger one: a guess, used only if it explains most of the body."""

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""The published DenseNet files write `norm.1.weight` instead of `norm1.weight`."""

COMPUTED = ("num_batches_tracked", "relative_position_index")
"""Ends of the names of tensors that are counted or computed: files may lack them."""

_MOST_MISSING = 0.1
"""Share of a body's tensors that a file may lack: a layer, but not the rest of a deeper network."""

_MOST_UNUSED = 0.1
"""Share of a file's tensors, in parts that the network has, that may find no place in it."""


@dataclass(frozen=True)
class LoadReport:
    """Where a network's weights come from.

    Attributes:
        source: `none`, `imagenet: FILE` or the path.
        dropped: tensors of the file that were not used (a head of another size, parts that this
            network lacks).
        missing: tensors of the network that the file lacks; they keep their random start.
    """

    source: str
    dropped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that others have published, and the terms under which, as their library states them.

    Attributes:
        file: their file, or their repository on the Hugging Face Hub.
        library: `torchvision` or `timm`.
        licence: its name or address; None if the library states none.
        origin: the address of their training recipe or authors; None if the library states none.
    """

    file: str
    library: str
    licence: str | None = None
    origin: str | None = None

    def sentence(self) -> str:
        """The weights, their licence and their origin in a line."""
        licence = self.licence or f"not stated by {self.library}"
        origin = f"; origin {self.origin}" if self.origin else ""
        return f"weights {self.file} of {self.library}; licence {licence}{origin}"


def load_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    head: Collection[str],
    source: str,
    trunk: str = "",
) -> LoadReport:
    """Copy `state` into `module` (values are cast to its types) and report the differences.

    Args:
        module: the network.
        state: the file's tensors.
        head: names of the head's tensors. They may be absent. If one has another shape, all are
            dropped.
        source: where `state` comes from, for messages.
        trunk: prefix of a plain backbone inside the module; a file may hold that one alone.

    Raises:
        UserError: the file has no tensor of the body (all but the head), one of another shape or
            with values that are not finite, or too few of them. That limit is `_MOST_MISSING`
            (ResNet-50's file for a ResNet-101): a partly random body would say nothing about the
            weights. Or the network has too few places for the file's tensors: `_MOST_UNUSED`
            (ResNet-34's file for a ResNet-18). A part of a deeper network is no trained network.
    """
    own = {key: tensor.shape for key, tensor in module.state_dict().items()}
    body = set(own) - set(head)
    named = _best_naming(state, body, trunk)
    if not any(key in own and key not in head for key in named):
        raise UserError(
            f"weights: {source} fits no layer of this network: the file starts with "
            f"{_first(state)}, the network with {_first(own)}; give weights of this network"
        )
    wrong = [key for key, value in named.items() if key in own and own[key] != value.shape]
    for key in wrong:
        if key not in head:
            raise UserError(
                f"weights: {source} belongs to another network: {key} is "
                f"{list(named[key].shape)} in the file but {list(own[key])} here; give weights of "
                "this network"
            )
    missing = tuple(key for key in own if key not in named and not key.endswith(COMPUTED))
    _check_missing([key for key in missing if key in body], body, source)
    _check_unused(named, own, source)
    misfits = set(head) if wrong else set()
    kept = OrderedDict((k, v) for k, v in named.items() if k in own and k not in misfits)
    _check_finite(kept, source)
    _copy(module, kept)
    dropped = tuple(key for key in named if key not in kept)
    return LoadReport(source, dropped, missing)


def _check_missing(missing: list[str], body: Collection[str], source: str) -> None:
    tensors = [key for key in body if not key.endswith(COMPUTED)]
    if len(missing) > _MOST_MISSING * len(tensors):
        raise UserError(
            f"weights: {source} lacks {len(missing)} of the {len(tensors)} tensors of this "
            f"network's body: {_first(missing)}; give weights of this network, or choose the "
            "backbone to which they belong"
        )


def _check_unused(named: Mapping[str, Tensor], own: Collection[str], source: str) -> None:
    """Refuse a deeper network's file. Parts that this network lacks as a whole do not count."""
    parts = {key.partition(".")[0] for key in own}
    shared = [key for key in named if key.partition(".")[0] in parts and not key.endswith(COMPUTED)]
    unused = [key for key in shared if key not in own]
    if len(unused) > _MOST_UNUSED * len(shared):
        raise UserError(
            f"weights: {source} is of a larger network: {len(unused)} of its {len(shared)} tensors "
            f"have no place in this one: {_first(unused)}; give weights of this network, or "
            "choose the backbone to which they belong"
        )


def _check_finite(kept: Mapping[str, Tensor], source: str) -> None:
    """Refuse what would fail at the first step and look like too high a learning rate."""
    for name, value in kept.items():
        # a sum takes 1/30 of the time; it is not finite if a value is not
        if value.is_floating_point() and not math.isfinite(float(value.sum(dtype=torch.float32))):
            wrong = int((~value.isfinite()).sum())
            if wrong:
                raise UserError(
                    f"weights: {source}: the tensor {name} holds {wrong} values that are NaN or "
                    f"infinite, of {value.numel()}: its training had diverged, or the file is "
                    "damaged; give other weights"
                )


def _best_naming(state: Mapping[str, Tensor], body: set[str], trunk: str) -> dict[str, Tensor]:
    """`state` under the renaming that matches the most tensors of the network's body."""

    def known(named: Mapping[str, Tensor]) -> int:
        return sum(key in body for key in named)

    certain = _readings(state, WRAPPERS, trunk)
    guessed = _readings(state, PARTS, trunk)
    return max([*certain, *(g for g in guessed if known(g) > len(body) / 2)], key=known)


def _readings(
    state: Mapping[str, Tensor], prefixes: Sequence[re.Pattern[str]], trunk: str
) -> Iterator[dict[str, Tensor]]:
    """For each prefix: `state` without it, then with new names, then those under `trunk`."""
    for prefix in prefixes:
        bare = {prefix.sub("", key): value for key, value in state.items()}
        yield bare
        new = {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in bare.items()}
        yield new
        yield {trunk + key: value for key, value in new.items()}


def _copy(module: nn.Module, kept: OrderedDict[str, Tensor]) -> None:
    # Some torchvision networks read the format version from this attribute and fail without it.
    kept._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
    module.load_state_dict(kept, strict=False)


def _first(keys: Collection[str], count: int = 3) -> str:
    return ", ".join(list(keys)[:count]) + (", ..." if len(keys) > count else "")
