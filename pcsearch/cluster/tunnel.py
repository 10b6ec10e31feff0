"""Reach a cluster's dashboard: by an SSH tunnel to its head, or directly by its address."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pcsearch.cluster.files.cluster_file import ClusterConfig, commands, load_launcher_file
from pcsearch.cluster.files.provider import provider
from pcsearch.cluster.launcher_folder import private_launcher
from pcsearch.cluster.session.signals import exit_when_told
from pcsearch.errors import UserError

_DASHBOARD_PORT = 8265
_PORT = re.compile(r"--dashboard-port[= ]([0-9]{1,5})\b")
_ADDRESS = re.compile(r"([a-z]+://)?[\w.-]+:[0-9]{1,5}")
_OPEN_SECONDS = 60.0
_LOOK_SECONDS = 0.2


def is_address(cluster: str) -> bool:
    """Whether a cluster is given by its dashboard's address instead of its file."""
    return cluster.startswith(("http://", "https://"))


def refuse_bare_address(cluster: str) -> None:
    """UserError for an address without http:// that is not a file."""
    if not Path(cluster).exists() and _ADDRESS.fullmatch(cluster):
        port = cluster.rpartition("/")[2].partition(":")[2] or _DASHBOARD_PORT
        raise UserError(
            f"there is no file {cluster}; a dashboard's address begins with http://, such as "
            f"http://127.0.0.1:{port}"
        )


@contextlib.contextmanager
def dashboard_of(cluster: str) -> Iterator[str]:
    """The HTTP address of a cluster's dashboard, valid in this context.

    Args:
        cluster: A file for `ray up`, whose head is reached through SSH; or the address.

    Raises:
        UserError: the file is invalid, the cluster is not up, or its head cannot be reached.
    """
    if is_address(cluster):
        yield cluster.rstrip("/")
        return
    refuse_bare_address(cluster)
    file = Path(cluster)
    remote = _dashboard_port(load_launcher_file(file))
    port = _free_port()
    with tempfile.TemporaryFile() as said, exit_when_told():
        # Ray's own launcher knows the head's address, user and key. It holds the tunnel by a child
        # ssh, so both get their own process group and end together.
        command = [sys.executable, "-m", "ray.scripts.scripts", "dashboard", str(file)]
        command += [f"--port={port}", f"--remote-port={remote}"]
        with private_launcher():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_until_open(process, port, file, lambda: _read(said.fileno()))
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _wait_until_open(
    process: subprocess.Popen[bytes], port: int, file: Path, said: Callable[[], str]
) -> None:
    deadline = time.monotonic() + _OPEN_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _not_reached(file, said())
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(_LOOK_SECONDS)
    raise UserError(
        f"the head of {file} did not answer through SSH within {_OPEN_SECONDS:.0f} s; check that "
        f"`ray attach {file}` reaches it, and that its security group lets in SSH from here"
    )


def _not_reached(file: Path, said: str) -> UserError:
    if "not found" in said and "Head node of cluster" in said:
        return UserError(
            f"the cluster of {file} is not up; start it with: pcsearch cluster up {file}\n"
            "If its head's set-up failed, that machine runs, and costs money, until: "
            f"pcsearch cluster down {file} --force"
        )
    look = f"pcsearch cluster check {file} lists all problems"
    problems = (of for of in provider(load_launcher_file(file)) if of.level == "problem")
    if found := next(problems, None):
        return UserError(f"{file}: cannot reach its provider: {found.text}; {found.remedy}. {look}")
    if "credentials" in said.lower():
        return UserError(f"{file}: its provider refuses the credentials of this machine; {look}")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = f" ({lines[-1]})" if lines else ""
    return UserError(
        f"the head of {file} cannot be reached through SSH{reason}; check whether "
        f"`ray attach {file}` reaches it"
    )


def _dashboard_port(config: ClusterConfig) -> int:
    """The dashboard's port on the head, from its start command or Ray's default."""
    for command in commands(config, "head_start_ray_commands"):
        if stated := _PORT.search(command):
            return int(stated[1])
    return _DASHBOARD_PORT


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read(descriptor: int) -> str:
    return os.pread(descriptor, 100_000, 0).decode(errors="replace")
