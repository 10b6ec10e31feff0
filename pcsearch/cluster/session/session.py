"""A Ray session: started on this machine, on loopback, or joined. Both are silent."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pcsearch.cluster.jobs import marked
from pcsearch.cluster.ray_internals import (
    encodable_entrypoint,
    loopback,
    quick_start,
)
from pcsearch.cluster.session.autoscaler import largest_capacity, machines_listed, running_config
from pcsearch.cluster.session.capacity import Capacity, Node
from pcsearch.cluster.session.join import reachable
from pcsearch.cluster.session.processes import ignore_known_warnings
from pcsearch.cluster.session.security import (
    SESSION_NAME,
    check_closed,
    exposed_before,
    session_folder,
    session_token,
)
from pcsearch.cluster.session.signals import orderly_end
from pcsearch.cpus import usable_cpus
from pcsearch.errors import UserError
from pcsearch.io import NO_HOME, home_folder

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: one clean way out
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # a reset that times out drops its trial silently
    "TUNE_WARN_THRESHOLD_S": "1000000",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
_JOIN_SECONDS = 90.0
"""How long to wait for the machines that a cluster's file lists by address."""

_WORKERS = {
    "MALLOC_ARENA_MAX": "1",  # see `pcsearch.training.trainer`
    "RAY_worker_niceness": "0",  # with Ray's 15, training waits for all other processes
}
"""Only for the processes of a Ray that is started here. The user's own settings win."""

_SET_BY_RAY = ("RAY_", "PYTHONBREAKPOINT")
"""Prefixes of the variables that `ray.init` and `import ray.tune` set in this process."""


@contextlib.contextmanager
def ray_session(
    address: str | None,
    preload: Sequence[str] = (),
    about: Mapping[str, str] | None = None,
) -> Iterator[Callable[[], Capacity]]:
    """Start Ray on this machine, or join the one at `address`; end or leave it afterwards.

    The start takes seconds and runs in the background. The yielded function waits for it and
    returns the capacity. A session that is started here is private:

    - It listens on loopback only, and refuses calls without its own token. Both are checked.
    - Its files are in a folder that only this user can enter.

    Args:
        address: HOST:PORT of a head, or `auto`; None starts Ray on this machine.
        preload: Modules that the workers of a Ray that is started here import in advance. There is
            one worker per CPU.
        about: Metadata for the cluster's list of campaigns, if one will run on it.

    Raises:
        UserError: there is no place for Ray's files. From the yielded function: the cluster at
            `address` cannot be joined (known within seconds), Ray does not start, or others could
            reach it.
    """
    ignore_known_warnings()
    starting: Future[bool] | None = None
    with contextlib.ExitStack() as held:
        held.enter_context(_environment(_QUIET | (_WORKERS if address is None else {})))
        ending_begins = held.enter_context(
            orderly_end(lambda: starting is not None and not starting.done())
        )
        folder = None
        if address is None and not is_running():
            held.enter_context(session_token())
            folder = held.enter_context(session_folder())
        background = held.enter_context(ThreadPoolExecutor(1, thread_name_prefix="ray-start"))
        starting = background.submit(_join, address, folder, preload, about)
        waited = False

        def wait() -> Capacity:
            nonlocal waited
            starting.result()
            first, waited = not waited, True
            return capacity(patient=first)

        try:
            yield wait
        finally:
            ending_begins()
            if starting.exception() is None and starting.result():
                import ray

                ray.shutdown()


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables for Ray and its processes, unless they are set.

    Restores all variables afterwards for a program that uses the API, also those that Ray sets.
    """
    before = dict(os.environ)
    ours = {key: value for key, value in {**settings, **_home()}.items() if key not in before}
    os.environ.update(ours)
    try:
        yield
    finally:
        rays = [key for key in {**before, **os.environ} if key.startswith(_SET_BY_RAY)]
        for key in {*ours, *rays}:
            os.environ.pop(key, None)
            if key in before:
                os.environ[key] = before[key]


def _home() -> dict[str, str]:
    """A HOME for a user without one, as in containers: `import ray.tune` needs it."""
    return {"HOME": str(NO_HOME)} if home_folder() == NO_HOME else {}


def is_running() -> bool:
    """Whether this process has a Ray session already; a program that uses the API may have one."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _join(
    address: str | None,
    folder: Path | None,
    preload: Sequence[str],
    about: Mapping[str, str] | None,
) -> bool:
    """Start or join the session; whether we did so, and must leave it."""
    if is_running():
        return False
    logging.getLogger("ray").setLevel(logging.ERROR)
    if address is not None:
        _join_cluster(address, about)
    elif folder is not None:
        _start(folder, preload)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    return True


def capacity(*, patient: bool = True) -> Capacity:
    """The nodes of the cluster; with an autoscaler, those that it may have at most.

    If `patient`, waits for the machines that a cluster's file lists.
    """
    import ray

    config = running_config(ray.get_runtime_context().gcs_address)
    if listed := machines_listed(config):
        until = time.monotonic() + (_JOIN_SECONDS if patient else 0.0)
        while len(_alive()) < listed and time.monotonic() < until:
            time.sleep(1.0)  # the head is ready before the others have joined
    elif config:
        return largest_capacity(config)
    return Capacity(tuple(Node(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in _alive()))


def _alive() -> list[dict[str, float]]:
    """The resources of every running node."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


_SILENT: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


def _start(folder: Path, preload: Sequence[str]) -> None:
    import ray

    from pcsearch.cluster.session.worker_code import driver_code, job_config

    before = exposed_before()
    try:  # "local" never joins a cluster that happens to run here
        with loopback(), quick_start(SESSION_NAME), encodable_entrypoint(), driver_code():
            ray.init(
                "local",
                job_config=job_config(),
                num_cpus=usable_cpus(),
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
                _system_config={
                    "preload_python_modules": list(preload),
                    "enable_metrics_collection": False,  # its exporter needs no token
                },
                **_SILENT,
            )
    except Exception as error:
        raise UserError(
            f"cannot start Ray on this machine ({_first_line(error)}). Try again: a busy machine "
            f"may be too slow. Ray's sockets and logs are in {folder.parent.parent}; TMPDIR (on "
            "macOS, RAY_TMPDIR) names another folder"
        ) from error
    try:
        check_closed(before)
    except BaseException:
        ray.shutdown()
        raise


def _join_cluster(address: str, about: Mapping[str, str] | None) -> None:
    import ray

    from pcsearch.cluster.session.worker_code import job_config

    try:
        # `cluster down` finds running campaigns by this mark. A submitted campaign is listed once:
        # Ray merges this driver with its job.
        mark = job_config(marked(about) if about is not None else {})
        with reachable(address) as head, encodable_entrypoint():
            ray.init(head, job_config=mark, **_SILENT)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"cannot join the Ray cluster at {address} ({_first_line(error)}); check that "
            "`ray status` answers there, and start the campaign on one of its nodes"
        ) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
