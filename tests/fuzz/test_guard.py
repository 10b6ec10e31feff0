"""The guard sees what it is there to see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cli import PACKAGE

TRY = """
import os, pickle, shutil, subprocess, sys
from pathlib import Path
from tests.fuzz import guard as guarding
guarding.SECONDS = 0.2
guard = guarding.Guard()
guard.install()
inside, outside = Path(sys.argv[1]), Path(sys.argv[2])
try:
    with guard.case(inside):
        try:
            {what}
        except Exception:
            pass
except (guarding.Escape, guarding.Hang) as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("(inside / 'x').write_text('x')", ""),
        ("(outside / 'x').read_text()", ""),
        ("(outside / 'x').write_text('x')", "Escape"),
        ("(inside / 'link').write_text('x')", "Escape"),
        ("(inside / 'link').replace(inside / 'x')", ""),
        ("(outside / 'x').unlink()", "Escape"),
        ("(outside / 'x').replace(inside / 'x')", "Escape"),
        ("os.utime(inside / 'link')", "Escape"),
        ("os.open(outside / 'x', os.O_RDWR)", "Escape"),
        ("shutil.rmtree(outside)", "Escape"),
        ("os.system('true')", "Escape"),
        ("subprocess.run(['true'])", "Escape"),
        ("os.fork()", "Escape"),
        ("pickle.loads(b'cos\\nsystem\\n.')", "Escape"),
        ("(inside / 'pipe').read_text()", "Hang"),
        ("bytes(2**33)", ""),
    ],
)
def test_what_is_done_in_a_case(tmp_path: Path, what: str, told: str) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "x").write_text("mine")
    (inside / "link").symlink_to(outside / "x")
    os.mkfifo(inside / "pipe")
    code = TRY.replace("{what}", what)
    command = [sys.executable, "-c", code, str(inside), str(outside)]
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == told
    assert (outside / "x").read_text() == "mine"
