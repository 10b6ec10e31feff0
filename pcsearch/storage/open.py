"""Opens a storage by its address, and checks early whether it is usable."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from pcsearch.errors import UserError
from pcsearch.storage.base import Storage, StorageError, check_name
from pcsearch.storage.local import LocalStorage
from pcsearch.storage.retry import DEFAULT_PATIENCE, Patience

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


def is_store_url(url: str) -> bool:
    """Whether an address is outside this machine's file systems."""
    return _ADDRESS.fullmatch(url) is not None


def open_storage(url: str, patience: Patience = DEFAULT_PATIENCE) -> Storage:
    """The files under a folder's path or under `s3://bucket/prefix`; makes no request yet.

    Args:
        url: The root.
        patience: How long to retry a server that does not answer.

    Raises:
        UserError: another scheme, no bucket, a bad prefix, or boto3 is missing.
    """
    address = _ADDRESS.fullmatch(url)
    if address is None:
        if not url or "\0" in url:
            raise UserError(f"{url!a} is not the path of a folder")
        return LocalStorage(Path(url))
    if address[1].lower() != "s3":
        raise UserError(
            f"{url!a} cannot be opened: runs are kept in a folder or under s3://bucket/prefix"
        )
    bucket, _, prefix = address[2].partition("/")
    prefix = prefix.strip("/")
    if not _BUCKET.fullmatch(bucket):
        raise UserError(f"{url!a} names no bucket; write s3://bucket/prefix")
    from pcsearch.storage.s3 import S3Storage

    return S3Storage(bucket, check_name(prefix) if prefix else "", patience=patience)


def check_storage(storage: Storage) -> None:
    """Write, read and remove a small file, and check that exclusive creation works.

    Some stores ignore the condition and overwrite. Two drivers could then write one journal.

    Raises:
        UserError: access is denied, or the store does not honour exclusive creation.
        StorageError: it does not answer.
    """
    name, content = f"probe/{secrets.token_hex(8)}", b"pcsearch"
    made = storage.create(name, content)
    try:
        again = storage.create(name, b"another content")
        found = storage.read(name)
    except FileNotFoundError as error:
        raise StorageError(f"{storage.url} lost a file just after it was written") from error
    finally:
        storage.remove(name)
    if not made or again or found != content:
        raise UserError(
            f"{storage.url} overwrites a file that it should create only if absent; pcsearch needs "
            "a store that honours conditional writes (If-None-Match), as Amazon S3 does"
        )
