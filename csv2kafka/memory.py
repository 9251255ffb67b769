"""The memory of this process: how much it had at most, and how it is given back."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
KEPT_BYTES = 32 << 20
LARGEST_IN_HEAP = 32 << 20  # the most that glibc takes

_STATUS = Path("/proc/self/status")
_PEAK = re.compile(rb"VmHWM:\s*(\d+) kB")


def peak_bytes() -> int:
    """The most that was resident at once. Not getrusage(2)'s on Linux: there a program that was started by a larger
    one has that one's."""
    try:
        found = _PEAK.search(_STATUS.read_bytes())
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def keep_large_buffers() -> None:
    """Blocks, chunks and batches of some MiB come and go all the time. glibc would map and unmap each, so that every
    page is cleared by the kernel anew (a tenth of a run's CPU time), and keep a heap for every thread. See mallopt(3);
    where there is another C library nothing happens. To be called before threads are started."""
    if sys.platform != "linux":
        return
    import ctypes  # late: only long commands call this

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, LARGEST_IN_HEAP)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
