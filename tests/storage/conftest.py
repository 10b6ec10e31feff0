"""Storages to test: a folder, and a bucket of a real S3 server behind a network of our own."""

from __future__ import annotations

import http.client
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcsearch.storage import Storage
from pcsearch.storage.local import LocalStorage
from pcsearch.storage.retry import Patience
from pcsearch.storage.s3 import S3Storage
from tests.storage import s3_server
from tests.storage.network import Network, network_to

PATIENCE = Patience(total_seconds=60, unmet_seconds=60, longest_wait_seconds=0.5)
_AWS = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL_S3")


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    with s3_server.running() as port:
        yield port


@pytest.fixture
def network(s3_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Network]:
    """The way to the S3 server, which boto3 finds by the environment."""
    with network_to(s3_port) as network:
        monkeypatch.setenv("AWS_ENDPOINT_URL", network.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in _AWS:
            monkeypatch.delenv(name, raising=False)
        yield network


@pytest.fixture
def bucket(network: Network, s3_port: int) -> str:
    """A new bucket."""
    name = f"bucket-{secrets.token_hex(6)}"
    connection = http.client.HTTPConnection("127.0.0.1", s3_port)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    return name


@pytest.fixture
def s3(bucket: str) -> S3Storage:
    return S3Storage(bucket, "runs/first", patience=PATIENCE)


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Both kinds of storage, empty."""
    if request.param == "s3":
        found: S3Storage = request.getfixturevalue("s3")
        return found
    return LocalStorage(tmp_path / "runs" / "first")
