"""Addresses of storages, and what is said where one will not do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.storage import check_storage, open_storage
from pcsearch.storage.local import LocalStorage
from pcsearch.storage.open import is_store_url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://bucket/x", "runs are kept in a folder or under s3://bucket/prefix"),
        ("http://127.0.0.1/x", "runs are kept in a folder or under s3://bucket/prefix"),
        ("file:///tmp/x", "runs are kept in a folder or under s3://bucket/prefix"),
        ("s3://", "names no bucket"),
        ("s3:///x", "names no bucket"),
        ("s3://b ucket/x", "names no bucket"),
        ("s3://user@bucket/x", "names no bucket"),
        ("s3://bucket/../x", "cannot be the name of a stored file"),
        ("s3://bucket/a//b", "cannot be the name of a stored file"),
        ("", "not the path of a folder"),
        ("a\0b", "not the path of a folder"),
    ],
)
def test_addresses_that_cannot_be_opened(url: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        open_storage(url)
    assert str(told.value).isprintable()


def test_a_path_is_a_folder_and_need_not_be_there(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "runs"))
    assert isinstance(storage, LocalStorage)
    assert storage.list() == []
    assert not (tmp_path / "runs").exists()
    check_storage(storage)


def test_the_prefix_is_below_the_bucket(bucket: str) -> None:
    whole, part = open_storage(f"S3://{bucket}"), open_storage(f"s3://{bucket}/a/b/")
    part.write("c", b"1")
    assert part.url == f"s3://{bucket}/a/b"
    assert whole.url == f"s3://{bucket}"
    assert whole.list() == ["a/b/c"]
    assert open_storage(f"s3://{bucket}/a").list("b") == ["b/c"]


@pytest.mark.parametrize(
    ("url", "remote"), [("s3://b/x", True), ("gs://b", True), ("runs/x", False), ("C:/x", False)]
)
def test_which_addresses_are_remote(url: str, remote: bool) -> None:
    assert is_store_url(url) is remote


_WITHOUT = """
import sys
sys.modules["boto3"] = None
from pcsearch.errors import UserError
from pcsearch.storage import open_storage
open_storage("runs")
try:
    open_storage("s3://bucket/x")
except UserError as error:
    print(error)
"""


def test_without_boto3_the_extra_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=True
    )
    assert "pip install 'pcsearch[aws]'" in done.stdout


def test_boto3_and_torch_are_not_imported_for_a_folder() -> None:
    code = (
        "import sys; from pcsearch.storage import open_storage; open_storage('x'); "
        "import pcsearch.storage.s3, pcsearch.runs.segmented_journal, pcsearch.storage.lease; "
        "print(sorted({'boto3', 'botocore', 'torch', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
