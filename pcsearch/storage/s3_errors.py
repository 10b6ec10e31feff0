"""What an error of boto3 means: it may pass, a file is missing, or a person has to act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pcsearch.errors import UserError
from pcsearch.storage.patience import PassingError

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
    "NoSuchBucket": "there is no such bucket; make it first, or check the name and the endpoint",
    "AccessDenied": "access is denied; these credentials need s3:ListBucket on the bucket and "
    "s3:GetObject, s3:PutObject and s3:DeleteObject on its objects",
    "InvalidAccessKeyId": "the access key is unknown there; check AWS_ACCESS_KEY_ID or the profile",
    "SignatureDoesNotMatch": "the secret key is not accepted; check AWS_SECRET_ACCESS_KEY or the "
    "profile",
    "ExpiredToken": "the credentials have expired; obtain new ones",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "NotImplemented": "this store lacks something that pcsearch needs, conditional writes maybe",
}


@contextmanager
def translated(url: str, name: str = "") -> Iterator[None]:
    """Turn boto3's errors into this package's; `name` is the file that was asked for.

    Raises:
        PassingError: asking again may help.
        FileNotFoundError: the file is not there.
        UserError: nothing helps but a person.
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


def status(error: Any) -> int:
    """The HTTP status of a botocore ClientError; 0 where it tells none."""
    found = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return found if isinstance(found, int) else 0


def removal_error(errors: list[dict[str, str]]) -> Exception:
    """The error that the answer to a removal of many objects tells inside."""
    from botocore.exceptions import ClientError

    passing = [one for one in errors if one.get("Code") in _PASSING_CODES]
    final = [one for one in errors if one not in passing]
    return ClientError({"Error": (final or passing)[0]}, "DeleteObjects")  # type: ignore[no-any-return,unused-ignore]


def _cause(error: BaseException) -> BaseException:
    """The error inside those that the transfers of files wrap around it."""
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
    if code in _PASSING_CODES or status(error) in _PASSING_STATUS:
        return PassingError(f"{code}: {message}")
    if name and code in _MISSING_CODES:
        return FileNotFoundError(f"there is no file {url}/{name}")
    if code == "403":  # an answer without a body has no other code
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
