"""What each answer of a store leads to: asked again, a missing file, or a message."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pcsearch.errors import UserError
from pcsearch.storage.open import check_storage
from pcsearch.storage.retry import Patience
from pcsearch.storage.s3 import S3Storage
from tests.storage import scripted_s3
from tests.storage.network import Network
from tests.storage.scripted_s3 import Answer, Scripted

QUICK = Patience(
    total_seconds=60, unmet_seconds=60, first_wait_seconds=0.01, longest_wait_seconds=0.05
)


@pytest.fixture
def scripted(network: Network, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    del network  # its environment is what is needed
    with scripted_s3.running() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


@pytest.mark.parametrize(
    "answer",
    [
        Answer(409, "ConditionalRequestConflict"),
        Answer(409, "OperationAborted"),
        Answer(503, "SlowDown"),
        Answer(500, "InternalError"),
        Answer(400, "RequestTimeout"),
        Answer(502, body=b"<html><body>Bad gateway</body></html>"),
        Answer(429),
    ],
)
def test_asked_again(scripted: Scripted, answer: Answer) -> None:
    scripted.answers = [answer] * 4
    assert S3Storage("bucket", patience=QUICK).create("x", b"1")
    assert scripted.requests == ["PUT"] * 5


def test_a_creation_that_fails_is_not_asked_again(scripted: Scripted) -> None:
    scripted.answers = [Answer(412, "PreconditionFailed"), Answer(404)]
    assert not S3Storage("bucket", patience=QUICK).create("x", b"1")
    assert scripted.requests == ["PUT", "HEAD"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(403, "AccessDenied"), "access is denied; these credentials need s3:ListBucket"),
        (Answer(403, "InvalidAccessKeyId"), "check AWS_ACCESS_KEY_ID"),
        (Answer(403, "SignatureDoesNotMatch"), "check AWS_SECRET_ACCESS_KEY"),
        (Answer(403, "RequestTimeTooSkewed"), "clock is wrong"),
        (Answer(400, "ExpiredToken"), "have expired"),
        (Answer(501, "NotImplemented"), "perhaps conditional writes"),
        (Answer(404, "NoSuchBucket"), "there is no such bucket"),
        (Answer(400, "Odd"), "the server answers Odd, told so"),
    ],
)
def test_told_at_once(scripted: Scripted, answer: Answer, message: str) -> None:
    scripted.answers = [answer]
    storage = S3Storage("bucket", "runs/x", patience=QUICK)
    with pytest.raises(UserError, match=f"^s3://bucket/runs/x: .*{message}"):
        storage.write("x", b"1")
    assert scripted.requests == ["PUT"]


def test_a_refusal_without_a_body_is_denied_access(scripted: Scripted) -> None:
    scripted.answers = [Answer(412, "PreconditionFailed"), Answer(403)]
    with pytest.raises(UserError, match="access is denied"):
        S3Storage("bucket", patience=QUICK).create("x", b"1")


def test_errors_inside_a_removal_count(scripted: Scripted) -> None:
    def told(code: str) -> Answer:
        error = f"<Error><Key>x</Key><Code>{code}</Code><Message>so</Message></Error>"
        return Answer(200, body=f"<DeleteResult>{error}</DeleteResult>".encode())

    storage = S3Storage("bucket", patience=QUICK)
    scripted.answers = [told("InternalError"), told("SlowDown"), Answer(200)]
    storage.remove("x", "y")
    assert scripted.requests == ["POST"] * 3
    scripted.answers = [told("AccessDenied")]
    with pytest.raises(UserError, match="access is denied"):
        storage.remove("x")


def test_a_store_that_overlooks_the_condition_is_refused(scripted: Scripted) -> None:
    with pytest.raises(UserError, match="honours conditional writes"):
        check_storage(S3Storage("bucket", patience=QUICK))
    assert scripted.requests[:2] == ["PUT", "PUT"]
