"""torchvision without PyTorch's compiler: half the time that both take to import together.

One module of torchvision (`ops.roi_align`, of its detection part) imports a function of the
compiler, and calls it only when boxes are pooled. Here that import gets a stand-in, which loads the
compiler when something of it is used. Where PyTorch or torchvision change this, or the compiler is
loaded already, the import is the usual one. Seen in torchvision 0.26 to 0.28.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_USED = f"{_COMPILER}.utils"


class _Later(ModuleType):
    """Stands in for a module, and imports it when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system looks, and wants nothing
            raise AttributeError(name)
        return _Call(self.__name__, name)


class _Call:
    """A function of a module that is imported when the function is called."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(self._module), self._name)(*args, **options)


@contextmanager
def _without_compiler() -> Iterator[None]:
    if _COMPILER in sys.modules or "torchvision" in sys.modules:
        yield
        return
    later = {name: _Later(name) for name in (_COMPILER, _USED)}
    sys.modules.update(later)
    try:
        yield
    finally:
        for name, module in later.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


with _without_compiler():
    zoo: Any = importlib.import_module("torchvision.models")
    feature_extraction: Any = importlib.import_module("torchvision.models.feature_extraction")
