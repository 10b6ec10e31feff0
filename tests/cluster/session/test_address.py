"""`pcsearch tune --address` against a head on loopback, with token authentication on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import ray

from pcsearch.cluster.session.join import reachable
from pcsearch.errors import UserError
from tests.cluster.heads import (
    ANOTHER_RAY,
    JOIN,
    Head,
    another_ray,
    clean_environment,
    free_port,
    running_head,
)
from tests.e2e.prefork import run

SMALL = ["quickstart", "datasets=[digits]", "search.trials=2", "asha.max_epochs=2"]
SMALL += ["asha.grace_epochs=1", "finalists.configs=0", "confirm.seeds=2", "confirm.epochs=1"]
STILL_THERE = """
import sys
from pcsearch.cluster.session.session import ray_session
with ray_session(sys.argv[1]) as session:
    capacity = session()
    print(capacity.cpus)
"""
IN_TIME = 20.0
"""Seconds for a refusal, start-up of Python and two cores shared with others included."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    # Ray's switch for one machine alone makes the head listen on 127.0.0.1 and nowhere else.
    with running_head("--num-cpus=2", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0") as started:
        yield started


def tune(
    address: str, environment: Mapping[str, str], runs: Path, *wrapper: str
) -> subprocess.CompletedProcess[str]:
    command = ["tune", *SMALL, "--address", address]
    command += ["--plain", "--runs", str(runs), "--name", "joined"]
    if not wrapper and environment.get("PYTHONPATH") == os.environ.get("PYTHONPATH"):
        return run(command, Path.cwd(), environment, timeout=110)
    return subprocess.run(
        [*wrapper, sys.executable, "-m", "pcsearch", *command],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=110,
    )


def test_a_campaign_joins_the_cluster_and_leaves_it_running(head: Head, tmp_path: Path) -> None:
    done = tune(head.address, head.environment, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""

    command = [sys.executable, "-m", "pcsearch", "summary", str(tmp_path / "joined"), "--json"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    summary = json.loads(printed.stdout)
    assert summary["status"] == "complete"
    (study,) = summary["studies"]
    assert (study["dataset"], study["trials"]["failed"]) == ("digits", 0)
    assert len(study["arms"]["pc"]["test_top1"]["values"]) == 2

    assert head.alive()
    ask = [sys.executable, "-c", STILL_THERE, "auto"]
    environment = {**head.environment, "RAY_ADDRESS": head.address}
    answer = subprocess.run(ask, env=environment, capture_output=True, text=True, timeout=60)
    assert answer.stdout.strip() == "2.0", answer.stderr


def test_another_token_is_refused_at_once(head: Head, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("f" * 64)
    began = time.monotonic()
    done = tune(head.address, {**head.environment, "RAY_AUTH_TOKEN_PATH": str(token)}, tmp_path)
    assert time.monotonic() - began < IN_TIME
    assert done.returncode == 2
    assert "wants another token" in done.stderr
    assert "RAY_AUTH_TOKEN_PATH" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "joined").exists()
    assert head.alive()


def test_no_token_is_refused_at_once(head: Head, tmp_path: Path) -> None:
    done = tune(head.address, clean_environment(HOME=str(tmp_path)), tmp_path)
    assert done.returncode == 2
    assert "wants another token" in done.stderr
    assert not (tmp_path / "joined").exists()


def test_another_python_is_refused_at_once(head: Head, tmp_path: Path) -> None:
    """The cluster's own note of what it was started with says another version for a while."""
    with _noted(head, python_version="3.9.1"):
        done = tune(head.address, head.environment, tmp_path)
    assert done.returncode == 2
    assert "runs Python 3.9.1, this machine 3." in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "joined").exists()


def test_another_ray_is_refused_at_once(head: Head, tmp_path: Path) -> None:
    done = tune(head.address, another_ray(head.environment, tmp_path), tmp_path)
    assert done.returncode == 2
    assert f"runs Ray {ray.__version__}, this machine {ANOTHER_RAY}" in done.stderr
    assert "install the same version on both" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "joined").exists()


def test_a_machine_that_is_no_node_is_refused_at_once(head: Head, tmp_path: Path) -> None:
    """One on which no Ray runs: the head's processes are hidden, its ports are not."""
    elsewhere = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*elsewhere, "true"], check=False).returncode:
        pytest.skip("processes of its own need root")
    done = tune(head.address, head.environment, tmp_path, *elsewhere)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "this machine is not a node of the Ray cluster at" in done.stderr
    assert "start the campaign on one of its nodes, for example its head" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "joined").exists()
    assert head.alive()


@pytest.mark.parametrize("token", ["f" * 64, ""], ids=["another", "none"])
def test_a_node_without_the_token_does_not_join(head: Head, token: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token)
    own = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")} if token else {"HOME": str(tmp_path)}
    environment = clean_environment(RAY_AUTH_MODE="token", **own)
    node = subprocess.Popen(
        [sys.executable, "-c", JOIN, head.address],
        env={**environment, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = node.communicate(timeout=80)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
    assert node.returncode not in (0, None)
    assert "joined" not in out
    assert "token" in err.lower()
    listed = [sys.executable, "-c", NODES, head.address]
    seen = subprocess.run(listed, env=dict(head.environment), capture_output=True, text=True)
    assert seen.stdout.strip() == "1", seen.stderr


NODES = """
import sys
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray._raylet import GcsClient

maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
print(len(GcsClient(address=sys.argv[1]).get_all_node_info()))
"""

NOTE = """
import json, sys
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray._raylet import GcsClient

maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
client = GcsClient(address=sys.argv[1])
before = json.loads(client.internal_kv_get(b"CLUSTER_METADATA", b"cluster"))
now = before | json.loads(sys.argv[2])
client.internal_kv_put(b"CLUSTER_METADATA", json.dumps(now).encode(), True, b"cluster")
print(json.dumps(before))
"""


@contextlib.contextmanager
def _noted(head: Head, **changes: str) -> Iterator[None]:
    def note(values: str) -> str:
        command = [sys.executable, "-c", NOTE, head.address, values]
        environment = dict(head.environment)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = note(json.dumps(changes))
    try:
        yield
    finally:
        note(before)


def test_no_head_is_said_at_once(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    began = time.monotonic()
    done = tune(address, clean_environment(), tmp_path)
    assert time.monotonic() - began < IN_TIME
    assert done.returncode == 2
    assert f"no Ray head answers at {address}" in done.stderr
    assert not (tmp_path / "joined").exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://127.0.0.1:10001", "Ray Client"),
        ("nowhere", "expected HOST:PORT or auto"),
        ("no-such-host.invalid:6379", "no Ray head answers"),
    ],
)
def test_what_is_no_address_is_said(address: str, message: str) -> None:
    with pytest.raises(UserError, match=message), reachable(address):
        pass


ASK = """
import sys
from pcsearch.cluster.session.join import reachable
with reachable(sys.argv[1]):
    pass
"""


@pytest.mark.slow
def test_a_cluster_that_asks_for_no_token_is_warned_of(tmp_path: Path) -> None:
    with running_head(RAY_AUTH_MODE="disabled") as head:
        done = subprocess.run(
            [sys.executable, "-c", ASK, head.address],
            env=clean_environment(HOME=str(tmp_path)),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done
    assert f"the Ray cluster at {head.address} asks for no token" in done.stderr
