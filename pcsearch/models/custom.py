"""The user's own backbone, named `module:function`."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from pcsearch.errors import UserError, did_you_mean

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_reference(name: str) -> bool:
    """Whether `name` is meant as `module:function`."""
    return ":" in name


def find_function(reference: str) -> Callable[..., object]:
    """The function that `module:function` names; modules beside the working directory count.

    A recipe or a run that came from elsewhere must not run what lies in the run itself, nor
    functions of Python and PyTorch that were never meant for it (`torch.hub.load`).

    Raises:
        UserError: ill-formed, not to be imported, no such function, or one of those.
    """
    if not _REFERENCE.fullmatch(reference):
        raise UserError(
            f'backbone "{reference}" is not of the form module:function, as in my_models:small_net'
        )
    module_name, _, path = reference.partition(":")
    _refuse_foreign(reference, module_name)
    _refuse_runs(reference, module_name)
    with _working_directory_importable():
        try:
            found: object = importlib.import_module(module_name)
        except Exception as error:
            raise UserError(
                f'backbone "{reference}": importing {module_name} failed '
                f"({type(error).__name__}: {error}); is it in the working directory, {Path.cwd()}, "
                "on PYTHONPATH or installed?"
            ) from error
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            hint = did_you_mean(attribute, [key for key in dir(found) if key[0] != "_"])
            raise UserError(f'backbone "{reference}": there is no {attribute} in it{hint}')
        found = getattr(found, attribute)
    if not callable(found):
        raise UserError(f'backbone "{reference}" is a {type(found).__name__}, not a function')
    if inspect.isroutine(found) or inspect.isclass(found):
        _refuse_foreign(reference, str(getattr(found, "__module__", "")))
    return found


def _refuse_foreign(reference: str, module_name: str) -> None:
    """Of a module of Python or PyTorch itself, nothing is run that a recipe names."""
    package = module_name.partition(".")[0]
    if package == "torch" or package in sys.stdlib_module_names:
        raise UserError(
            f'backbone "{reference}" is of {package} itself; name a function of a module of your '
            "own that returns the network"
        )


def _refuse_runs(reference: str, module_name: str) -> None:
    """A run that was handed on may hold anything, and its recipe is what names the module."""
    folder = Path.cwd()
    signs = ["journal.jsonl"]
    for part in module_name.split("."):
        if any((folder / sign).exists() for sign in signs):
            raise UserError(
                f'backbone "{reference}": {folder} is a run, whose files are never run; keep the '
                "module elsewhere"
            )
        folder /= part
        signs = ["journal.jsonl", "recipe.yaml"]


def build_custom(reference: str, num_classes: int, options: Mapping[str, object]) -> nn.Module:
    """What `function(num_classes=num_classes, **options)` returns.

    Raises:
        UserError: as `find_function`; or the function raised, or did not return an `nn.Module`.
    """
    function = find_function(reference)
    call = ", ".join(f"{k}={v!r}" for k, v in {"num_classes": num_classes, **options}.items())
    with _working_directory_importable():
        try:
            module = function(num_classes=num_classes, **options)
        except Exception as error:
            raise UserError(
                f'backbone "{reference}": calling it with ({call}) raised '
                f"{type(error).__name__}: {error}"
            ) from error
    if not isinstance(module, nn.Module):
        raise UserError(
            f'backbone "{reference}" returned a {type(module).__name__}, but must return a '
            "torch.nn.Module that turns images [B, 3, H, W] into logits [B, num_classes]"
        )
    return module


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    """As `python -m` does; console scripts do not have it."""
    folder = str(Path.cwd())
    sys.path.append(folder)
    try:
        yield
    finally:
        if folder in sys.path:  # The last one is ours, unless the user's code has rearranged it.
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(folder)]
