"""What a step frees, the next one takes again without the kernel."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

_STEPS = """
import resource, sys, threading
import torch
from pcsearch.training.memory import tune_malloc

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def steps():  # in a thread, as in a trial
    for _ in range(10):
        blocks = [torch.ones(10_000_000) for _ in range(3)]
        del blocks
    before = faults()
    for _ in range(50):
        blocks = [torch.ones(10_000_000) for _ in range(3)]
        del blocks
    print(faults() - before)

if sys.argv[1] == "keep":
    assert tune_malloc()
thread = threading.Thread(target=steps)
thread.start()
thread.join()
"""


def _faults(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _STEPS, mode],
        capture_output=True,
        text=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # as a campaign's workers are started
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="for glibc alone")
def test_blocks_that_were_freed_are_taken_again_without_page_faults() -> None:
    assert _faults("keep") < _faults("give back") / 10
