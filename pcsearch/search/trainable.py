"""The function that Ray Tune runs for every trial."""

from __future__ import annotations

import json
import traceback
from typing import Any

from pcsearch.errors import PcsearchError

REPORT = "report"
FAILURE = "failure"


def train_trial(config: dict[str, Any], workplace: dict[str, Any]) -> None:
    """Run one trial and report each epoch.

    A failure in Python is reported as data, so that the worker lives on for the next trial. An
    error of the CUDA runtime leaves the process unusable and is raised: Ray replaces the worker.
    """
    from ray import tune

    from pcsearch.search.trial import TrialSpec
    from pcsearch.search.trial_run import Workplace, run_trial

    spec = TrialSpec(**json.loads(config["spec"]))
    try:
        for report in run_trial(spec, Workplace(**workplace)):
            tune.report({"trial": spec.trial, REPORT: json.dumps(vars(report))})
    except Exception as error:
        if _breaks_the_process(error):
            raise
        tune.report({"trial": spec.trial, FAILURE: describe(error)})


def describe(error: Exception) -> str:
    """One paragraph for the journal: a stated reason as it is, else type, message and place."""
    if isinstance(error, PcsearchError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (in {frames[-1].name}, {frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _breaks_the_process(error: Exception) -> bool:
    import torch

    named = (getattr(torch, name, None) for name in ("OutOfMemoryError", "AcceleratorError"))
    cuda = tuple(kind for kind in named if isinstance(kind, type))
    return isinstance(error, cuda) or "CUDA error" in str(error)
