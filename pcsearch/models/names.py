"""The names of backbones and of their options, without importing PyTorch where that is possible.

A recipe is checked by these in milliseconds; importing PyTorch and torchvision takes seconds.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pcsearch.code_consent import is_reference
from pcsearch.errors import did_you_mean
from pcsearch.io import read_text
from pcsearch.models.options import OptionTypes, wrong_values

COMPACT, BILINEAR = "compact_cnn", "bilinear_cnn"
DEFAULT_FEATURES = "vgg16"
"""The trunk of the Bilinear CNN."""

OURS: Mapping[str, OptionTypes] = {
    COMPACT: {"width": int},
    BILINEAR: {"features": str, "channels": int},
}
"""Our own backbones, each with its options."""

TIMM = "timm/"
"""Prefix of the names of timm's networks."""

TIMM_OPTIONS: OptionTypes = {
    "img_size": int,
    "patch_size": int,
    "window_size": int,
    "drop_rate": float,
    "drop_path_rate": float,
    "attn_drop_rate": float,
    "proj_drop_rate": float,
}
"""Options of timm's networks. A network that lacks one refuses it when it is built."""

_TIMM_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_-]+)?")
_TIMM_REGISTERED = re.compile(r"^@register_model\s*\ndef (\w+)", re.MULTILINE)
"""How timm's source names a network (seen in 1.0.31)."""

LONGEST_NAME = 60
"""Characters of a mistaken name in a message."""

_REGISTERED = re.compile(r"^@register_model\(\).*?^def (\w+)", re.MULTILINE | re.DOTALL)
"""How torchvision's source names a classifier (seen in 0.26 to 0.28)."""


def known_backbones() -> tuple[str, ...]:
    """Every name except the user's own: ours first, then torchvision's classifiers, sorted."""
    return (*OURS, *_classifiers())


@cache
def _classifiers() -> tuple[str, ...]:
    spec = importlib.util.find_spec("torchvision")
    files = Path(spec.origin).parent.glob("models/*.py") if spec and spec.origin else ()
    names = {name for file in files for name in _REGISTERED.findall(read_text(file))}
    if not names:  # another version may name them in another way
        from pcsearch.models.torchvision import classifier_names

        return classifier_names()
    return tuple(sorted(names))


@cache
def timm_networks() -> tuple[str, ...]:
    """The names of timm's networks, without prefix and tag; empty if timm is not installed."""
    spec = importlib.util.find_spec("timm")
    files = Path(spec.origin).parent.glob("models/*.py") if spec and spec.origin else ()
    names = {name for file in files for name in _TIMM_REGISTERED.findall(read_text(file))}
    return tuple(sorted(names))


def _wrong_timm_name(name: str) -> str:
    plain = name.removeprefix(TIMM)
    if not _TIMM_NAME.fullmatch(plain):
        return f'unknown backbone "{name[:LONGEST_NAME]}": write {TIMM}NAME or {TIMM}NAME.TAG'
    if not timm_networks():
        return f'backbone "{name[:LONGEST_NAME]}" needs timm: pip install "pcsearch[timm]"'
    if plain.partition(".")[0] in timm_networks():
        return ""
    near = did_you_mean(plain.partition(".")[0], timm_networks())
    return f'unknown backbone "{name[:LONGEST_NAME]}": timm has no such network{near}'


def wrong_name(name: str) -> str:
    """What is wrong with a backbone's name; empty for a known one and for `module:function`."""
    if name.startswith(TIMM):
        return _wrong_timm_name(name)
    if is_reference(name) or name in known_backbones():
        return ""
    near = did_you_mean(name, known_backbones())
    known = f"{', '.join(OURS)}, torchvision's classifiers by name (vgg16, resnet50, ...)"
    return f'unknown backbone "{name[:LONGEST_NAME]}"' + (
        near or f" (known: {known}, timm's as timm/NAME, your own as module:function)"
    )


def wrong_options(name: str, options: Mapping[str, object]) -> dict[str, str]:
    """Each mistaken option of a known backbone, and what is wrong with it.

    A user's own backbone takes any. The options of torchvision's networks need its import.
    """
    if not options or is_reference(name) or wrong_name(name):
        return {}
    wrong = wrong_values(name, options, _option_types(name))
    if name == BILINEAR and "features" not in wrong:
        features = str(options.get("features", DEFAULT_FEATURES))
        choices = [known for known in known_backbones() if known != BILINEAR]
        if features not in choices:
            hint = did_you_mean(features, choices)
            wrong["features"] = (
                f'{name}: unknown backbone "{features[:LONGEST_NAME]}" for `features`{hint}'
            )
    return wrong


def _option_types(name: str) -> OptionTypes:
    if name in OURS:
        return OURS[name]
    if name.startswith(TIMM):
        return TIMM_OPTIONS
    from pcsearch.models import torchvision

    return torchvision.option_types(name)
