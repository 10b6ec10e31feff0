"""What a session on this machine leaves open, leaves behind and prints."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pcsearch
from pcsearch.cluster.session.security import session_folder
from pcsearch.cluster.session.session import ray_session
from pcsearch.errors import UserError
from tests.cluster.heads import clean_environment, descendants, end_all, listening, open_ports

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, alone and inside IPv6
NOBODY = 65534
CALLS = (
    "NodeInfoGcsService/CheckAlive",
    "InternalKVGcsService/InternalKVGet",
    "NodeManagerService/GetNodeStats",
    "ObjectManagerService/Push",
    "CoreWorkerService/NumPendingTasks",
    "ReporterService/HealthCheck",
)
SESSION = """
import sys
from pcsearch.cluster.session.session import ray_session
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
def session(home: Path, temporary: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running session in a process of its own, and its folder.

    The environment names a cluster that is not joined, and a mode that is not heeded.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(
            HOME=str(home),
            TMPDIR=str(temporary),
            RAY_ADDRESS="127.0.0.1:1",
            RAY_AUTH_MODE="disabled",
        ),
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


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A TMPDIR that everybody can enter, as a machine's own; and short, for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="pcs-") as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["end", "raise"])
def test_it_listens_on_loopback_prints_nothing_and_leaves_nothing(
    way: str, tmp_path: Path, temporary: Path
) -> None:
    with session(tmp_path, temporary) as (process, folder):
        pids = descendants(process.pid)
        names = [Path(f"/proc/{pid}/comm").read_text() for pid in pids]
        assert {"gcs_server\n", "raylet\n"} <= set(names), process.communicate("end")
        _until(lambda: len(listening(pids)) == 2, seconds=3)  # slower ones open their ports
        assert listening(descendants(process.pid)) <= LOOPBACK
        pids = descendants(process.pid) - {process.pid}
        out, errors = process.communicate(way, timeout=30)
        assert (process.returncode, out, errors) == (0, "raised\n" if way == "raise" else "", "")
        assert list(tmp_path.iterdir()) == []  # no token's file
        assert list(temporary.iterdir()) == []
        assert _until(lambda: not any(_lives(pid) for pid in pids), seconds=10)
        assert list(temporary.iterdir()) == []
        assert folder.startswith(f"{temporary}/")


@pytest.mark.slow
def test_another_user_reaches_nothing_and_a_killed_session_is_swept_up(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session(tmp_path, temporary) as (process, folder):
        pids = descendants(process.pid)
        ports = [at for at, _ in open_ports(pids)]
        assert len(ports) >= 6, ports  # head, raylet (two), driver, two agents
        for port in ports:
            assert not _answers(port), port
        if os.getuid() == 0:
            tried = [
                lambda: list(Path(folder).iterdir()),
                lambda: list((temporary / Path(folder).relative_to(temporary).parts[0]).iterdir()),
                lambda: socket.socket(socket.AF_UNIX).connect(f"{folder}/sockets/raylet"),
                lambda: Path(f"{folder}/sockets/raylet").rename(f"{folder}/sockets/old"),
                lambda: Path(f"{folder}/logs/raylet.out").read_text(),
                *(lambda pid=pid: Path(f"/proc/{pid}/environ").read_bytes() for pid in pids),
            ]
            assert _as_nobody(tried) == ["PermissionError"] * len(tried)
        process.kill()
        process.wait()
        assert _until(lambda: not any(_lives(pid) for pid in pids), seconds=90)
        (left,) = temporary.iterdir()
        monkeypatch.setenv("TMPDIR", str(temporary))
        with session_folder():
            assert not left.exists()
    if os.getuid() != 0:
        pytest.skip("only root can become another user; the rest was looked at")


def _answers(port: int) -> list[str]:
    """What anybody is told at a port without a token: calls that a token is for, and pages."""
    import grpc
    import requests

    told = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for call in CALLS:
            try:
                channel.unary_unary(f"/ray.rpc.{call}")(b"", timeout=20)
                told.append(call)
            except grpc.RpcError as error:
                # of HTTP/1, of another server's service, or refused
                closed = ("UNAVAILABLE", "UNIMPLEMENTED", "UNAUTHENTICATED")
                told += [] if error.code().name in closed else [call]
    for page in ("", "metrics", "logs", "api/job_agent/jobs/"):
        with contextlib.suppress(requests.ConnectionError):
            answer = requests.get(f"http://127.0.0.1:{port}/{page}", timeout=20)
            told += [page] if answer.status_code != 401 else []
    return told


def _as_nobody(tried: list[Callable[[], object]]) -> list[str]:
    """How each ends for another user: the name of the error, or nothing."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        names = []
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            for attempt in tried:
                try:
                    attempt()
                    names.append("")
                except OSError as error:
                    names.append(type(error).__name__)
        finally:
            os.write(there, ",".join(names).encode())
            os._exit(0)
    os.close(there)
    os.waitpid(child, 0)
    with os.fdopen(here) as told:
        return told.read().split(",")


TWICE = """
import os
from pcsearch.cluster.session.session import ray_session
before = dict(os.environ)
tokens = set()
for _ in range(2):
    with ray_session(None) as capacity:
        import ray, ray.tune

        print(capacity().nodes[0].cpus)
        there = ray.remote(num_cpus=0)(lambda: os.environ["RAY_AUTH_TOKEN"]).remote()
        tokens.add(ray.get(there))
    assert dict(os.environ) == before
print(len(tokens))
"""


@pytest.mark.slow
def test_two_in_one_program_heed_its_affinity_and_need_no_home(temporary: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    kept = clean_environment(TMPDIR=str(temporary), RAY_AUTH_TOKEN_PATH="/nowhere")
    done = subprocess.run(
        [sys.executable, "-c", TWICE],
        env=kept | {"HOME": "/nowhere"},
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "1.0\n1.0\n2\n"), done


WHOSE = """
import pcsearch
from pcsearch.cluster.session.session import ray_session
with ray_session(None) as capacity:
    import ray

    capacity()
    there = ray.remote(num_cpus=0)(lambda: __import__("pcsearch").__file__).remote()
    print(pcsearch.__file__)
    print(ray.get(there), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("also_on_path", [False, True])
def test_workers_import_the_drivers_code_and_not_another_checkout(
    also_on_path: bool, tmp_path: Path
) -> None:
    ours = Path(pcsearch.__file__).parent
    copy = tmp_path / "checkout" / "pcsearch"
    shutil.copytree(ours, copy, ignore=shutil.ignore_patterns("__pycache__"))
    environment = clean_environment(PYTHONPATH=str(ours.parent))
    if not also_on_path:
        del environment["PYTHONPATH"]
    done = subprocess.run(
        [sys.executable, "-c", WHOSE],  # searches the current folder first, as `python -m` does
        cwd=copy.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.stdout.splitlines() == [str(copy / "__init__.py")] * 2, done


NICENESS = """
import os
from pcsearch.cluster.session.session import ray_session
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
