"""What is seen of ports that are open, and that a Ray others could reach does not start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from pcsearch.cluster.exposure import Listener, listeners
from tests.cluster.heads import clean_environment


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.7", False),
        ("::ffff:10.0.0.7", False),
        ("::ffff:0.0.0.0", False),
        ("fe80::1%eth0", False),
    ],
)
def test_loopback_alone_is_local(address: str, local: bool) -> None:
    assert Listener(address, 1, "x").is_local is local


def test_ports_are_seen_of_this_process_and_of_grandchildren() -> None:
    import ray  # noqa: F401  which brings psutil

    script = (
        "import socket, subprocess, sys\n"
        "with socket.create_server(('', 0)) as server:\n"
        "    print(server.getsockname()[1], flush=True)\n"
        "    sys.stdin.read()\n"
    )
    outer = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {script!r}], stdin=sys.stdin)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        with socket.create_server(("127.0.0.1", 0)) as own:
            found = {(one.address, one.port) for one in listeners({os.getpid(), child.pid})}
            assert {("127.0.0.1", own.getsockname()[1]), ("0.0.0.0", port)} <= found
            of_this = {one.port for one in listeners({os.getpid()})}
            assert own.getsockname()[1] in of_this
            assert port not in of_this
    finally:
        child.communicate()
    assert listeners({child.pid}) == frozenset()


OPEN = """
import contextlib, sys
from pcsearch.cluster import session
from pcsearch.errors import UserError
@contextlib.contextmanager
def left_out(*_):
    yield
setattr(session, sys.argv[1], left_out)
try:
    with session.ray_session(None) as capacity:
        capacity()
except UserError as error:
    print(error, session.is_running())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("without", "told"),
    [
        ("loopback", "where other machines reach it, so Ray was ended"),
        ("session_token", "does not refuse a call without a token (OK), so Ray was ended"),
    ],
)
def test_a_ray_that_others_could_reach_is_ended(without: str, told: str) -> None:
    """As where another Ray no longer knows a switch of ours."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, without],
        env=clean_environment(RAY_AUTH_MODE="disabled"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told in done.stdout, done
    assert done.stdout.endswith(" False\n")
    assert "Traceback" not in done.stderr
