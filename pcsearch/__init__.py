"""pcsearch: fine-tune image backbones with Pairwise Confusion and search its weight λ honestly.

    import pcsearch
    summary = pcsearch.tune("recipes/quickstart.yaml")

`pcsearch.losses` holds the loss by itself, for any training loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["LambdaCurve", "Summary", "__version__", "probe", "tune"]

if TYPE_CHECKING:
    from pcsearch.api import probe, tune
    from pcsearch.reporting.lambda_curve import LambdaCurve
    from pcsearch.reporting.summary import Summary


def __getattr__(name: str) -> Any:
    # Looked up on demand: `import pcsearch.losses` must not bring Ray or Optuna with it.
    if name == "tune":
        from pcsearch.api import tune

        return tune
    if name == "probe":
        from pcsearch.api import probe

        return probe
    if name == "LambdaCurve":
        from pcsearch.reporting.lambda_curve import LambdaCurve

        return LambdaCurve
    if name == "Summary":
        from pcsearch.reporting.summary import Summary

        return Summary
    raise AttributeError(f"module 'pcsearch' has no attribute '{name}'")
