"""A home with all that starting a cluster takes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import pcsearch


@pytest.fixture(autouse=True)
def usual_ctrl_c() -> Iterator[None]:
    """The command line has a handler of its own."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a token, an SSH key, a wheel, and credentials for AWS, which are for nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    for name in ("AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    wheel = f"dist/pcsearch-{pcsearch.__version__}-py3-none-any.whl"
    for name in (".ray/auth_token", ".ssh/id_ed25519", wheel):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("made up")
    return tmp_path
