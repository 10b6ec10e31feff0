"""What Ray's libraries say of themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORT = "import contextlib\nwith contextlib.suppress(ImportError): import urllib3.contrib.socks\n"


def told(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def test_a_warning_of_what_ray_imports_is_left_out() -> None:
    """Seen once in a campaign's output: requests' own filter of it was lost between threads."""
    if "SOCKS support" not in told(IMPORT):
        pytest.skip("PySocks is installed: nothing warns")
    ignored = "from pcsearch.cluster.quiet import ignore_known_warnings\nignore_known_warnings()\n"
    assert told(ignored + IMPORT) == ""
