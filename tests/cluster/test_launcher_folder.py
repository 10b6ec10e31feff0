"""What another user of the machine prepares for Ray's launcher is not read."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pcsearch.cluster import launcher as launch
from pcsearch.cluster.launcher_folder import launcher_folder, private_launcher
from pcsearch.errors import UserError

NOBODY = 65534


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """And a TMPDIR that everybody can write in."""
    with tempfile.TemporaryDirectory(prefix="pcs-") as folder:
        Path(folder).chmod(0o755)
        for name, mode in (("home", 0o755), ("tmp", 0o1777)):
            (Path(folder) / name).mkdir()
            (Path(folder) / name).chmod(mode)
        monkeypatch.setenv("HOME", f"{folder}/home")
        monkeypatch.setenv("TMPDIR", f"{folder}/tmp")
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder) / "tmp"


def cluster(folder: Path) -> Path:
    stated = {
        "cluster_name": "attacked",
        "max_workers": 0,
        "provider": {"type": "local", "head_ip": "127.0.0.1", "worker_ips": []},
        "auth": {"ssh_user": "x"},
    }
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(stated))
    return file


def test_a_prepared_configuration_and_a_prepared_state_are_not_read(
    own_home: Path, tmp_path: Path
) -> None:
    """Either says that the head is up; a configuration could name commands to run here."""
    from ray.autoscaler._private.util import prepare_config

    file = cluster(tmp_path)
    tags = {"ray-node-type": "head", "ray-node-status": "up-to-date"}
    head = {"127.0.0.1": {"tags": tags, "state": "running", "external_ip": "192.0.2.1"}}
    (own_home / "ray").mkdir()
    (own_home / "ray" / "cluster-attacked.state").write_text(json.dumps(head))
    prepared = prepare_config(yaml.safe_load(file.read_text()))
    name = hashlib.sha256(json.dumps([prepared], sort_keys=True).encode()).hexdigest()
    evil = prepared | {"provider": prepared["provider"] | {"external_head_ip": "192.0.2.1"}}
    cached = own_home / f"ray-config-{name}"
    cached.write_text(json.dumps({"_version": 1, "provider_log_info": {}, "config": evil}))
    assert launch.is_up(file) is False
    assert (launcher_folder() / "ray" / "cluster-attacked.state").exists()


def test_the_environment_is_private_meanwhile_and_comes_back(own_home: Path) -> None:
    before = dict(os.environ)
    with private_launcher():
        assert os.environ["RAY_TMPDIR"] == os.environ["TMPDIR"] == tempfile.gettempdir()
        folder = Path(tempfile.gettempdir())
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert dict(os.environ) == before
    assert tempfile.gettempdir() == str(own_home)


@pytest.mark.parametrize("what", ["a folder", "a link"])
def test_ssh_connections_of_another_user_are_refused(
    what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder to another user")
    name = f"pcs-{os.getpid()}-{what[2:]}"
    monkeypatch.setenv("LOGNAME", name)  # as `getpass.getuser` has it
    place = Path(f"/tmp/ray_ssh_{hashlib.sha256(name.encode()).hexdigest()[:10]}")
    try:
        if what == "a folder":
            place.mkdir()
            os.chown(place, NOBODY, NOBODY)
        else:
            place.symlink_to(tmp_path)
        with pytest.raises(UserError, match=f"{place} belongs to another user"):
            launch.start(cluster(tmp_path))
        with pytest.raises(UserError, match=f"{place} belongs to another user"):
            launch.is_up(cluster(tmp_path))
    finally:
        place.rmdir() if what == "a folder" else place.unlink()
