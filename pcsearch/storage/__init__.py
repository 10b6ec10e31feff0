"""Where a run folder is stored: a local disk, a shared folder, or an object store.

    from pcsearch.storage import open_storage
    storage = open_storage("s3://bucket/runs/first")

An object store can neither append nor rename, and it knows no processes. There the journal is
numbered segments that never change (`runs.segmented_journal`), and the lock is a lease (`lease`).
boto3 is imported when an `s3://` address is opened.
"""

from pcsearch.storage.base import LeaseLostError, Storage, StorageError, without_colons
from pcsearch.storage.open import check_storage, open_storage

__all__ = [
    "LeaseLostError",
    "Storage",
    "StorageError",
    "check_storage",
    "open_storage",
    "without_colons",
]
