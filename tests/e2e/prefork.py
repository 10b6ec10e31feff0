"""Commands forked from a process that has imported everything: real processes, started at once.

Starting Python, PyTorch and Ray takes seconds, and most tests of the command line are not about
that. A server process imports them once. Each command is a child of it: with its own number,
folder, environment, streams and signals, and with Python's usual end.

    python tests/e2e/prefork.py DESCRIPTOR      the server, on a Unix socket that it inherits
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

PACKAGE = Path(__file__).resolve().parents[2]


class Forked:
    """A forked command, with the part of `subprocess.Popen` that the tests use."""

    def __init__(self, server: _Server, pid: int, out: int, err: int, arguments: Any) -> None:
        self.pid, self.args, self.returncode = pid, arguments, None
        self.stdout: IO[str] = os.fdopen(out)
        self.stderr: IO[str] = os.fdopen(err)
        self._server = server

    returncode: int | None

    def poll(self) -> int | None:
        """The exit code, negative after a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.ended(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            time.sleep(0.01)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote, when it has ended and closed its streams, as its children have."""
        read: dict[str, str] = {}

        def drain(name: str, stream: IO[str]) -> None:
            read[name] = stream.read()

        threads = [
            threading.Thread(target=drain, args=(name, stream), daemon=True)
            for name, stream in (("out", self.stdout), ("err", self.stderr))
        ]
        for thread in threads:
            thread.start()
        until = None if timeout is None else time.monotonic() + timeout
        for thread in threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))
            if thread.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(None if until is None else max(0.1, until - time.monotonic()))
        return read["out"], read["err"]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class _Server:
    """The server's other end; one for each process that runs tests."""

    def __init__(self) -> None:
        here, there = socket.socketpair()
        environment = {key: os.environ[key] for key in os.environ if not key.startswith("RAY_")}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(there.fileno())],
            pass_fds=[there.fileno()],
            env=environment | {"PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        there.close()
        self._socket, self._lines = here, here.makefile("r")
        self._lock = threading.Lock()
        atexit.register(self._process.kill)

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        forks_ray: bool = False,
    ) -> Forked:
        """Fork a command; `forks_ray` is for one that starts Ray, see `prefork_ray.py`."""
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        wanted = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": dict(environment),
            "forks_ray": forks_ray,
        }
        with self._lock:
            content = json.dumps(wanted).encode() + b"\n"
            socket.send_fds(self._socket, [content], [their_out, their_err])
            pid = json.loads(self._lines.readline())
        os.close(their_out)
        os.close(their_err)
        return Forked(self, pid, out, err, arguments)

    def ended(self, pid: int) -> int | None:
        with self._lock:
            self._socket.sendall(json.dumps(pid).encode() + b"\n")
            code: int | None = json.loads(self._lines.readline())
        return code


@functools.cache
def server() -> _Server:
    """The server of this process, started when it is first asked for."""
    return _Server()


LIBRARIES = (
    *("torch", "torchvision", "optuna", "pandas", "pyarrow.fs", "tensorboardX", "psutil"),
    *("aiohttp", "aiohttp_cors", "fsspec", "grpc.aio", "google.protobuf.json_format", "jsonschema"),
    *("msgpack", "opencensus.stats.stats", "opentelemetry.exporter.prometheus", "requests"),
    *("opentelemetry.sdk.metrics", "prometheus_client"),
)
"""All that Ray and its agents import. Ray itself reads the environment at its import."""


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` for a forked command; Ray's processes, if it starts some, are none."""
    process = server().start(arguments, folder, environment)
    try:
        out, err = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(arguments, process.wait(), out, err)


def _import_everything() -> None:
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):  # some belong to Ray's dashboard
            importlib.import_module(name)
    import pcsearch.api
    import pcsearch.cli.app
    import pcsearch.cli.views.live
    import pcsearch.cli.views.plain
    import pcsearch.cluster.session.session
    import pcsearch.execution.resume
    import pcsearch.models.registry
    import pcsearch.reporting.tables
    import pcsearch.training.trainer  # noqa: F401

    assert "ray" not in sys.modules


def _serve(own: socket.socket) -> None:
    """Fork a child for each request; returns in the child, which then is the command."""
    ended: dict[int, int] = {}
    pending = b""
    descriptors: list[int] = []
    while True:
        received, more, _, _ = socket.recv_fds(own, 1 << 16, 2)
        if not received:
            os._exit(0)
        pending += received
        descriptors += more
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            request = json.loads(line)
            if isinstance(request, int):
                answer = _reaped(request, ended)
            else:
                answer = os.fork()
                if answer == 0:
                    own.close()
                    _become(request, descriptors)
                    return
                for descriptor in descriptors:
                    os.close(descriptor)
                descriptors = []
            own.sendall(json.dumps(answer).encode() + b"\n")


def _reaped(pid: int, ended: dict[int, int]) -> int | None:
    if pid not in ended:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found == 0:
            return None
        ended[pid] = os.waitstatus_to_exitcode(status)
    return ended[pid]


def _become(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    out, err = descriptors
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["pcsearch", *request["arguments"]]
    sys.stdout = os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1)
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["forks_ray"]:
        prefork_ray.offer()


def _end(code: Any) -> None:
    """End as Python does, but for taking apart every module, which takes a second."""
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    number = 0 if code is None else code if isinstance(code, int) else 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        number = 120
    os._exit(number & 0xFF)


if __name__ == "__main__":
    import prefork_ray  # beside this file

    del sys.path[0]  # the tests' own modules are none of the product's
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a test's Ctrl-C is for its command alone
    _import_everything()
    gc.freeze()  # what is imported is no garbage, in no child
    _serve(socket.socket(fileno=int(sys.argv[1])))
    from pcsearch.__main__ import main

    try:
        main()
    except SystemExit as ended:
        _end(ended.code)
