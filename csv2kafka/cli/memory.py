"""How this process gives memory back: hardly, because it wants the same again at once."""

from __future__ import annotations

import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
KEPT_BYTES = 32 << 20
LARGEST_IN_HEAP = 32 << 20  # the most that glibc takes


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
