"""The user's own backbone, named `module:function`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from pcsearch.code_consent import check_allowed, importable
from pcsearch.errors import UserError, did_you_mean


def find_function(reference: str) -> Callable[..., object]:
    """The function `module:function`, from a module that the user has allowed.

    Modules in the working directory count. Functions that the module imports do not: through them
    a recipe could run any Python code.

    Raises:
        UserError: the reference is ill-formed, is not allowed, cannot be imported, or names no
            function that the module defines.
    """
    own = check_allowed(reference)
    module_name, _, path = reference.partition(":")
    with importable(own):
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
            raise UserError(f'backbone "{reference}": there is no "{attribute}" in it{hint}')
        found = getattr(found, attribute)
    if not callable(found):
        raise UserError(f'backbone "{reference}" is a {type(found).__name__}, not a function')
    _refuse_imported(reference, own.name, found)
    return found


def _refuse_imported(reference: str, own: str, found: object) -> None:
    defined = found if inspect.isroutine(found) or inspect.isclass(found) else type(found)
    home = str(getattr(defined, "__module__", None))
    if home.partition(".")[0] != own:
        raise UserError(
            f'backbone "{reference}" is not defined in {own} but in {home}; name a function of '
            f"{own} itself that returns the network"
        )


def build_custom(reference: str, num_classes: int, options: Mapping[str, object]) -> nn.Module:
    """What `function(num_classes=num_classes, **options)` returns.

    Raises:
        UserError: as `find_function`; also if the function raises or returns no `nn.Module`.
    """
    function = find_function(reference)
    call = ", ".join(f"{k}={v!r}" for k, v in {"num_classes": num_classes, **options}.items())
    with importable(check_allowed(reference)):
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
