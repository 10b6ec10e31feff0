"""The user's own backbone, named `module:function`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from pcsearch.code_consent import check_allowed, find_function, importable
from pcsearch.errors import UserError


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
        except (Exception, SystemExit) as error:
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
