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
from pcsearch.cluster.session.access import warn_if_readable
from pcsearch.errors import UserError
from pcsearch.version import __version__

_ANSWER_SECONDS = 60.0
"""A request that waits for longer is given up: behind a forwarded port nobody may be there."""

_OTHER_ADDRESSES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Where these are set, Ray's clients go there in place of the address that they are given."""

_Answer = TypeVar("_Answer")


def asked(address: str, question: Callable[[], _Answer]) -> _Answer:
    """The answer of a question to Ray's clients.

    Raises:
        UserError: nothing answers there, it wants another token, or it refuses.
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
            "its head's, by default ~/.ray/auth_token there"
        ) from None
    except (ConnectionError, requests.RequestException):
        raise UserError(
            f"no Ray dashboard answers at {address}; check the address (port 8265 by default), "
            "and that the cluster is up"
        ) from None
    except (RuntimeError, ValueError, RayStateApiException) as error:
        raise UserError(f"the cluster at {address} refuses: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """One line of what Ray says, which may be a traceback of its head's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if re.search(r"\b(status code|returned) 404\b", lines[0]):
        return "it has no jobs; is that the dashboard's port, 8265 by default?"
    return lines[-1] if any("Traceback" in line for line in lines) else lines[0]


def use_token() -> None:
    """As `ray.init` does, whatever RAY_AUTH_MODE says; UserError if there is no file as named."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if named and not Path(named).expanduser().is_file():
        raise UserError(f"RAY_AUTH_TOKEN_PATH is {named}, but there is no such file")
    warn_if_readable()
    logging.getLogger(ray_internals.TOKEN_LOGGER).setLevel(logging.ERROR)
    ray_internals.enable_token()


def _impatient(client: type) -> Any:
    """Ray's class for jobs, which would wait for an answer for ever."""

    class Impatient(client):  # type: ignore[misc]
        def _do_request(self, *args: Any, **more: Any) -> Any:
            return super()._do_request(*args, **{"timeout": _ANSWER_SECONDS, **more})

    return Impatient


@contextlib.contextmanager
def _as_given() -> Iterator[None]:
    """Let Ray's clients go to the address that they are given, and to no other."""
    hidden = {key: os.environ.pop(key) for key in _OTHER_ADDRESSES if key in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


MARK = "pcsearch"
"""The key in a job's metadata that tells a campaign from other jobs; its value is our version."""

_STOP = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "30"}
"""Stopping a job is Ctrl-C, so that every trial writes its epoch down."""

_NOT_READY = "No available agent"
_READY_SECONDS = 60.0
"""A head that has just started takes no jobs yet."""

_SILENT_SECONDS = 60.0
"""A campaign says something every two seconds, once it has begun."""

_RUNNING = ("PENDING", "RUNNING")

STOP_THERE = "Ctrl-C in its terminal, or kill -INT and that process's number there"
"""How a campaign is stopped that was not submitted."""


def marked(about: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a campaign's job: what is said of it, and the mark."""
    return {MARK: __version__, **about}


@dataclass(frozen=True)
class Job:
    """A campaign's job; times are Unix times in seconds."""

    id: str
    """Of one that was not submitted, the number that Ray gave it."""
    status: str
    """Ray's: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    metadata: Mapping[str, str]
    message: str
    exit_code: int | None
    began: float | None
    ended: float | None
    process: str | None = None
    """Of a campaign that was not submitted but started by `--address`: its process, and where."""

    @property
    def runs(self) -> bool:
        return self.status in _RUNNING


@dataclass(frozen=True)
class HeadNode:
    """One machine of a cluster, and what it has room for."""

    address: str
    is_head: bool
    cpus: float
    gpus: float


class LostConnectionError(Exception):
    """The dashboard answered before, and now does not."""


class SilentError(LostConnectionError):
    """Nothing was heard for long; the connection may have broken, or there is nothing to say."""


class UnknownJobError(UserError):
    """The cluster answers, and has no such job."""


class Jobs:
    """The jobs of one cluster.

    Args:
        address: Of its dashboard, as `http://127.0.0.1:8265`.

    Raises:
        UserError: from every method: nothing answers there, or it wants another token.
    """

    def __init__(self, address: str) -> None:
        from ray.job_submission import JobSubmissionClient

        self.address = address
        use_token()
        for module in ("dashboard_sdk", "job.sdk"):  # they set levels of their own
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
        """Start a campaign's command on the head, in a copy of the folder; its id is `job`."""
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
        """The campaigns since the head started, the latest first: those that were submitted, and
        those that joined the cluster by `--address`, which Ray lists as drivers."""
        found = asked(self.address, self._client.list_jobs)
        jobs = [_job(details) for details in found if MARK in (details.metadata or {})]
        return sorted(jobs, key=lambda job: job.began or 0.0, reverse=True)

    def find(self, job: str | None) -> Job:
        """One campaign; of None the latest, one that runs before one that ended, and of these one
        that was submitted before one that was not, since only that can be followed and stopped.

        Raises:
            UnknownJobError: there is no such job.
        """
        jobs = self.campaigns()
        if job is None:
            if not jobs:
                raise UnknownJobError(
                    "no campaign was submitted to this cluster since it started; "
                    "pcsearch cluster submit does it"
                )
            return min(jobs, key=lambda one: (not one.runs, one.process is not None))
        for one in jobs:
            if one.id == job:
                return one
        known = ", ".join(one.id for one in jobs) or "none"
        raise UnknownJobError(f"there is no job {job} on this cluster; there are: {known}")

    def find_submitted(self, job: str | None) -> Job:
        """As `find`, for what only a job that was submitted can do.

        Raises:
            UnknownJobError: there is no such job.
            UserError: the campaign was not submitted.
        """
        found = self.find(job)
        if found.process is not None:
            raise UserError(
                f"{found.id} was not submitted, so it is not followed or stopped from here: it was "
                f"started as {found.process}, and tells there how it goes. pcsearch summary prints "
                f"its table; to stop it: {STOP_THERE}"
            )
        return found

    def stop(self, job: str) -> None:
        """Ask a job to end, as by Ctrl-C."""
        asked(self.address, lambda: self._client.stop_job(job))

    def wait(self, job: str, seconds: float) -> Job:
        """The job when it has ended, or after so long."""
        deadline = time.monotonic() + seconds
        while (found := self.find(job)).runs and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    def log(self, job: str) -> str:
        """All that a job has printed so far."""
        return str(asked(self.address, lambda: self._client.get_job_logs(job)))

    def lines(self, job: str) -> Iterator[str]:
        """What a job prints, from its beginning until it ends, line by line.

        A stream that ends in the middle of a line, while the job runs, has broken: the piece is
        left out, since whoever follows again gets that line whole and counts lines.

        Raises:
            LostConnectionError: the connection broke; SilentError where that is not known.
        """
        rest = ""
        for chunk in _in_turn(lambda: self._client.tail_job_logs(job)):
            *whole, rest = (rest + chunk).split("\n")
            yield from whole
        if rest and not self.find(job).runs:
            yield rest

    def nodes(self) -> list[HeadNode]:
        """The machines of the cluster that are alive, the head first."""
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
    """An asynchronous stream as an ordinary one; one that is silent for long counts as broken."""
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
