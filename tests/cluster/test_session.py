"""What a session on this machine leaves open, leaves behind and prints."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcsearch.cluster.session import ray_session
from pcsearch.errors import UserError
from tests.cluster.heads import clean_environment, descendants, end_all, listening

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, alone and inside IPv6
SESSION = """
import sys
from pcsearch.cluster.session import ray_session
try:
    with ray_session(None) as capacity:
        import ray

        capacity()

        @ray.remote(num_cpus=0)
        class Worker:
            def ready(self):
                return True

        workers = [Worker.remote() for _ in range(2)]
        ray.get([worker.ready.remote() for worker in workers])
        print(ray._private.worker._global_node.get_session_dir_path(), flush=True)
        if sys.stdin.readline().strip() == "raise":
            raise ValueError
except ValueError:
    print("raised", flush=True)
"""


@contextlib.contextmanager
def session(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running session in a process of its own, and its folder; no token exists beforehand."""
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(HOME=str(home), RAY_ADDRESS="127.0.0.1:1"),  # no cluster is joined
    )
    folder = ""
    try:
        assert process.stdout is not None
        folder = process.stdout.readline().strip()
        yield process, folder
    finally:
        process.kill()
        process.wait()
        if folder:
            end_all(folder)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["end", "raise"])
def test_it_listens_on_loopback_prints_nothing_and_leaves_nothing(way: str, tmp_path: Path) -> None:
    with session(tmp_path) as (process, folder):
        pids = descendants(process.pid)
        names = [Path(f"/proc/{pid}/comm").read_text() for pid in pids]
        assert {"gcs_server\n", "raylet\n"} <= set(names), process.communicate("end")
        _until(lambda: len(listening(pids)) == 2, seconds=3)  # slower ones open their ports
        assert listening(descendants(process.pid)) <= LOOPBACK
        pids = descendants(process.pid) - {process.pid}
        out, errors = process.communicate(way, timeout=30)
        assert (process.returncode, out, errors) == (0, "raised\n" if way == "raise" else "", "")
        assert (tmp_path / ".ray" / "auth_token").stat().st_size > 0
        assert _until(lambda: not any(_lives(pid) for pid in pids), seconds=10)
        assert folder.startswith("/")


NICENESS = """
import os
from pcsearch.cluster.session import ray_session
with ray_session(None) as capacity:
    import ray

    capacity()
    there = ray.get(ray.remote(num_cpus=0)(lambda: os.nice(0)).remote())
    print(ray._private.worker._global_node.get_session_dir_path())
    print(os.nice(0), there, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("users", "wanted"), [({}, 0), ({"RAY_worker_niceness": "7"}, 7)])
def test_workers_run_at_the_drivers_niceness(
    users: dict[str, str], wanted: int, tmp_path: Path
) -> None:
    """Unless the user says otherwise; Ray's own 15 would stand behind all else that runs."""
    done = subprocess.run(
        [sys.executable, "-c", NICENESS],
        env=clean_environment(HOME=str(tmp_path), **users),
        capture_output=True,
        text=True,
        timeout=90,
    )
    folder, _, numbers = done.stdout.strip().partition("\n")
    try:
        here, there = map(int, numbers.split())
        assert there - here == wanted, done.stderr
    finally:
        end_all(folder)


def test_a_joined_cluster_keeps_its_own_niceness() -> None:
    before = dict(os.environ)
    try:
        os.environ.pop("RAY_worker_niceness", None)
        with ray_session("127.0.0.1:1") as capacity:
            assert "RAY_worker_niceness" not in os.environ
            with pytest.raises(UserError, match=r"127\.0\.0\.1:1"):
                capacity()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(met: object, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not met():  # type: ignore[operator]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
