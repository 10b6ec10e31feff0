"""Start and end a cluster through Ray's launcher, and list or stop its campaigns first."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from pcsearch.cluster.files.cluster_file import load_launcher_file
from pcsearch.cluster.jobs import Job, Jobs
from pcsearch.cluster.launcher_folder import launcher_folder, private_launcher
from pcsearch.cluster.tunnel import dashboard_of, is_address, refuse_bare_address
from pcsearch.errors import UserError
from pcsearch.io import expanded, own_text, read_regular, replacing

_STOP_SECONDS = 40.0


def start(file: Path) -> None:
    """Start a cluster, or update a running one to its file. Ray's launcher prints the progress.

    Raises:
        UserError: the launcher failed; machines that it started cost money.
    """
    from ray.autoscaler.sdk import create_or_update_cluster

    _launcher(lambda: create_or_update_cluster(str(file)), file, "started")
    record_start(file)


def record_start(file: Path) -> None:
    """Remember, for `changed_since_start`, the files that a cluster was started with."""
    with contextlib.suppress(OSError), replacing(_started(file)) as record:
        record.write_text(_content(file), encoding="utf-8")


def changed_since_start(file: Path) -> bool:
    """Whether a cluster file, or a file that it copies, differs from the latest start's.

    False if this machine did not start the cluster.
    """
    record = own_text(_started(file), 100)
    return record is not None and record != _content(file)


def _started(file: Path) -> Path:
    """The record of a cluster's start on this machine."""
    name = hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:16]
    return launcher_folder() / f"started-{name}"


def _content(file: Path) -> str:
    """The hash of a cluster file and of the files that it copies to the nodes."""
    digest = hashlib.sha256(read_regular(file))
    for here in (load_launcher_file(file).get("file_mounts") or {}).values():
        with contextlib.suppress(OSError):  # a folder, or what `check` misses
            digest.update(read_regular(expanded(str(here))))
    return digest.hexdigest()


def is_up(file: Path) -> bool:
    """Whether the cluster of a file has a head.

    Raises:
        UserError: the provider does not answer.
    """
    from ray.autoscaler.sdk import get_head_node_ip

    _quiet()
    try:
        with private_launcher():
            get_head_node_ip(str(file))
    except UserError:
        raise
    except RuntimeError:  # "Head node of cluster ... not found"
        return False
    except Exception as error:
        raise UserError(
            f"{file}: cannot find out whether its cluster is up ({_first(error)}); check this "
            "machine's network and credentials, then try again"
        ) from error
    return True


def end(file: Path) -> None:
    """End every machine of a cluster.

    Raises:
        UserError: the launcher failed; machines may still run, and cost money.
    """
    from ray.autoscaler.sdk import teardown_cluster

    _launcher(lambda: teardown_cluster(str(file)), file, "ended")


def running_campaigns(cluster: str) -> list[Job]:
    """The running campaigns, which would end with the cluster.

    Raises:
        UserError: the cluster does not answer.
    """
    with dashboard_of(cluster) as address:
        return [job for job in Jobs(address).campaigns() if job.runs]


def stop_campaigns(cluster: str, told: Callable[[Job], None]) -> None:
    """Stop every submitted campaign like Ctrl-C, and wait for it; `told` is called with each.

    Raises:
        UserError: a campaign does not end.
    """
    with dashboard_of(cluster) as address:
        jobs = Jobs(address)
        for job in [job for job in jobs.campaigns() if job.runs and job.process is None]:
            told(stop_campaign(jobs, job))


def stop_campaign(jobs: Jobs, job: Job) -> Job:
    """Stop one campaign like Ctrl-C; return its job after the end.

    Raises:
        UserError: it does not end.
    """
    jobs.stop(job.id)
    ended = jobs.wait(job.id, _STOP_SECONDS)
    if ended.runs:
        raise UserError(
            f"{job.id} still runs {_STOP_SECONDS:.0f} s after the request to stop; try again, or "
            "end its machines with: pcsearch cluster down FILE --force"
        )
    return ended


def check_is_file(cluster: str, what: str) -> Path:
    """The path of a file for Ray's launcher.

    Raises:
        UserError: it is an address, or not such a file.
    """
    if is_address(cluster):
        raise UserError(
            f"{what} needs a file of Ray's launcher, but {cluster} is an address; end that "
            "cluster with the tool that started it (kubectl on Kubernetes)"
        )
    refuse_bare_address(cluster)
    file = Path(cluster)
    load_launcher_file(file)
    return file


def _launcher(does: Callable[[], object], file: Path, done: str) -> None:
    _quiet()
    try:
        with private_launcher(), _no_input():
            does()
    except KeyboardInterrupt:
        sys.stdout = io.StringIO()  # its threads would say last how their ssh ended
        raise
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{file}: the cluster was not {done} ({_first(error)}); the output of Ray's launcher "
            f"above says more. Your provider's console shows which machines run and cost. To end "
            f"all of them: pcsearch cluster down {shlex.quote(str(file))} --force"
        ) from error


def _quiet() -> None:
    """Leave out colours, which this process's streams would escape, and news of the state file."""
    from ray.autoscaler.sdk import configure_logging

    configure_logging(log_style="pretty", color_mode="false", verbosity=0)
    logging.getLogger("ray.autoscaler").setLevel(logging.WARNING)


@contextlib.contextmanager
def _no_input() -> Iterator[None]:
    """Keep the launcher's ssh from the terminal, where it would pass Ctrl-C to the machine."""
    before, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


def _first(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
