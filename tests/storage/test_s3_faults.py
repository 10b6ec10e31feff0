"""S3 through a network that fails: away for a while, answers lost, away for good."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pcsearch.errors import PcsearchError, UserError
from pcsearch.storage.base import StorageError
from pcsearch.storage.retry import Patience
from pcsearch.storage.s3 import S3Storage
from tests.storage import s3_server
from tests.storage.conftest import PATIENCE
from tests.storage.network import Network, network_to

IMPATIENT = Patience(
    total_seconds=1.0, unmet_seconds=0.3, first_wait_seconds=0.1, longest_wait_seconds=0.2
)
MULTIPART = 20_000_000


@contextmanager
def away(network: Network, seconds: float) -> Iterator[None]:
    """The server is away at once, and back after some seconds."""
    network.switch_off()
    back = threading.Timer(seconds, network.switch_on)
    back.start()
    try:
        yield
    finally:
        back.join()


OPERATIONS: dict[str, Callable[[S3Storage, Path], object]] = {
    "read": lambda storage, _: storage.read("x") == b"old",
    "write": lambda storage, _: storage.write("new", b"n") or storage.read("new") == b"n",
    "create": lambda storage, _: storage.create("new", b"n") and storage.read("new") == b"n",
    "create again": lambda storage, _: not storage.create("x", b"n"),
    "list": lambda storage, _: storage.list() == ["x"],
    "exists": lambda storage, _: storage.exists("x"),
    "remove": lambda storage, _: storage.remove("x") or storage.list() == [],
    "remove_all": lambda storage, _: storage.write("a/b", b"") or storage.remove_all("a") is None,
    "upload": lambda storage, path: storage.upload("new", path) or storage.exists("new"),
    "download": lambda storage, path: storage.download("x", path) or path.read_bytes() == b"old",
}


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_server_that_is_away_for_a_while_is_waited_for(
    s3: S3Storage, network: Network, operation: str, tmp_path: Path
) -> None:
    (tmp_path / "local").write_bytes(b"local")
    s3.write("x", b"old")
    with away(network, 1.5):
        assert OPERATIONS[operation](s3, tmp_path / "local")


def test_who_is_in_a_hurry_waits_no_longer_than_said(s3: S3Storage, network: Network) -> None:
    """Patience is for minutes; `set_deadline` ends that for this operation and later ones."""
    patient = S3Storage(*s3.url.removeprefix("s3://").split("/", 1))
    patient.write("x", b"old")
    network.switch_off()
    threading.Timer(1.0, patient.set_deadline, [0.5]).start()
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(StorageError, match="is unreachable"):
            patient.read("x")
    assert time.monotonic() - began < 30, "it would have been 15 minutes"
    network.switch_on()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_answer_that_is_lost_changes_nothing(
    s3: S3Storage, network: Network, operation: str, tmp_path: Path
) -> None:
    (tmp_path / "local").write_bytes(b"local")
    s3.write("x", b"old")
    for method in (b"GET", b"PUT", b"HEAD", b"POST"):
        network.lose_answer(method)
    assert OPERATIONS[operation](s3, tmp_path / "local")
    assert network.lost


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_creation_whose_answers_are_lost_knows_its_own(
    s3: S3Storage, network: Network, times: int
) -> None:
    network.lose_answer(b"PUT", times)
    network.lose_answer(b"HEAD")
    assert s3.create("journal/00000001.jsonl", b"mine")
    assert len(network.lost) == times + 1
    assert s3.read("journal/00000001.jsonl") == b"mine"


def test_anothers_object_with_equal_content_is_not_ones_own(
    s3: S3Storage, bucket: str, network: Network
) -> None:
    other = S3Storage(bucket, "runs/first", patience=PATIENCE)
    assert other.create("lock/1", b"same")
    network.lose_answer(b"PUT")
    assert not s3.create("lock/1", b"same")
    assert network.lost


@pytest.mark.slow
def test_a_big_file_goes_up_and_down_through_a_failing_network(
    s3: S3Storage, network: Network, tmp_path: Path
) -> None:
    content = bytes(range(250)) * (MULTIPART // 250)
    here, there = tmp_path / "here", tmp_path / "there"
    here.write_bytes(content)
    done = threading.Event()

    def disturb() -> None:
        for method in (b"PUT", b"POST"):
            network.lose_answer(method)
        while not done.is_set():
            network.switch_off()
            time.sleep(0.5)
            network.switch_on()
            done.wait(1.5)  # enough for a part to get through

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        s3.upload("big", here)
        s3.download("big", there)
    finally:
        done.set()
        disturbing.join()
    assert there.read_bytes() == content
    assert network.lost


def test_a_server_that_stays_away_ends_in_one_message(
    bucket: str, network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    storage = S3Storage(bucket, "x", patience=IMPATIENT)
    storage.write("x", b"1")
    network.switch_off()
    caplog.set_level(logging.WARNING, "pcsearch.storage")
    with pytest.raises(PcsearchError) as told:
        storage.read("x")
    assert not isinstance(told.value, UserError)
    for words in (f"s3://{bucket}/x is unreachable", network.url):
        assert words in str(told.value)
    assert [record.getMessage().count("retrying") for record in caplog.records] == [1]
    network.switch_on()
    assert storage.read("x") == b"1"  # and it can be used again
    assert "answers again" in caplog.records[-1].getMessage()


@pytest.mark.slow
def test_a_server_that_never_answered_is_waited_for_less(bucket: str, network: Network) -> None:
    patience = Patience(total_seconds=10_000, unmet_seconds=0.2)
    network.switch_off()
    with pytest.raises(PcsearchError, match="is unreachable"):
        S3Storage(bucket, patience=patience).read("x")
    network.switch_on()
    storage = S3Storage(bucket, patience=patience)
    storage.write("x", b"1")
    with away(network, 5.0):
        assert storage.read("x") == b"1"


@pytest.mark.slow
def test_a_server_that_was_killed(
    network: Network, monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    with s3_server.running() as port, network_to(port) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.url)
        storage = S3Storage(bucket, patience=IMPATIENT)
        with pytest.raises(UserError, match="no such bucket"):  # it is the other server's
            storage.write("x", b"1")
    with pytest.raises(PcsearchError, match="is unreachable"):
        storage.write("x", b"1")


def test_what_no_waiting_mends_is_told_at_once(
    network: Network, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    storage = S3Storage("no-such-bucket", patience=PATIENCE)
    for operation in (
        lambda: storage.read("x"),
        lambda: storage.write("x", b""),
        lambda: storage.create("x", b""),
        lambda: storage.list(),
        lambda: storage.exists("x"),
        lambda: storage.remove("x"),
        lambda: storage.upload("x", Path(__file__)),
        lambda: storage.download("x", tmp_path / "x"),
    ):
        with pytest.raises(UserError, match="s3://no-such-bucket: there is no such bucket"):
            operation()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(UserError, match="Set AWS_ACCESS_KEY_ID"):
        S3Storage(bucket).read("x")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UserError, match="nobody"):
        S3Storage(bucket)
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "not an address")
    with pytest.raises(UserError, match="not an address"):
        S3Storage(bucket)


def test_lists_of_many_pages(bucket: str, s3: S3Storage) -> None:
    names = [f"journal/{number:08d}.jsonl" for number in range(25)]
    for name in names:
        s3.write(name, b"")
    pages = S3Storage(bucket, "runs/first", patience=PATIENCE, page=7)
    assert pages.list("journal") == names
    pages.remove_all("journal")
    assert s3.list() == []


def test_objects_of_others_are_left_out(bucket: str, s3: S3Storage) -> None:
    import boto3

    client = boto3.session.Session().client("s3")
    for key in ("runs/first/", "runs/first/a/", "runs/first/../x", "runs/first2/x", "x"):
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    s3.write("a/b", b"")
    assert s3.list() == ["a/b"]
    assert s3.list("a") == ["a/b"]
    s3.remove_all("a")
    assert not s3.exists("a/b")
    assert len(client.list_objects_v2(Bucket=bucket)["Contents"]) == 5
