"""The token of a session, and a token's file that other users can read."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcsearch.cluster.jobs import use_token
from pcsearch.cluster.session.security import session_token, warn_if_readable


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A token's file, in a folder that others can enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="pcs-") as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "token"
        file.write_text("0" * 64)
        file.chmod(0o600)
        monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
        yield file


@pytest.mark.parametrize(
    ("mode", "folder", "warned"),
    [
        (0o600, 0o755, False),
        (0o644, 0o755, True),
        (0o604, 0o711, True),
        (0o640, 0o755, True),
        (0o644, 0o700, False),  # nobody gets there
        (0o604, 0o750, False),
    ],
)
def test_a_file_that_others_can_read_is_warned_of_once(
    mode: int, folder: int, warned: bool, token: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token.chmod(mode)
    token.parent.chmod(folder)
    with caplog.at_level(logging.WARNING):
        warn_if_readable()
        warn_if_readable()
    lines = [record.getMessage() for record in caplog.records]
    assert [f"chmod 600 {token}" in line for line in lines] == ([True] if warned else [])


def test_asking_a_dashboard_warns(
    token: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    token.chmod(0o644)
    use_token()
    assert str(token) in caplog.text


def test_a_token_in_the_environment_is_no_file(
    token: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "1" * 64)
    warn_if_readable()
    assert caplog.text == ""


@pytest.mark.parametrize(
    "users",
    [
        {},
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "1" * 64},
        {"RAY_AUTH_TOKEN_PATH": "/nowhere", "RAY_ENABLE_K8S_TOKEN_AUTH": "true"},
    ],
)
def test_each_session_has_a_token_and_the_environment_comes_back(
    users: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in [key for key in os.environ if key.startswith("RAY_")]:
        monkeypatch.delenv(key)
    for key, value in users.items():
        monkeypatch.setenv(key, value)
    before, tokens = dict(os.environ), set()
    for _ in range(2):
        with session_token():
            auth = {key: value for key, value in os.environ.items() if key.startswith("RAY_")}
            assert auth.keys() == {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"}
            assert auth["RAY_AUTH_MODE"] == "token"
            tokens.add(auth["RAY_AUTH_TOKEN"])
        assert dict(os.environ) == before
    assert {len(token) for token in tokens} == {64}
    assert len(tokens - {"1" * 64}) == 2
