"""A bucket of Amazon S3 or of an S3-compatible store as a storage.

boto3 finds the endpoint, the region and the credentials (`AWS_ENDPOINT_URL`, `AWS_PROFILE`, the
environment, a role).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pcsearch.errors import UserError
from pcsearch.storage.base import Storage, check_name, is_name
from pcsearch.storage.retry import DEFAULT_PATIENCE, PassingError, Patience, Retry

_PASSING_CODES = {
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
_PASSING_STATUS = (408, 429, 500, 502, 503, 504)
_MISSING_CODES = {"NoSuchKey", "404", "NotFound"}
_REMEDIES = {
    "NoSuchBucket": "there is no such bucket; create it first, or check the name and the endpoint",
    "AccessDenied": "access is denied; these credentials need s3:ListBucket on the bucket and "
    "s3:GetObject, s3:PutObject and s3:DeleteObject on its objects",
    "InvalidAccessKeyId": "the access key is unknown there; check AWS_ACCESS_KEY_ID or the profile",
    "SignatureDoesNotMatch": "the secret key is not accepted; check AWS_SECRET_ACCESS_KEY or the "
    "profile",
    "ExpiredToken": "the credentials have expired; obtain new ones",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "NotImplemented": "this store lacks a feature that pcsearch needs, perhaps conditional writes",
}


@contextmanager
def translated(url: str, name: str = "") -> Iterator[None]:
    """Translate boto3's errors into this package's; `name` is the requested file.

    Raises:
        PassingError: a retry may help.
        FileNotFoundError: the file does not exist.
        UserError: the user must act.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error, ResponseParserError) as error:
        cause = _cause(error)
        if isinstance(cause, ClientError):
            raise _of_answer(cause, url, name) from error
        if _is_passing(cause):
            raise PassingError(str(cause)) from error
        raise UserError(f"{url} cannot be used: {_said(cause)}") from error


def http_status(error: Any) -> int:
    """The HTTP status of a botocore ClientError; 0 if it has none."""
    found = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return found if isinstance(found, int) else 0


def _removal_error(errors: list[dict[str, str]]) -> Exception:
    """The error inside the answer to a removal of many objects."""
    from botocore.exceptions import ClientError

    passing = [one for one in errors if one.get("Code") in _PASSING_CODES]
    final = [one for one in errors if one not in passing]
    return ClientError({"Error": (final or passing)[0]}, "DeleteObjects")  # type: ignore[no-any-return,unused-ignore]


def _cause(error: BaseException) -> BaseException:
    """The original error, without the wrapper of a file transfer."""
    from boto3.exceptions import RetriesExceededError, S3UploadFailedError

    if isinstance(error, RetriesExceededError):
        inner = error.last_exception
    elif isinstance(error, S3UploadFailedError):
        inner = error.__cause__ or error.__context__
    else:
        return error
    return inner if isinstance(inner, BaseException) else error


def _of_answer(error: Any, url: str, name: str) -> Exception:
    told = error.response.get("Error", {})
    code, message = str(told.get("Code", "")), str(told.get("Message", ""))
    if code in _PASSING_CODES or http_status(error) in _PASSING_STATUS:
        return PassingError(f"{code}: {message}")
    if name and code in _MISSING_CODES:
        return FileNotFoundError(f"there is no file {url}/{name}")
    if code == "403":  # an answer without a body has only this code
        code = "AccessDenied"
    remedy = _REMEDIES.get(code, f"the server answers {code}, {message or 'without a reason'}")
    return UserError(f"{url}: {remedy} ({error.operation_name}, {code})")


