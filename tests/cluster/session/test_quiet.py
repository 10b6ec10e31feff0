"""What Ray's libraries say of themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

IMPORT = "import contextlib\nwith contextlib.suppress(ImportError): import urllib3.contrib.socks\n"


def told(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def test_a_warning_of_what_ray_imports_is_left_out() -> None:
    """Seen once in a campaign's output: requests' own filter of it was lost between threads."""
    if "SOCKS support" not in told(IMPORT):
        pytest.skip("PySocks is installed: nothing warns")
    ignored = "from pcsearch.cluster.session.processes import ignore_known_warnings\n"
    ignored += "ignore_known_warnings()\n"
    assert told(ignored + IMPORT) == ""


FULL = """
import resource, signal, sys
from pathlib import Path
from pcsearch.cluster.session.processes import stderr_to_file

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with stderr_to_file(Path(sys.argv[1])):
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))  # as a full disk: writes fail
        try:
            sys.stderr.write("a warning that has no room\\n")
        except OSError:
            pass
        raise OSError(28, "No space left on device", "journal.jsonl")
except OSError as error:
    sys.stderr.write(f"told: {error.filename}\\n")
"""


def test_an_error_on_a_full_disk_is_not_hidden_by_that_of_its_log(tmp_path: Path) -> None:
    """What could not be written to the log stays in a buffer, whose next flush fails as well."""
    command = [sys.executable, "-c", FULL, str(tmp_path / "driver.log")]
    buffered = {key: os.environ[key] for key in os.environ if key != "PYTHONUNBUFFERED"}
    result = subprocess.run(command, env=buffered, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result
    assert result.stderr.splitlines()[-1] == "told: journal.jsonl"
