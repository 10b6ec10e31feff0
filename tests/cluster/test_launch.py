"""`pcsearch cluster up` to `down` with Ray's own launcher, through SSH to a machine on loopback."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcsearch.cluster.launcher_folder import launcher_folder
from tests.cluster.fake_cluster import until
from tests.cluster.heads import clean_environment, commands, free_port, listening_at
from tests.cluster.ssh_machine import NEEDED, SshMachine, ssh_machine
from tests.cluster.test_jobs import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LOOPBACK = {"0100007F", "00000000000000000000000001000000"}
"""127.0.0.1 and ::1, as the kernel writes them."""

missing = [name for name in NEEDED if shutil.which(name) is None]


@pytest.fixture
def machine() -> Iterator[SshMachine]:
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("an sshd for one user alone needs root")
    login = ["bash", "--login", "-i", "-c", "command -v ray"]
    found = subprocess.run(login, env={"HOME": "/nonexistent"}, capture_output=True, check=False)
    if found.returncode == 0:
        pytest.skip("`ray down` would end every Ray on this machine by `ray stop`")
    with ssh_machine(getpass.getuser()) as started:
        yield started


class Laptop:
    """Where the commands are typed."""

    def __init__(self, machine: SshMachine, file: Path) -> None:
        self._file = file
        self._environment = clean_environment(
            RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(machine.token)
        )

    def _typed(self, command: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "pcsearch", "cluster", command, str(self._file), *arguments]

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._typed(command, *arguments),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )

    def answer(self, command: str, answer: bytes) -> subprocess.CompletedProcess[str]:
        """Run a command that asks, at a terminal."""
        keyboard, terminal = os.openpty()
        try:
            os.write(keyboard, answer)
            return subprocess.run(
                self._typed(command),
                env=self._environment,
                stdin=terminal,
                capture_output=True,
                text=True,
                timeout=240,
            )
        finally:
            os.close(keyboard)
            os.close(terminal)

    @contextlib.contextmanager
    def running(self, command: str) -> Iterator[None]:
        """A command that goes on until it is interrupted."""
        process = subprocess.Popen(
            self._typed(command),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def test_a_cluster_from_up_to_down(machine: SshMachine, tmp_path: Path) -> None:
    file = machine.cluster_file(f"pcs-{machine.port}")
    laptop = Laptop(machine, file)
    before = laptop.run("status")
    assert before.returncode == 2
    assert "is not up; start it with: pcsearch cluster up" in before.stderr

    unasked = laptop.run("up")
    assert unasked.returncode == 2
    assert "cannot ask without a terminal; give --yes" in unasked.stderr
    up = laptop.run("up", "--yes")
    assert up.returncode == 0, up.stdout + up.stderr
    assert "is up. Next: pcsearch cluster submit" in up.stdout

    cut_off = Laptop(machine, _cut_off(machine, file)).run("status")
    assert cut_off.returncode == 2
    assert "cannot be reached through SSH" in cut_off.stderr
    assert "ray attach" in cut_off.stderr

    runs = str(tmp_path / "runs")
    done = laptop.run("submit", *SMALL, "--runs", runs, "--name=first")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "quickstart · complete" in done.stdout

    kept = laptop.answer("down", b"n\n")
    assert kept.returncode == 1, kept.stdout + kept.stderr
    assert "End every machine of" in kept.stdout
    assert "is down" not in kept.stdout
    assert laptop.run("status").returncode == 0

    endless = [*SMALL, "search.trials=50", "asha.max_epochs=500", "asha.grace_epochs=500"]
    sent = laptop.run("submit", *endless, "--runs", runs, "--name=second", "--detach")
    job = sent.stdout.strip()
    assert job.startswith("pcsearch-second-"), sent.stderr
    with laptop.running("attach"):
        (command,) = until(lambda: list(commands(f"dashboard {file}").values()))
        port = int(command.partition("--port=")[2].split()[0])  # where the tunnel begins
        assert until(lambda: listening_at(port)) <= LOOPBACK
    for refused in (laptop.run("down", "--yes"), laptop.run("up", "--yes")):
        assert refused.returncode == 2
        assert f"{job} still runs on" in refused.stderr
        assert "--force" in refused.stderr
    down = laptop.run("down", "--yes", "--force")
    assert down.returncode == 0, down.stdout + down.stderr
    assert f"{job} was stopped" in down.stdout
    assert "is not up" in laptop.run("status").stderr


def _cut_off(machine: SshMachine, file: Path) -> Path:
    """The same cluster behind a port on which nobody listens.

    By another name, since the launcher keeps a connection to a cluster open for some seconds.
    """
    state = launcher_folder() / "ray" / f"cluster-pcs-{machine.port}.state"
    shutil.copy(state, state.with_name(f"cluster-pcs-{machine.port}-cut-off.state"))
    text = file.read_text()
    assert f"proxy.py {machine.port}" in text
    text = text.replace(f"proxy.py {machine.port}", f"proxy.py {free_port()}")
    other = file.with_name("cut-off.yaml")
    other.write_text(text.replace(f"pcs-{machine.port}", f"pcs-{machine.port}-cut-off"))
    return other
