"""Matching a file's tensors with a network's: names first, then shapes, the head forgivingly."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from pcsearch.errors import UserError

WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+")
"""Prefixes left in a state dict by data parallelism and by `torch.compile`."""

OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""The published DenseNet files write `norm.1.weight` for what is now `norm1.weight`."""

Renaming = Callable[[str], str]


@dataclass(frozen=True)
class LoadReport:
    """What came from where.

    `source` is `none`, `imagenet: FILE` or the path; `dropped` names the file's tensors that were
    not used (a head of another size, parts this network does not have); `missing` names the
    network's tensors that the file does not have, which keep their random start.
    """

    source: str
    dropped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def load_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    head: Collection[str],
    source: str,
    trunk: str = "",
) -> LoadReport:
    """Copy `state` into `module` (values are cast to its types) and report the differences.

    `head` holds the names of the head's tensors: they may have other shapes or be absent, and are
    then dropped together. `trunk` is the prefix under which the module holds a network that a file
    may have been saved from.

    Raises:
        UserError: no tensor outside the head has a namesake, or one has another shape.
    """
    own = {key: tensor.shape for key, tensor in module.state_dict().items()}
    named = _best_naming(state, set(own) - set(head), trunk)
    if not any(key in own and key not in head for key in named):
        raise UserError(
            f"weights: {source} fits no layer of this network: the file begins with "
            f"{_first(state)}, the network with {_first(own)}; give weights of this network"
        )
    wrong = [key for key, value in named.items() if key in own and own[key] != value.shape]
    for key in wrong:
        if key not in head:
            raise UserError(
                f"weights: {source} is of another network: {key} is {list(named[key].shape)} in "
                f"the file but {list(own[key])} here; give weights of this network"
            )
    misfits = set(head) if wrong else set()
    kept = OrderedDict((k, v) for k, v in named.items() if k in own and k not in misfits)
    _copy(module, kept)
    dropped = tuple(key for key in named if key not in kept)
    missing = tuple(
        # Files older than the batch counter lack it; nothing that we do depends on it.
        key
        for key in own
        if key not in named and not key.endswith("num_batches_tracked")
    )
    return LoadReport(source, dropped, missing)


def _best_naming(state: Mapping[str, Tensor], own: set[str], trunk: str) -> dict[str, Tensor]:
    """`state` under the renaming that gives the most names the network knows."""
    renamings: tuple[Renaming, ...] = (
        lambda key: key,
        lambda key: WRAPPERS.sub("", key),
        lambda key: OLD_DENSENET.sub(r"\1\2", WRAPPERS.sub("", key)),
        lambda key: trunk + OLD_DENSENET.sub(r"\1\2", WRAPPERS.sub("", key)),
    )
    candidates = [{rename(key): value for key, value in state.items()} for rename in renamings]
    return max(candidates, key=lambda named: sum(key in own for key in named))


def _copy(module: nn.Module, kept: OrderedDict[str, Tensor]) -> None:
    # Some torchvision networks read the format version beside the tensors and fail without it.
    kept._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
    module.load_state_dict(kept, strict=False)


def _first(keys: Collection[str], count: int = 3) -> str:
    return ", ".join(list(keys)[:count]) + (", ..." if len(keys) > count else "")
