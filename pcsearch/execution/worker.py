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
"""What Ray calls the node that a result comes from."""

PAUSE_SECONDS = 10.0
"""On a node that lacks something: else it would soon fail all that other nodes could train."""


def train_trial(config: dict[str, Any], context: dict[str, Any]) -> None:
    """Run one trial and report to Ray Tune what `results_of` yields."""
    import ray
    from ray import tune

    node = {NODE: ray.get_runtime_context().get_node_id()}  # two machines may have one host name
    with closing(results_of(config, context)) as results:
        for result in results:
            tune.report(result | node)  # leaves with SystemExit when the trial is stopped


def results_of(config: dict[str, Any], context: dict[str, Any]) -> Generator[dict[str, Any]]:
    """Run one trial; yield a result an epoch: who reports, and the epoch under REPORT, as JSON.

    A failure in Python is a result too, so that the process lives on for the next trial: its reason
    is under FAILURE, `memory` says whether smaller batches may help, `diverged` whether the loss or
    the outputs were not finite, `node` whether it is the node that lacks something, `unwritable`
    what the run's folder cannot take, as an OSError's arguments.
    An error that leaves the process unusable (of the CUDA runtime), what it has opened (decoded
    images that changed), or a store that does not answer, is raised: the process is to be replaced,
    the trial begun again.

    Args:
        config: `spec`, the fields of a TrialSpec as JSON; `attempt` and `micro_batches` as in
            `run_trial`.
        workplace: The fields of `WorkerContext`.
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
    if failure is not None:  # the error is gone, and with it all that its frames held
        release_memory()
        if failure["node"] and attempt:
            time.sleep(PAUSE_SECONDS)
        yield {**who, **failure}


def _at(fields: dict[str, Any]) -> WorkerContext:
    """The workplace, on this node; its fields may be those of another pcsearch.

    Raises:
        NodeError: this node has another pcsearch than the driver, or another module of the user's.
    """
    from pcsearch.execution.worker_data import WorkerContext
    from pcsearch.version import __version__

    if fields.get("version", __version__) not in (__version__, None):
        raise NodeError(
            f"this node has pcsearch {__version__}, the campaign runs with {fields['version']}; "
            "install the same on both: for a cluster of Ray's launcher, end it by pcsearch cluster "
            "down, and start it again by pcsearch cluster up with the new wheel in its file"
        )
    context = WorkerContext(**fields)
    _check_code(context)
    return context


def _check_code(context: WorkerContext) -> None:
    """Nothing of a recipe's is imported before its files are known to be the driver's."""
    from pcsearch.allowed_code import INSTALLED, allow, code_hash

    own = any(not name.startswith(INSTALLED) for name in context.allowed_code)
    if own and context.import_path not in sys.path:
        sys.path.append(context.import_path)
    for name, stated in context.code.items():
        if code_hash(name) != stated:
            raise NodeError(
                f"the files of {name} on this node are not those that the campaign's driver has; "
                "install the same there (of pcsearch, the same wheel)"
            )
    allow(context.allowed_code)


def _arguments(error: OSError) -> tuple[object, ...]:
    return error.errno, error.strerror, error.filename


def describe(error: Exception) -> str:
    """One paragraph for the journal: a stated reason as it is, else type, message and place."""
    if isinstance(error, PcsearchError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (in {frames[-1].name}, {frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
