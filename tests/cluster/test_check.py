"""`pcsearch cluster check`: each mistake in a cluster file is found, without starting anything."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import pcsearch
from pcsearch.cli.app import app
from pcsearch.cluster.check import check
from pcsearch.cluster.file import load_cluster_file
from pcsearch.errors import UserError
from pcsearch.recipe.load import load_recipe
from pcsearch.recipe.schema import Recipe

FILE = Path(__file__).resolve().parents[2] / "cluster.yaml"
WHEEL = f"dist/pcsearch-{pcsearch.__version__}-py3-none-any.whl"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a token and AWS credentials."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("token")
    (tmp_path / "dist").mkdir()
    (tmp_path / WHEEL).touch()
    return tmp_path


@pytest.fixture
def ready(home: Path) -> dict[str, Any]:
    """The shipped file, filled in."""
    text = FILE.read_text().replace("ami-FILL-IN", "ami-1").replace("fs-FILL-IN", "fs-1")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def recipe(*overrides: str) -> Recipe:
    return load_recipe("cub200", list(overrides))


def problems(config: dict[str, Any], folder: Path, **options: Any) -> list[str]:
    found = check(copy.deepcopy(config), folder=folder, **options)
    return [finding.text for finding in found if finding.level == "problem"]


def test_the_shipped_file_passes_once_it_is_filled_in(ready: dict[str, Any], home: Path) -> None:
    pytest.importorskip("boto3")
    found = list(
        check(ready, folder=home, recipes=[recipe()], prices={"head": 0.1, "gpu-spot": 0.4})
    )
    assert [f.text for f in found if f.level != "fine"] == []
    assert any("8 at once at most" in f.text for f in found)
    assert any("0.10 an hour idle and 3.30 an hour at most" in f.text for f in found)


@pytest.mark.parametrize("file", ["gcp.yaml", "on-premise.yaml"])
def test_the_examples_pass_once_they_are_filled_in(file: str, home: Path) -> None:
    config = yaml.safe_load((FILE.parent / "clusters" / file).read_text().replace("FILL-IN", "x"))
    found = list(
        check(
            config,
            folder=home,
            recipes=[recipe()],
            prices={"head": 0.1, "gpu-spot": 0.4} if file == "gcp.yaml" else {},
        )
    )
    wanted = {
        "gcp.yaml": [],
        "on-premise.yaml": ["whether the nodes share a folder cannot be seen"],
    }
    bad = [f.text for f in found if f.level != "fine"]
    assert [text[:47] for text in bad] == [text[:47] for text in wanted[file]]


@pytest.mark.parametrize("file", ["gcp.yaml", "on-premise.yaml"])
def test_the_examples_install_this_version_and_open_nothing(file: str) -> None:
    text = (FILE.parent / "clusters" / file).read_text()
    assert f"pcsearch-{pcsearch.__version__}-py3-none-any.whl" in text
    assert "0.0.0.0" not in text
    assert "--dashboard-host=127.0.0.1" in text


def opened(config: dict[str, Any], first: int, last: int, to: str = "0.0.0.0/0") -> None:
    rule = {"FromPort": first, "ToPort": last, "IpProtocol": "tcp", "IpRanges": [{"CidrIp": to}]}
    config["provider"]["security_group"]["IpPermissions"] = [rule]


def without_mount(config: dict[str, Any]) -> None:
    config["setup_commands"] = [c for c in config["setup_commands"] if "nfs4" not in c]


def replaced(key: str, old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        config[key] = [command.replace(old, new) for command in config[key]]

    return change


MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "Ray's ports open to the world": (lambda c: opened(c, 6379, 6379), "opens ports 6379 to 6379"),
    "all ports open": (lambda c: opened(c, -1, -1), "opens every port to the world"),
    "SSH among others": (lambda c: opened(c, 22, 8265), "opens ports 22 to 8265"),
    "dashboard on every interface": (
        replaced("head_start_ray_commands", "127.0.0.1", "0.0.0.0"),
        "the dashboard listens on every interface",
    ),
    "no token": (lambda c: c["file_mounts"].pop("~/.ray/auth_token"), "not given the token"),
    "token off": (
        replaced("worker_start_ray_commands", "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled"),
        "token authentication is off",
    ),
    "token in the file": (
        replaced("head_start_ray_commands", "RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN=abc"),
        "a token is written in the file",
    ),
    "nothing shared": (without_mount, "no folder is shared by the nodes"),
    "not filled in": (
        lambda c: c["available_node_types"]["head"]["node_config"].update(ImageId="ami-FILL-IN"),
        "available_node_types.head.node_config.ImageId is still to be filled in",
    ),
    "no such provider": (lambda c: c["provider"].update(type="asw"), 'provider.type is "asw"'),
    "no such head": (lambda c: c.update(head_node_type="haed"), "head_node_type"),
    "an unknown key": (lambda c: c.update(idle_minutes=5), "idle_minutes"),
    "two Rays": (
        lambda c: c["setup_commands"].append("pip install ray==2.9.0"),
        "Ray is installed as 2.60.0 and 2.9.0",
    ),
    "no wheel": (
        lambda c: c["file_mounts"].update({"~/x.whl": "dist/other.whl"}),
        "file_mounts: there is no dist/other.whl",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_found_alone(mistake: str, ready: dict[str, Any], home: Path) -> None:
    pytest.importorskip("boto3")
    change, message = MISTAKES[mistake]
    change(ready)
    (found,) = problems(ready, home)
    assert message in found


def test_a_port_that_is_open_within_the_network_is_fine(ready: dict[str, Any], home: Path) -> None:
    pytest.importorskip("boto3")
    opened(ready, 2049, 2049, "10.0.0.0/16")
    assert problems(ready, home) == []


def test_a_trial_that_fits_on_no_node(ready: dict[str, Any], home: Path) -> None:
    pytest.importorskip("boto3")
    (found,) = problems(ready, home, recipes=[recipe("resources.gpus_per_trial=2")])
    assert "no node has room for one (gpu-spot 4 CPUs and 1 GPU)" in found


def test_runs_on_s3_need_no_shared_folder_but_a_role(ready: dict[str, Any], home: Path) -> None:
    pytest.importorskip("boto3")
    without_mount(ready)
    found = list(check(ready, folder=home, runs="s3://bucket/runs"))
    assert not [f for f in found if f.level == "problem"]
    assert any("no IamInstanceProfile" in f.text for f in found)


def test_no_credentials(ready: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3")
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(key, raising=False)
    assert problems(ready, home) == ["there are no AWS credentials on this machine"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("provider: [", ":1: is no YAML"),
        ("- a", "is no cluster file"),
        ("datasets: [cub200]", "has no provider.type"),
        ("kind: RayCluster", "is a RayCluster for Kubernetes"),
        ("provider: {type: aws}\navailable_node_types: [a]", "must be a mapping"),
        ("provider: {type: aws}\navailable_node_types: {a: {resources: {CPU: x}}}", "numbers"),
        ("provider: {type: aws}\nmax_workers: many", "max_workers must be a whole number"),
        ("provider: !!python/object/apply:os.system [echo]", "is no YAML"),
    ],
)
def test_what_is_no_cluster_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message.replace("!", "")):
        load_cluster_file(file)


JUNK = (
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=5) | st.just([]) | st.just({})
)
KEYS = st.sampled_from(
    ["provider", "available_node_types", "head_node_type", "file_mounts", "max_workers", "docker"]
)


@settings(max_examples=60, deadline=None)
@given(changes=st.dictionaries(KEYS, JUNK, min_size=1, max_size=3))
def test_junk_is_refused_or_checked_but_never_a_traceback(
    changes: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("junk") / "cluster.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(FILE.read_text()) | changes))
    try:
        config = load_cluster_file(file)
    except UserError:
        return
    list(check(config, folder=file.parent, recipes=[recipe()]))


def test_the_command(home: Path) -> None:
    result = CliRunner().invoke(app, ["cluster", "check", str(FILE), "cub200", "--json"])
    findings = json.loads(result.stdout)
    assert {"level", "text", "remedy"} == findings[0].keys()
    assert isinstance(result.exception, UserError)
    assert "nothing was started" in str(result.exception)
    result = CliRunner().invoke(app, ["cluster", "check", str(FILE), "--price", "head"])
    assert "must be a node type and a number" in str(result.exception)
