"""What the tests of `pcsearch data` share: a command run in an empty folder, and small data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pcsearch.cli.app import main

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Command:
    """Run a command line in an empty folder, with a cache there: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PCSEARCH_CACHE", str(tmp_path / "cache"))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pcsearch", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


def check_width(out: str, columns: int = 80) -> None:
    """One screen: no line wider, not more lines than a small terminal has."""
    lines = out.splitlines()
    assert max(len(line) for line in lines) <= columns
    assert len(lines) <= 24
