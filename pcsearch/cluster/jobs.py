"""Campaigns as jobs of a Ray cluster: submitted, listed, followed and stopped over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pcsearch.cluster import ray_internals
from pcsearch.cluster.session.security import warn_if_readable
from pcsearch.errors import UserError
from pcsearch.io import expanded
from pcsearch.version import __version__

_ANSWER_SECONDS = 60.0
"""Timeout of a request: a forwarded port may accept it without anything behind."""

_OTHER_ADDRESSES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""If set, Ray's clients use these in place of the address that they are given."""

_Answer = TypeVar("_Answer")


def asked(address: str, question: Callable[[], _Answer]) -> _Answer:
    """The answer to a question that uses Ray's clients.

    Raises:
        UserError: nothing answers at the address, the token is wrong, or the cluster refuses.
    """
    import requests
    from ray.exceptions import AuthenticationError
    from ray.util.state.exception import RayStateApiException

    try:
        with _as_given():
            return question()
    except AuthenticationError:
        raise UserError(
            f"the cluster at {address} wants another token; set RAY_AUTH_TOKEN_PATH to a file with "
            "the token of its head (by default ~/.ray/auth_token there)"
        ) from None
    except (ConnectionError, requests.RequestException):
        raise UserError(
            f"no Ray dashboard answers at {address}; check the address (port 8265 by default) and "
            "that the cluster is up"
        ) from None
    except (RuntimeError, ValueError, RayStateApiException) as error:
        raise UserError(f"the cluster at {address} refuses: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """One line of Ray's message, which may be a traceback from its head."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if re.search(r"\b(status code|returned) 404\b", lines[0]):
        return "it has no jobs; check the dashboard's port, 8265 by default"
    return lines[-1] if any("Traceback" in line for line in lines) else lines[0]


def use_token() -> None:
    """Send the token like `ray.init`, but for every RAY_AUTH_MODE.

    Raises:
        UserError: the file in RAY_AUTH_TOKEN_PATH does not exist.
    """
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if named and not expanded(named).is_file():
        raise UserError(f"RAY_AUTH_TOKEN_PATH is {named}, but there is no such file")
    warn_if_readable()
    logging.getLogger(ray_internals.TOKEN_LOGGER).setLevel(logging.ERROR)
    ray_internals.enable_token()


def _impatient(client: type) -> Any:
    """Ray's class for jobs with a timeout, since it would wait for an answer for ever."""

    class Impatient(client):  # type: ignore[misc]
        def _do_request(self, *args: Any, **more: Any) -> Any:
            return super()._do_request(*args, **{"timeout": _ANSWER_SECONDS, **more})

    return Impatient


@contextlib.contextmanager
def _as_given() -> Iterator[None]:
    """Make Ray's clients use the address that they are given, and no other."""
    hidden = {key: os.environ.pop(key) for key in _OTHER_ADDRESSES if key in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


MARK = "pcsearch"
"""The key in a job's metadata that marks a campaign; its value is our version."""

_STOP = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "30"}
"""Stopping a job sends Ctrl-C, so that every trial records its epoch."""

_NOT_READY = "No available agent"
_READY_SECONDS = 60.0
"""How long a head that has just started may refuse jobs."""

_SILENT_SECONDS = 60.0
"""A campaign prints every two seconds, once it has begun."""

_RUNNING = ("PENDING", "RUNNING")

STOP_THERE = "Ctrl-C in its terminal, or kill -INT and that process's number there"
"""How to stop a campaign that was not submitted."""


def marked(about: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a campaign's job: its description and the mark."""
    return {MARK: __version__, **about}


@dataclass(frozen=True)
class Job:
    """A campaign's job; times are Unix times in seconds."""

    id: str
    """The id; Ray's number for a job that was not submitted."""
    status: str
    """Ray's: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    metadata: Mapping[str, str]
    message: str
    exit_code: int | None
    began: float | None
    ended: float | None
    process: str | None = None
    """The process and its machine, for a campaign that `--address` started; None if submitted."""

    @property
    def runs(self) -> bool:
        return self.status in _RUNNING


@dataclass(frozen=True)
class HeadNode:
    """One machine of a cluster with its CPUs and GPUs."""

    address: str
    is_head: bool
    cpus: float
    gpus: float


class LostConnectionError(Exception):
    """The dashboard answered before, and no longer does."""


class SilentError(LostConnectionError):
    """No output for long: the connection may have broken, or the job prints nothing."""


class UnknownJobError(UserError):
    """The cluster answers, but has no such job."""


class Jobs:
    """The jobs of one cluster.

    Args:
        address: The address of its dashboard, such as `http://127.0.0.1:8265`.

    Raises:
        UserError: from every method: nothing answers there, or the token is wrong.
    """

    def __init__(self, address: str) -> None:
        from ray.job_submission import JobSubmissionClient

        self.address = address
        use_token()
        for module in ("dashboard_sdk", "job.sdk"):  # these modules set their own levels
            logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.ERROR)
        logging.getLogger(ray_internals.UPLOAD_LOGGER).setLevel(logging.ERROR)
        self._client = asked(address, lambda: _impatient(JobSubmissionClient)(address))

    def check_versions(self) -> None:
        """UserError unless the cluster runs the Ray that is installed here."""
        import ray

        answer = asked(self.address, lambda: self._client._do_request("GET", "/api/version"))
        theirs = str(answer.json().get("ray_version"))
        if theirs != ray.__version__:
            raise UserError(
                f"the cluster at {self.address} runs Ray {theirs}, this machine {ray.__version__}; "
                f"install the same here: pip install 'ray[default,tune]=={theirs}'"
            )

    def submit(self, command: str, folder: Path, about: Mapping[str, str], job: str) -> str:
        """Start a campaign's command on the head, in a copy of the folder, under the id `job`."""
        until = time.monotonic() + _READY_SECONDS
        while True:
            try:
                return str(asked(self.address, lambda: self._submit(command, folder, about, job)))
            except UserError as error:
                if _NOT_READY not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(1.0)

    def _submit(self, command: str, folder: Path, about: Mapping[str, str], job: str) -> Any:
        return self._client.submit_job(
            entrypoint=command,
            submission_id=job,
            runtime_env={"working_dir": str(folder), "env_vars": dict(_STOP)},
            metadata=marked(about),
        )

    def campaigns(self) -> list[Job]:
        """The campaigns since the head started, the latest first.

        Includes campaigns that joined the cluster by `--address`, which Ray lists as drivers.
        """
        found = asked(self.address, self._client.list_jobs)
        jobs = [_job(details) for details in found if MARK in (details.metadata or {})]
        return sorted(jobs, key=lambda job: job.began or 0.0, reverse=True)

    def find(self, job: str | None) -> Job:
        """One campaign by its id; for None the latest.

        Prefers running campaigns, then submitted ones: only these can be followed and stopped.

        Raises:
            UnknownJobError: there is no such job.
        """
        jobs = self.campaigns()
        if job is None:
            if not jobs:
                raise UnknownJobError(
                    "no campaign was submitted to this cluster since it started; submit one with "
                    "pcsearch cluster submit"
                )
            return min(jobs, key=lambda one: (not one.runs, one.process is not None))
        for one in jobs:
            if one.id == job:
                return one
        known = ", ".join(one.id for one in jobs) or "none"
        raise UnknownJobError(f"there is no job {job} on this cluster; its jobs: {known}")

    def find_submitted(self, job: str | None) -> Job:
        """Like `find`, but only for submitted campaigns.

        Raises:
            UnknownJobError: there is no such job.
            UserError: the campaign was not submitted.
        """
        found = self.find(job)
        if found.process is not None:
            raise UserError(
                f"{found.id} was not submitted, so it cannot be followed or stopped from here. It "
                f"was started as {found.process}, and shows its progress there. pcsearch summary "
                f"prints its table; to stop it: {STOP_THERE}"
            )
        return found

    def stop(self, job: str) -> None:
        """Ask a job to end, like Ctrl-C."""
        asked(self.address, lambda: self._client.stop_job(job))

    def wait(self, job: str, seconds: float) -> Job:
        """The job when it has ended, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while (found := self.find(job)).runs and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    def log(self, job: str) -> str:
        """The whole output of a job so far."""
        return str(asked(self.address, lambda: self._client.get_job_logs(job)))

    def lines(self, job: str) -> Iterator[str]:
        """The output of a job, line by line, from its start until it ends.

        If the stream ends within a line while the job runs, the connection broke. The part of a
        line is dropped: the next stream has the whole line, and callers count lines.

        Raises:
            LostConnectionError: the connection broke.
            SilentError: no output for long.
        """
        rest = ""
        for chunk in _in_turn(lambda: self._client.tail_job_logs(job)):
            *whole, rest = (rest + chunk).split("\n")
            yield from whole
        if rest and not self.find(job).runs:
            yield rest

    def nodes(self) -> list[HeadNode]:
        """The running machines of the cluster, the head first."""
        from ray.util.state import list_nodes

        found = asked(self.address, lambda: list_nodes(address=self.address, limit=10_000))
        alive = [
            HeadNode(
                address=str(node.node_ip),
                is_head=bool(node.is_head_node),
                cpus=float((node.resources_total or {}).get("CPU", 0.0)),
                gpus=float((node.resources_total or {}).get("GPU", 0.0)),
            )
            for node in found
            if node.state == "ALIVE"
        ]
        return sorted(alive, key=lambda node: (not node.is_head, node.address))


def _job(details: Any) -> Job:
    submitted = details.submission_id is not None
    driver = None if submitted else details.driver_info
    return Job(
        id=str(details.submission_id if submitted else details.job_id),
        status=str(details.status.value),
        metadata=details.metadata or {},
        message=details.message or "",
        exit_code=details.driver_exit_code,
        began=details.start_time / 1000 if details.start_time else None,
        ended=details.end_time / 1000 if details.end_time else None,
        process=None if driver is None else f"process {driver.pid} on {driver.node_ip_address}",
    )


def _in_turn(chunks: Callable[[], AsyncIterator[str]]) -> Iterator[str]:
    """An asynchronous stream as an iterator. Long silence counts as broken."""
    import aiohttp

    async def following(stream: AsyncIterator[str]) -> str | None:
        try:
            return await asyncio.wait_for(anext(stream), _SILENT_SECONDS)
        except StopAsyncIteration:
            return None

    with asyncio.Runner() as runner:
        stream = chunks()
        try:
            while (chunk := runner.run(following(stream))) is not None:
                yield chunk
        except TimeoutError as error:
            raise SilentError(f"silent for {_SILENT_SECONDS:.0f} s") from error
        except (aiohttp.ClientError, RuntimeError, OSError) as error:
            raise LostConnectionError(str(error)) from error
