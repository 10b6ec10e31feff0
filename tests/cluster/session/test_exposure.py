"""What is seen of ports that are open, and that a Ray others could reach does not start."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from pcsearch.cluster.session.security import Listener, exposed, exposed_before
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


@pytest.mark.parametrize(
    ("host", "seen"),
    [("127.0.0.1", None), ("::1", None), ("0.0.0.0", "0.0.0.0"), ("::", "::"), ("", "::")],
)
def test_ports_beyond_loopback_are_seen_of_grandchildren(host: str, seen: str | None) -> None:
    import ray  # noqa: F401  which brings psutil

    family = "AF_INET6" if ":" in host or not host else "AF_INET"
    script = (
        "import socket, sys\n"
        f"with socket.create_server(({host!r}, 0), family=socket.{family}) as server:\n"
        "    print(server.getsockname()[1], flush=True)\n"
        "    sys.stdin.read()\n"
    )
    outer = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {script!r}])\n"
    child = subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        found = {(one.address, one.port) for one in exposed({child.pid})}
        assert found == (set() if seen is None else {(seen, port)})
        assert port not in {one.port for one in exposed()}
        assert exposed({child.pid}, known=exposed_before()) == set()
    finally:
        child.communicate()
    assert exposed({child.pid}) == set()


def test_ports_beyond_loopback_are_seen_of_this_process() -> None:
    import ray  # noqa: F401  which brings psutil

    with (
        socket.create_server(("0.0.0.0", 0)) as own,
        socket.create_server(("127.0.0.1", 0)) as not_,
    ):
        ports = {one.port for one in exposed()}
        assert own.getsockname()[1] in ports
        assert not_.getsockname()[1] not in ports


OPEN = """
import contextlib, sys
from pcsearch.cluster.session import session
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
