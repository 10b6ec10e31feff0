"""`pcsearch cluster up` to `down` with Ray's own launcher, through SSH to a machine on loopback."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import json
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

    def tuned(self, *arguments: str) -> list[str]:
        """The command that does it all."""
        command = [sys.executable, "-m", "pcsearch", "tune", *arguments]
        return [*command, "--cluster", str(self._file)]

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.finish(self._typed(command, *arguments))

    def finish(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )

    def answer(self, command: str, answer: bytes) -> subprocess.CompletedProcess[str]:
        """Run a command that asks, at a terminal."""
        return self.say(self._typed(command), answer)

    def say(self, command: list[str], answer: bytes) -> subprocess.CompletedProcess[str]:
        keyboard, terminal = os.openpty()
        try:
            os.write(keyboard, answer)
            return subprocess.run(
                command,
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
    assert "is up\nNext: pcsearch cluster submit" in up.stdout

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


def test_from_a_recipe_to_an_answer_and_no_machine_left(
    machine: SshMachine, tmp_path: Path
) -> None:
    """`tune --cluster`: started, left, found again, and ended with the campaign."""
    file = machine.cluster_file(f"pcs-{machine.port}")
    laptop = Laptop(machine, file)
    runs = ["--runs", str(tmp_path / "runs")]
    endless = [*SMALL, "search.trials=50", "asha.max_epochs=500", "asha.grace_epochs=500"]

    unasked = laptop.finish(laptop.tuned(*SMALL, *runs))
    assert unasked.returncode == 2
    assert "cannot ask without a terminal; give --yes" in unasked.stderr
    no = laptop.say(laptop.tuned(*SMALL, *runs), b"n\n")
    assert no.returncode == 1, no.stderr
    assert f"Start the machines of {file}?" in no.stdout
    assert "nothing was started" in no.stderr
    assert "is not up" in laptop.run("status").stderr

    first = laptop.start(laptop.tuned(*endless, *runs, "--name=first", "--yes", "--down"))
    assert first.stdout is not None
    lines = iter(first.stdout.readline, "")
    seen = list(itertools.takewhile(lambda line: "trial at once" not in line, lines))
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 130, "".join(seen) + out + err
    (job,) = [line.split()[1] for line in seen if line.startswith("submitted ")]
    assert f"{file} is up\n" in seen
    assert f"come back with: pcsearch cluster attach {file} {job}\n" in "".join(seen)
    assert "no longer following; the campaign continues" in out
    assert f"--down ended nothing: the machines of {file} run, and cost money, until: " in out
    assert f"pcsearch cluster down {file}" in out

    stopped = laptop.run("stop")
    assert stopped.stdout.startswith(f"{job} was stopped"), stopped.stderr
    file.write_text(f"{file.read_text()}# another\n")
    last = laptop.finish(laptop.tuned(*SMALL, *runs, "--name=last", "--down", "--events"))
    assert last.returncode == 0, last.stdout + last.stderr
    told = [json.loads(line) for line in last.stdout.splitlines()]  # and nothing else
    assert told[-1]["status"] == "complete"
    assert f"note: {file}, or a file that it copies, was changed after" in last.stderr
    assert last.stderr.rstrip().endswith(f"{file} is down")
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
