"""pcsearch: fine-tune image backbones with Pairwise Confusion and search its weight λ.

    import pcsearch
    summary = pcsearch.tune("recipes/quickstart.yaml")

`pcsearch.losses` holds the loss by itself, for any training loop.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pcsearch.version import __version__

__all__ = [
    "LambdaCurve",
    "Summary",
    "__version__",
    "evaluate",
    "export",
    "load_network",
    "predict",
    "probe",
    "tune",
]

if TYPE_CHECKING:
    from pcsearch.api import evaluate, export, predict, probe, tune
    from pcsearch.reporting.lambda_curve import LambdaCurve
    from pcsearch.reporting.summary import Summary
    from pcsearch.training.export import load_network

_MODULES = {
    "LambdaCurve": "pcsearch.reporting.lambda_curve",
    "Summary": "pcsearch.reporting.summary",
    "evaluate": "pcsearch.api",
    "export": "pcsearch.api",
    "load_network": "pcsearch.training.export",
    "predict": "pcsearch.api",
    "probe": "pcsearch.api",
    "tune": "pcsearch.api",
}


def __getattr__(name: str) -> Any:
    # Imported on demand: `import pcsearch.losses` must not import Ray or Optuna.
    if name not in _MODULES:
        raise AttributeError(f"module 'pcsearch' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)
