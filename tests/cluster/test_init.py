"""`pcsearch cluster init`: shipped files with a user's values, and what they need here."""

from __future__ import annotations

import datetime
import os
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pcsearch.cli.app import app
from pcsearch.cluster.files.aws_account import _NEWEST as NEWEST
from pcsearch.cluster.files.cluster_file import load_cluster_file
from pcsearch.cluster.files.shipped import SHIPPED, WHEEL, filled_in
from pcsearch.errors import UserError
from tests.cluster.heads import clean_environment

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "ami-0fedcba9876543210"


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder below a home without a token."""
    (home / ".ray" / "auth_token").unlink()
    folder = home / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)


def init(*words: str) -> str:
    """What the command prints; raises its error."""
    result = CliRunner().invoke(app, ["cluster", "init", *words])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def comments(text: str) -> list[str]:
    """The comments of a file, but for its first lines, which name the file."""
    lines = [line.strip() for line in text.partition("\n\n")[2].splitlines()]
    return [line for line in lines if line.startswith("#")]


EXAMPLES = {
    kind: {value.option: value.default or value.example for value in shipped.values}
    for kind, shipped in SHIPPED.items()
}


@pytest.mark.parametrize("kind", SHIPPED)
def test_nothing_is_left_to_fill_in_and_every_comment_stays(kind: str, tmp_path: Path) -> None:
    for value in SHIPPED[kind].values:
        value.checked(value.example)
    before = (ROOT / SHIPPED[kind].name).read_text()
    text = filled_in(kind, EXAMPLES[kind], Path("mine.yaml"))
    assert "FILL-IN" not in text
    assert "FILL IN" not in text.partition("\n\n")[2]
    assert SHIPPED[kind].name not in text.replace("the cluster.yaml of pcsearch", "")
    assert "cluster check mine.yaml " in text
    assert len(comments(text)) == len(comments(before))
    assert text.count("\n") == before.count("\n")
    assert version("ray") in text
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    load_cluster_file(file)


def test_values_arrive_where_they_are_used(tmp_path: Path) -> None:
    given = {"--head": "10.1", "--workers": "a,no,1:30", "--user": "yes"}
    given |= {"--ssh-key": "~/.ssh/k", "--shared": "/mnt/all"}
    machines = yaml.safe_load(filled_in("on-premise", given, Path("f")))
    assert machines["provider"]["head_ip"] == "10.1"
    assert machines["provider"]["worker_ips"] == ["a", "no", "1:30"]
    assert machines["auth"] == {"ssh_user": "yes", "ssh_private_key": "~/.ssh/k"}
    assert (machines["min_workers"], machines["max_workers"]) == (3, 3)
    assert machines["setup_commands"][0] == "mountpoint -q /mnt/all"

    values = EXAMPLES["gcp"] | {"--zone": "europe-west4-b"}
    google = yaml.safe_load(filled_in("gcp", values, Path("f")))["provider"]
    assert (google["region"], google["availability_zone"]) == ("europe-west4", "europe-west4-b")


@pytest.mark.parametrize(
    ("kind", "option", "text"),
    [
        ("aws", "--bucket", "b; rm -rf ~"),
        ("aws", "--bucket", "s3://my-bucket"),
        ("aws", "--image", "ubuntu"),
        ("aws", "--zones", "us-west-2a us-west-2b"),
        ("gcp", "--filestore", "$(id)"),
        ("gcp", "--zone", "us-central1"),
        ("on-premise", "--workers", "a, b"),
        ("on-premise", "--user", 'me"'),
        ("on-premise", "--shared", "/shared;id"),
        ("on-premise", "--ssh-key", "key\nx: y"),
        ("kuberay", "--registry", "r #"),
    ],
)
def test_what_a_shell_or_yaml_would_read_differently_is_refused(
    kind: str, option: str, text: str
) -> None:
    (value,) = [value for value in SHIPPED[kind].values if value.option == option]
    with pytest.raises(UserError, match=f"{option} is .*, but must look like"):
        value.checked(text)


@pytest.mark.usefixtures("no_account")
@pytest.mark.parametrize("kind", SHIPPED)
def test_without_a_terminal_all_that_is_missing_is_listed(kind: str, folder: Path) -> None:
    with pytest.raises(UserError) as told:
        init(kind)
    first, *lines = str(told.value).splitlines()
    assert first.startswith("cannot ask without a terminal; give ")
    missing = [value.option for value in SHIPPED[kind].values if value.default is None]
    assert [line.split()[0] for line in lines] == missing
    assert list(folder.iterdir()) == []


def test_a_file_is_not_overwritten_untold(folder: Path) -> None:
    (folder / "my-cluster.yaml").write_text("mine")
    with pytest.raises(UserError, match=r"my-cluster\.yaml: already exists; .* --force"):
        init("kuberay", "--registry=r", "--bucket=my-bucket")
    assert (folder / "my-cluster.yaml").read_text() == "mine"


def test_aws_says_the_image_and_the_zones(folder: Path, home: Path) -> None:
    pytest.importorskip("boto3", reason="needs boto3: pip install 'pcsearch[aws]'")
    moto = pytest.importorskip("moto", reason="needs moto: pip install 'pcsearch[test]'")
    region = "ca-central-1"  # it has zones a, b and d
    with moto.mock_aws():
        _publish(region)
        said = init("aws", "mine.yaml", "--bucket=my-bucket", f"--region={region}")
        with pytest.raises(UserError, match=r"\n--image ami-"):  # nobody published one there
            init("aws", "other.yaml", "--bucket=my-bucket", "--region=eu-west-1")
    assert f"--image {IMAGE}: from your AWS account, for {region}" in said
    config = load_cluster_file(Path("mine.yaml"))
    assert config["provider"]["region"] == region
    assert config["provider"]["availability_zone"] == "ca-central-1a,ca-central-1b,ca-central-1d"
    images = {kind["node_config"]["ImageId"] for kind in config["available_node_types"].values()}
    assert images == {IMAGE}
    assert "s3://my-bucket/data" in config["setup_commands"][0]
    token = home / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(token.read_text()) == 64
    assert (folder / "dist" / WHEEL).stat().st_size > 100_000
    assert said.rstrip().endswith("--runs s3://my-bucket/runs --cluster mine.yaml")
    assert not Path("other.yaml").exists()


def _publish(region: str) -> None:
    """Put the image into the parameter store, as AWS does: users may not."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.ssm.models import Parameter, ssm_backends

    about: dict[str, Any] = dict.fromkeys(("description", "allowed_pattern", "keyid"))
    now = datetime.datetime.now(datetime.UTC)
    parameter = Parameter(
        DEFAULT_ACCOUNT_ID,
        NEWEST,
        IMAGE,
        "String",
        last_modified_date=now,
        version=1,
        data_type="text",
        **about,
    )
    ssm_backends[DEFAULT_ACCOUNT_ID][region]._parameters[NEWEST].append(parameter)


def test_a_person_is_asked_until_the_answer_fits(folder: Path) -> None:
    keyboard, terminal = os.openpty()
    try:
        os.write(keyboard, b"registry.example.com/me\nNo Bucket\nmy-bucket\n")
        done = subprocess.run(
            [sys.executable, "-m", "pcsearch", "cluster", "init", "kuberay", "k8s.yaml"],
            env=clean_environment(PYTHONPATH=str(ROOT)),
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=100,
        )
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--bucket is 'No Bucket', but must look like my-bucket" in done.stderr
    assert "image: &image registry.example.com/me/pcsearch:" in Path("k8s.yaml").read_text()
    assert done.stdout.rstrip().endswith("kubectl apply -f k8s.yaml")
    assert not (folder.parent / ".ray" / "auth_token").exists()  # KubeRay makes its own
