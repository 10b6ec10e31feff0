"""Ray processes on this machine, for tests: start a head, look at processes, end one's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TOKEN = "0123456789abcdef" * 4


@dataclass(frozen=True)
class Head:
    """A head that was started here."""

    address: str
    temp_dir: Path
    environment: Mapping[str, str]

    def alive(self) -> bool:
        return any("gcs_server" in command for command in commands(str(self.temp_dir)).values())


@contextlib.contextmanager
def running_head(*options: str, port: int | None = None, **environment: str) -> Iterator[Head]:
    """A head with a token of its own; all that it started is ended afterwards, by pid."""
    folder = Path(tempfile.mkdtemp(prefix="pcs-"))  # short: Ray's socket paths have a limit
    port = port or free_port()
    token = folder / "token"
    token.write_text(TOKEN)
    own = clean_environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", f"--port={port}"]
    command += ["--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats"]
    command += [f"--temp-dir={folder / 'ray'}", "--object-store-memory=100000000"]
    # no driver here shows what its workers print
    command += ["--include-log-monitor=false", *options]
    try:
        with (folder / "start.log").open("wb") as log:
            subprocess.run(
                command, env=own | environment, stdout=log, stderr=log, check=True, timeout=60
            )
        yield Head(f"127.0.0.1:{port}", folder / "ray", own)
    finally:
        end_all(str(folder))
        shutil.rmtree(folder, ignore_errors=True)


JOIN = """
import sys, time
from ray._private.node import Node
from ray._private.parameter import RayParams

parameters = RayParams(
    gcs_address=sys.argv[1],
    node_ip_address="127.0.0.1",
    num_cpus=1,
    object_store_memory=100_000_000,
    include_log_monitor=False,
)
Node(parameters, head=False, shutdown_at_exit=False, spawn_reaper=False)
print("joined", flush=True)
time.sleep(3600)
"""


def join(head: Head, *wrapper: str) -> subprocess.Popen[bytes]:
    """Start a further node of one CPU, on loopback, as children of the process that is given.

    `ray start --address` would listen on every interface. `wrapper` stands before its command.
    """
    node = subprocess.Popen(
        [*wrapper, sys.executable, "-c", JOIN, head.address],
        env={**head.environment, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert node.stdout is not None
    assert node.stdout.readline() == b"joined\n"
    return node


ANOTHER_RAY = "2.1.0"


def another_ray(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """An environment in which Python has a Ray that says it is of another version."""
    folder.mkdir(exist_ok=True)
    text = f"import ray\nray.__version__ = {ANOTHER_RAY!r}\n"
    (folder / "sitecustomize.py").write_text(text)
    return {**environment, "PYTHONPATH": f"{folder}:{environment.get('PYTHONPATH', '')}"}


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without any of Ray's variables."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return kept | {"OMP_NUM_THREADS": "1"} | more


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def commands(text: str) -> dict[int, str]:
    """Processes with this text in their command line, other than this one."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                line = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                if text in line:
                    found[int(folder.name)] = line
    return found


def descendants(pid: int) -> set[int]:
    """A process and all that came from it, as long as their parents live."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(pids: set[int]) -> set[str]:
    """Addresses (as the kernel writes them, hexadecimal) on which these processes listen."""
    return {address for _, address in open_ports(pids)}


def open_ports(pids: set[int]) -> set[tuple[int, str]]:
    """Ports, and addresses as above, on which these processes listen."""
    sockets = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(link.readlink().name)
    return {(port, at) for at, port, inode in _listeners() if f"socket:[{inode}]" in sockets}


def listening_at(port: int) -> set[str]:
    """Addresses, likewise, on which any process listens at a port."""
    return {address for address, found, _ in _listeners() if found == port}


def _listeners() -> Iterator[tuple[str, int, str]]:
    """Address, port and inode of each socket that listens."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                address, _, port = fields[1].partition(":")
                yield address, int(port, 16), fields[9]


def end_all(text: str) -> None:
    """End the processes with this text in their command line."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in commands(text):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + 5
        while commands(text) and time.monotonic() < deadline:
            time.sleep(0.1)
