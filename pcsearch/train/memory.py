"""Memory of a training on the CPU: what one step frees, the next one takes again."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_BYTES = (2**30, 2**25)
"""Blocks up to this size are kept; older versions of glibc take no more than the second."""


def keep_freed_memory() -> bool:
    """Keep what the process frees, for it to allocate again; says whether that could be set.

    By default glibc gives large blocks back to the kernel, which hands them out again as new pages,
    zeroed one by one. A training step's activations are such blocks: for SqueezeNet at 112 pixels
    that is up to 20,000 page faults a step and a tenth to a quarter of its time. The process then
    holds on to as much memory as it took at its peak. Elsewhere than on glibc nothing is done.

    Threads other than the main one have pools of memory of their own, whose large blocks go back
    now and then all the same, unless the process was started with MALLOC_ARENA_MAX=1.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(
        any(mallopt(which, size) for size in _BYTES) for which in (_TRIM_THRESHOLD, _MMAP_THRESHOLD)
    )
