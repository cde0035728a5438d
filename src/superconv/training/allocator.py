"""The C library's allocator, told to keep large blocks of memory instead of mapping each of them anew.

Imports no torch: it is called before the first tensor is made.
"""

from __future__ import annotations

import ctypes
import os

# from glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 2**31 - 1  # that mallopt takes, in bytes: 2 GiB


def keep_large_blocks() -> bool:
    """Let this process reuse its large temporaries, where glibc would give them back to the system and map them anew.

    glibc maps blocks of more than 32 MiB one by one and unmaps them when they are freed, so that every activation of a
    large batch costs its page faults at every step. Here both thresholds (`M_MMAP_THRESHOLD`, `M_TRIM_THRESHOLD`) are
    set to 2 GiB for the rest of the process; it then holds on to its peak memory until it ends. Numbers are not
    changed. Gain and memory: results/allocator.json.

    Child processes that are spawned do not inherit it. Whoever sets MALLOC_* variables or GLIBC_TUNABLES, or loads
    another allocator, has chosen already: those are left alone.

    Returns: whether it was done; False on other systems and C libraries.
    Reference: mallopt(3).
    """
    if not _is_glibc() or _chosen():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(option, _LARGEST) == 1 for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD))


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):  # Windows; musl, macOS
        return False


def _chosen() -> bool:
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")
    preloaded = os.environ.get("LD_PRELOAD", "")
    return (
        any(name in os.environ for name in names)
        or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
        or any(name in preloaded for name in ("jemalloc", "tcmalloc", "mimalloc"))
    )