def _is_passing(error: BaseException) -> bool:
    from boto3.exceptions import RetriesExceededError
    from botocore import exceptions as e
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    if isinstance(error, e.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return False
    passing = (
        e.HTTPClientError,
        e.ConnectionError,
        e.IncompleteReadError,
        e.FlexibleChecksumError,
        e.CredentialRetrievalError,
        ResponseParserError,  # a proxy's page in place of an answer
        RetriesExceededError,
        HTTPError,
        OSError,
    )
    return isinstance(error, passing)


def _said(error: BaseException) -> str:
    from botocore import exceptions as e

    if isinstance(error, e.NoCredentialsError | e.PartialCredentialsError):
        return (
            f"{error}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run "
            "where a role gives them"
        )
    return str(error)


_CONNECTIONS = 16
"""Connections at the same time."""

_MAKER = "pcsearch-maker"
_AT_ONCE = 1000  # removals per request and names per page: the service's limits
StorageAnswer = TypeVar("StorageAnswer")


class S3Storage:
    """Objects whose keys begin with a prefix.

    Args:
        prefix: Without slashes at its ends; may be empty.
        patience: How long to retry a server that does not answer.
        page: Names per request of a list.
        client: A boto3 client to share; None creates one.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        patience: Patience = DEFAULT_PATIENCE,
        page: int = _AT_ONCE,
        client: Any = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._page = page
        self._patience = patience
        self._client = _client() if client is None else client
        remedy = (
            f"Stored files are not lost. Check the network and {self._client.meta.endpoint_url}"
        )
        self._persistent = Retry(self.url, remedy, patience)

    @property
    def url(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def set_deadline(self, seconds: float) -> None:
        self._persistent.set_deadline(seconds)

    def read(self, name: str) -> bytes:
        where = self._where(name)

        def get() -> bytes:
            content: bytes = self._client.get_object(**where)["Body"].read()
            return content

        return self._ask(get, name)

    def download(self, name: str, path: Path) -> None:
        where = self._where(name)
        path.parent.mkdir(parents=True, exist_ok=True)

        def get() -> None:
            self._client.download_file(Filename=str(path), **where)

        try:
            self._ask(get, name)
        except FileNotFoundError:
            self.exists(name)  # its answer distinguishes a missing bucket from a missing file
            raise

    def write(self, name: str, data: bytes) -> None:
        where = self._where(name)
        self._ask(lambda: self._client.put_object(Body=data, **where))

    def upload(self, name: str, path: Path) -> None:
        where = self._where(name)
        self._ask(lambda: self._client.upload_file(Filename=str(path), **where))

    def create(self, name: str, data: bytes) -> bool:
        where = self._where(name)
        maker = secrets.token_hex(16)

        def put() -> bool:
            from botocore.exceptions import ClientError

            try:
                self._client.put_object(
                    Body=data, IfNoneMatch="*", Metadata={_MAKER: maker}, **where
                )
            except ClientError as error:
                if http_status(error) != 412:
                    raise
                return self._made_by(maker, where)
            return True

        return self._ask(put)

    def list(self, folder: str = "") -> Sequence[str]:
        prefix = f"{self._where(folder)['Key']}/" if folder else self._prefix
        pages = self._client.get_paginator("list_objects_v2")

        def ask() -> list[str]:
            found = pages.paginate(
                Bucket=self._bucket, Prefix=prefix, PaginationConfig={"PageSize": self._page}
            )
            return [one["Key"] for page in found for one in page.get("Contents", [])]

        names = (key.removeprefix(self._prefix) for key in self._ask(ask))
        return sorted(filter(is_name, names))  # ignore files of others

    def folders(self) -> Sequence[str]:
        pages = self._client.get_paginator("list_objects_v2")

        def ask() -> list[str]:
            found = pages.paginate(Bucket=self._bucket, Prefix=self._prefix, Delimiter="/")
            return [one["Prefix"] for page in found for one in page.get("CommonPrefixes", [])]

        names = (prefix.removeprefix(self._prefix).rstrip("/") for prefix in self._ask(ask))
        return sorted(filter(is_name, names))

    def below(self, folder: str) -> Storage:
        return S3Storage(
            self._bucket,
            self._prefix + check_name(folder),
            patience=self._patience,
            page=self._page,
            client=self._client,
        )

    def modified(self, folder: str) -> float | None:
        prefix = f"{self._where(folder)['Key']}/"
        pages = self._client.get_paginator("list_objects_v2")

        def ask() -> float | None:
            found = pages.paginate(Bucket=self._bucket, Prefix=prefix)
            times = (one["LastModified"] for page in found for one in page.get("Contents", []))
            newest = max(times, default=None)
            return None if newest is None else float(newest.timestamp())

        return self._ask(ask)

    def remove(self, *names: str) -> None:
        keys = [{"Key": self._where(name)["Key"]} for name in names]
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            self._ask(partial(self._delete, some))

    def remove_all(self, folder: str) -> None:
        check_name(folder)
        self.remove(*self.list(folder))

    def exists(self, name: str) -> bool:
        where = self._where(name)

        def ask() -> bool:
            # not `head_object`: its answer has no body, so it would not reveal a missing bucket
            found = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=where["Key"], MaxKeys=1
            )
            return any(one["Key"] == where["Key"] for one in found.get("Contents", []))

        return self._ask(ask)

    def _where(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + check_name(name)}

    def _ask(self, operation: Callable[[], StorageAnswer], name: str = "") -> StorageAnswer:
        def translating() -> StorageAnswer:
            with translated(self.url, name):
                return operation()

        return self._persistent.run(translating)

    def _made_by(self, maker: str, where: dict[str, str]) -> bool:
        """Whether an existing object is ours: the answer to our creation may have been lost."""
        from botocore.exceptions import ClientError

        try:
            found = self._client.head_object(**where)
        except ClientError as error:
            if http_status(error) != 404:
                raise
            return False  # it was removed meanwhile
        return bool(found.get("Metadata", {}).get(_MAKER) == maker)

    def _delete(self, keys: Sequence[dict[str, str]]) -> None:
        told = self._client.delete_objects(
            Bucket=self._bucket, Delete={"Objects": list(keys), "Quiet": True}
        )
        if told.get("Errors"):
            raise _removal_error(told["Errors"])


def _client() -> Any:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise UserError(
            "s3:// needs boto3, which is not installed here; pip install 'pcsearch[aws]'"
        ) from error
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        tcp_keepalive=True,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    try:
        # a session of its own, because the default one is not thread-safe
        return boto3.session.Session().client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        raise UserError(f"boto3 cannot be used: {error}") from error
