"""How the process keeps its memory while it trains."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_BYTES = (2**30, 2**25)
"""Blocks up to this size are kept. Older versions of glibc accept only the second value."""


def tune_malloc() -> bool:
    """Make glibc keep freed memory in the process; False if that could not be set.

    By default glibc returns large blocks to the kernel, and new pages are zeroed one by one.
    A training step's activations are such blocks. For SqueezeNet at 112 pixels that costs up to
    20,000 page faults a step, a tenth to a quarter of its time. The price is memory: the process
    keeps its peak. Without glibc nothing is set.

    Threads other than the main one have their own memory pools. Their large blocks still go back
    now and then, unless the process was started with MALLOC_ARENA_MAX=1.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(
        any(mallopt(which, size) for size in _BYTES) for which in (_TRIM_THRESHOLD, _MMAP_THRESHOLD)
    )
