"""A machine to be reached through SSH: an sshd on loopback whose user has a home of its own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pcsearch.cluster.launcher_folder import launcher_folder
from tests.cluster.heads import TOKEN, end_all, free_port

SSHD = "/usr/sbin/sshd"
NEEDED = (SSHD, "ssh", "ssh-keygen", "rsync")

_PROXY = """
import os, select, socket, sys

to = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
while True:
    for ready in select.select([0, to], [], [])[0]:
        data = os.read(0, 65536) if ready == 0 else to.recv(65536)
        if not data:
            sys.exit()
        to.sendall(data) if ready == 0 else os.write(1, data)
"""


@dataclass(frozen=True)
class SshMachine:
    """Where Ray's launcher may log in, and what it should start there."""

    folder: Path
    port: int
    user: str

    @property
    def token(self) -> Path:
        return self.folder / "token"

    def cluster_file(self, name: str) -> Path:
        """A file for `ray up` whose head is this machine, without workers, all on loopback."""
        file = self.folder / "cluster.yaml"
        file.write_text(yaml.safe_dump(self._cluster(name), width=10_000))
        return file

    def _cluster(self, name: str) -> dict[str, Any]:
        venv = Path(sys.executable).parent
        # neither `ray stop`, which would end every Ray on the machine, nor a port beyond loopback
        start = (
            f"PATH={venv}:$PATH RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 RAY_AUTH_MODE=token "
            f"{sys.executable} -m ray.scripts.scripts start --head --port={free_port()} "
            "--node-ip-address=127.0.0.1 --num-cpus=1 --dashboard-host=127.0.0.1 "
            f"--dashboard-port={free_port()} --dashboard-agent-listen-port={free_port()} "
            f"--temp-dir={self.folder / 'ray'} --object-store-memory=100000000 "
            "--disable-usage-stats --autoscaling-config=~/ray_bootstrap_config.yaml"
        )
        return {
            "cluster_name": name,
            "min_workers": 0,
            "max_workers": 0,
            "provider": {"type": "local", "head_ip": "127.0.0.1", "worker_ips": []},
            "auth": {
                "ssh_user": self.user,
                "ssh_private_key": str(self.folder / "key"),
                "ssh_proxy_command": f"{sys.executable} {self.folder / 'proxy.py'} {self.port}",
            },
            "file_mounts": {"~/.ray/auth_token": str(self.token)},
            "head_start_ray_commands": [start],
            "worker_start_ray_commands": [],
        }


@contextlib.contextmanager
def ssh_machine(user: str) -> Iterator[SshMachine]:
    """An sshd; it, and all that was started in its folder, is ended afterwards, by pid."""
    folder = Path(tempfile.mkdtemp(prefix="pcs-ssh-"))  # short: Ray's socket paths have a limit
    port = free_port()
    try:
        for key in ("host", "key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(command, check=True)
        (folder / "home").mkdir()
        (folder / "token").write_text(TOKEN)
        (folder / "proxy.py").write_text(_PROXY)
        public = (folder / "key.pub").read_text()
        (folder / "authorized").write_text(f'environment="HOME={folder / "home"}" {public}')
        (folder / "sshd_config").write_text(_configuration(folder, port))
        Path("/run/sshd").mkdir(exist_ok=True)
        with subprocess.Popen(
            [SSHD, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "sshd.log")]
        ) as daemon:
            try:
                yield SshMachine(folder, port, user)
            finally:
                daemon.terminate()
    finally:
        for state in (launcher_folder() / "ray").glob(f"cluster-pcs-{port}*"):
            state.unlink()
        end_all(str(folder))
        shutil.rmtree(folder, ignore_errors=True)


def _configuration(folder: Path, port: int) -> str:
    return textwrap.dedent(
        f"""\
        Port {port}
        ListenAddress 127.0.0.1
        HostKey {folder / "host"}
        PidFile none
        AuthorizedKeysFile {folder / "authorized"}
        PermitUserEnvironment yes
        PermitRootLogin prohibit-password
        PasswordAuthentication no
        StrictModes no
        UsePAM no
        """
    )
