"""What is said of a cluster that is named wrongly, before anything is asked."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from pcsearch.cluster.jobs import Jobs
from pcsearch.cluster.launcher import is_up
from pcsearch.cluster.tunnel import dashboard_of
from pcsearch.errors import UserError
from tests.e2e.prefork import run


@pytest.mark.parametrize("written", ["127.0.0.1:8299", "ray://127.0.0.1:8299", "head:8299"])
def test_an_address_without_http_is_told(written: str) -> None:
    with pytest.raises(UserError, match=r"begins with http://.* http://127\.0\.0\.1:8299"):
        dashboard_of(written).__enter__()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.yaml: cannot be read"):
        dashboard_of(str(tmp_path / "no.yaml")).__enter__()


def test_an_address_is_taken_as_it_is() -> None:
    with dashboard_of("https://head.example:443/") as address:
        assert address == "https://head.example:443"


def test_a_token_file_that_is_named_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(UserError, match=r"RAY_AUTH_TOKEN_PATH is .*, but there is no such file"):
        Jobs("http://127.0.0.1:1")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["status"], ["submit", "quickstart", "--runs=s3://bucket/runs"], ["attach"]]
)
def test_without_credentials_it_is_said_which_are_missing(
    command: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3", reason="needs boto3: pip install 'pcsearch[aws]'")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    text = (Path(__file__).resolve().parents[2] / "cluster.yaml").read_text()
    file = home / "cluster.yaml"
    file.write_text(text.replace("FILL-IN", "1"))
    name, *more = command
    done = run(["cluster", name, str(file), *more], Path.cwd(), os.environ, timeout=100)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there are no AWS credentials on this machine; run `aws configure`" in done.stderr
    assert f"pcsearch cluster check {file} lists all problems" in done.stderr
    assert "Traceback" not in done.stderr


LOCAL = """
cluster_name: c
provider: {{type: {kind}, head_ip: 127.0.0.1, worker_ips: []}}
auth: {{ssh_user: nobody}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "reason", "remedy"),
    [
        ("asw", 'provider.type is "asw", which Ray does not know, did you mean "aws"?', "one of"),
        ("gcp", "google-api-python-client is not installed", "pip install google-api-python"),
    ],
)
@pytest.mark.parametrize("command", ["status", "down"])
def test_a_provider_that_cannot_be_asked_is_told_as_such(
    command: str, kind: str, reason: str, remedy: str, home: Path
) -> None:
    if kind == "gcp" and importlib.util.find_spec("googleapiclient"):
        pytest.skip("google-api-python-client is here")
    file = home / "cluster.yaml"
    file.write_text(LOCAL.format(kind=kind))
    done = run(["cluster", command, str(file)], Path.cwd(), os.environ, timeout=100)
    assert (done.returncode, done.stdout) == (2, "")
    for told in (reason, remedy, f"pcsearch cluster check {file} lists all problems"):
        assert told in done.stderr
    assert "SSH" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_provider_that_does_not_answer_is_told_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.autoscaler import sdk

    def asked(file: str) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(sdk, "get_head_node_ip", asked)
    with pytest.raises(UserError, match=r"is up \(ConnectionError: no route\); check .* network"):
        is_up(tmp_path / "cluster.yaml")
