"""Starting and ending a cluster through Ray's launcher, with what should be seen before."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from pcsearch.cluster.files.file import load_launcher_file
from pcsearch.cluster.jobs import Job, Jobs
from pcsearch.cluster.launcher_folder import private_launcher
from pcsearch.cluster.tunnel import dashboard_of, is_address
from pcsearch.errors import UserError

_STOP_SECONDS = 40.0


def start(file: Path) -> None:
    """Start a cluster, or bring one that runs up to its file; Ray's launcher tells how it goes.

    Raises:
        UserError: the launcher gave up; what it has started until then costs.
    """
    from ray.autoscaler.sdk import create_or_update_cluster

    _launcher(lambda: create_or_update_cluster(str(file)), file, "started")


def is_up(file: Path) -> bool:
    """Whether the cluster of a file has a head.

    Raises:
        UserError: the provider cannot be asked.
    """
    from ray.autoscaler.sdk import get_head_node_ip

    try:
        with private_launcher():
            get_head_node_ip(str(file))
    except UserError:
        raise
    except RuntimeError:  # "Head node of cluster ... not found"
        return False
    except Exception as error:
        raise UserError(
            f"{file}: cannot see whether its cluster is up ({_first(error)}); see that this "
            "machine has a network and credentials that are valid, then try again"
        ) from error
    return True


def end(file: Path) -> None:
    """End every machine of a cluster.

    Raises:
        UserError: the launcher gave up; machines may still run, and cost.
    """
    from ray.autoscaler.sdk import teardown_cluster

    _launcher(lambda: teardown_cluster(str(file)), file, "ended")


def running_campaigns(cluster: str) -> list[Job]:
    """The campaigns that would be lost with the cluster.

    Raises:
        UserError: it cannot be asked.
    """
    with dashboard_of(cluster) as address:
        return [job for job in Jobs(address).campaigns() if job.runs]


def stop_campaigns(cluster: str, told: Callable[[Job], None]) -> None:
    """Stop every campaign that was submitted as by Ctrl-C, and wait for each; `told` is called
    with each one.

    Raises:
        UserError: one does not end.
    """
    with dashboard_of(cluster) as address:
        jobs = Jobs(address)
        for job in [job for job in jobs.campaigns() if job.runs and job.process is None]:
            told(stop_campaign(jobs, job))


def stop_campaign(jobs: Jobs, job: Job) -> Job:
    """Stop one campaign as by Ctrl-C; the job as it ended.

    Raises:
        UserError: it does not end.
    """
    jobs.stop(job.id)
    ended = jobs.wait(job.id, _STOP_SECONDS)
    if ended.runs:
        raise UserError(
            f"{job.id} still runs {_STOP_SECONDS:.0f} s after it was told to end; try again, or "
            "end its machines with: pcsearch cluster down FILE --force"
        )
    return ended


def check_is_file(cluster: str, what: str) -> Path:
    """The path of a file for Ray's launcher.

    Raises:
        UserError: it is an address, or no such file.
    """
    if is_address(cluster):
        raise UserError(
            f"cluster {what} is for a file of Ray's launcher, but {cluster} is an address; what "
            "started that cluster also ends it (kubectl, for one on Kubernetes)"
        )
    file = Path(cluster)
    load_launcher_file(file)
    return file


def _launcher(does: Callable[[], object], file: Path, done: str) -> None:
    from ray.autoscaler.sdk import configure_logging

    configure_logging(log_style="pretty", color_mode="auto", verbosity=0)
    try:
        with private_launcher():
            does()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{file}: the cluster was not {done} ({_first(error)}); what Ray's launcher says above "
            f"tells more. See what runs, and costs, in your provider's console, or end all of it "
            f"with: pcsearch cluster down {shlex.quote(str(file))} --force"
        ) from error


def _first(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
