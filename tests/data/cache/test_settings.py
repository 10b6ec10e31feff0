from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pcsearch.data.cache import default_cache_folder, size_limit_bytes
from pcsearch.errors import UserError


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PCSEARCH_CACHE", str(tmp_path))
    assert default_cache_folder() == tmp_path
    monkeypatch.delenv("PCSEARCH_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / ".cache" / "pcsearch"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("50GB", 50 * 10**9),
        (" 500 mb ", 500 * 10**6),
        ("1.5TB", 1_500 * 10**9),
        ("2KiB", 2048),
        ("none", None),
        ("None", None),
    ],
)
def test_limits(monkeypatch: pytest.MonkeyPatch, text: str, limit: int | None) -> None:
    monkeypatch.setenv("PCSEARCH_CACHE_LIMIT", text)
    assert size_limit_bytes() == limit


@pytest.mark.parametrize("text", ["50", "-1GB", "0GB", "fifty GB", "50GB/s", "nan GB", "50 G"])
def test_other_limits_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PCSEARCH_CACHE_LIMIT", text)
    with pytest.raises(UserError, match="such as 50GB"):
        size_limit_bytes()


def test_default_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PCSEARCH_CACHE_LIMIT", raising=False)
    half = shutil.disk_usage(tmp_path).total // 2
    assert size_limit_bytes(tmp_path / "not" / "there") == min(half, 200 * 10**9)
