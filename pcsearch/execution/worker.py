"""The function that Ray Tune runs for every trial."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pcsearch.errors import DivergedError, NodeError, PcsearchError

if TYPE_CHECKING:
    from pcsearch.execution.worker_data import WorkerContext

REPORT = "report"
FAILURE = "failure"
NODE = "node_id"
"""Ray's id of the node that a result comes from."""

PAUSE_SECONDS = 10.0
"""Pause on a node that lacks something, or it would quickly fail trials that others could train."""


def train_trial(config: dict[str, Any], context: dict[str, Any]) -> None:
    """Run one trial and report the results of `results_of` to Ray Tune."""
    import ray
    from ray import tune

    node = {NODE: ray.get_runtime_context().get_node_id()}  # two machines may have one host name
    with closing(results_of(config, context)) as results:
        for result in results:
            tune.report(result | node)  # leaves with SystemExit when the trial is stopped


def results_of(config: dict[str, Any], context: dict[str, Any]) -> Generator[dict[str, Any]]:
    """Run one trial; yield a result per epoch: who reports, and the epoch under REPORT, as JSON.

    A failure in Python is a result, too, so that the process can run the next trial. Its keys:

    - FAILURE: the reason.
    - `memory`: whether smaller batches may help.
    - `diverged`: whether the loss or the outputs were not finite.
    - `node`: whether the node lacks something.
    - `unwritable`: the arguments of an OSError if the run's folder cannot be written, else None.

    Raises errors after which the process must be replaced and the trial restarted: an unusable CUDA
    runtime, decoded images that changed, a store that does not answer.

    Args:
        config: `spec`, the fields of a TrialSpec as JSON; `attempt` and `micro_batches` as in
            `run_trial`.
        context: The fields of `WorkerContext`.
    """
    from pcsearch.data.cache.files import ImagesChangedError
    from pcsearch.execution.run_files import UnwritableError
    from pcsearch.execution.trial_run import run_trial
    from pcsearch.search.trial import TrialSpec
    from pcsearch.storage import StorageError
    from pcsearch.training.failures import breaks_the_process, out_of_memory, release_memory

    stated = json.loads(config["spec"])
    attempt = config.get("attempt", 0)
    who = {
        "trial": stated["trial"],
        "attempt": attempt,
        "pid": os.getpid(),
        "host": socket.gethostname(),
    }
    failure: dict[str, Any] | None = None
    try:
        here, spec = _at(context), TrialSpec(**stated)
        with closing(run_trial(spec, here, attempt, config.get("micro_batches", 1))) as reports:
            for report in reports:
                yield {**who, REPORT: json.dumps(vars(report))}
    except (ImagesChangedError, StorageError):
        raise
    except Exception as error:
        if breaks_the_process(error):
            raise
        failure = {
            FAILURE: describe(error),
            "memory": out_of_memory(error),
            "diverged": isinstance(error, DivergedError),
            "node": isinstance(error, NodeError),
            "unwritable": _arguments(error) if isinstance(error, UnwritableError) else None,
        }
    if failure is not None:  # outside of `except`, the error's frames are freed
        release_memory()
        if failure["node"] and attempt:
            time.sleep(PAUSE_SECONDS)
        yield {**who, **failure}


def _at(fields: dict[str, Any]) -> WorkerContext:
    """The context from its fields, which may come from another version of pcsearch.

    Raises:
        NodeError: this node and the driver differ in pcsearch or in a module of the user's.
    """
    from pcsearch.execution.worker_data import WorkerContext
    from pcsearch.version import __version__

    if fields.get("version", __version__) not in (__version__, None):
        raise NodeError(
            f"this node has pcsearch {__version__}, the campaign runs with {fields['version']}; "
            "install the same version on both. With Ray's launcher: put the new wheel into the "
            "cluster's file, then pcsearch cluster down and pcsearch cluster up"
        )
    context = WorkerContext(**fields)
    _check_code(context)
    return context


def _check_code(context: WorkerContext) -> None:
    """Check that the files are those of the driver, before any module of the user's is imported."""
    from pcsearch.code_consent import INSTALLED, allow, code_hash

    own = any(not name.startswith(INSTALLED) for name in context.allowed_code)
    if own and context.import_path not in sys.path:
        sys.path.append(context.import_path)
    for name, stated in context.code.items():
        if code_hash(name) != stated:
            raise NodeError(
                f"the files of {name} on this node differ from those of the campaign's driver; "
                "install the same files on both (for pcsearch, the same wheel)"
            )
    allow(context.allowed_code)


def _arguments(error: OSError) -> tuple[object, ...]:
    return error.errno, error.strerror, error.filename


def describe(error: Exception) -> str:
    """One paragraph for the journal: the message of our errors, else type, message and place."""
    if isinstance(error, PcsearchError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (in {frames[-1].name}, {frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
