"""Keep what Ray's native code writes to standard error out of the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def stderr_to_file(path: Path) -> Iterator[None]:
    """Send file descriptor 2 of this process to the end of a file, and back afterwards.

    Ray writes there below Python ("a worker died"), which would tear a live view; redirecting
    `sys.stderr` alone does not catch it.
    """
    sys.stderr.flush()
    with path.open("ab") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
