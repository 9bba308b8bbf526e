"""The C library's allocator, told once, at start, not to keep what was given back to it.

By itself glibc opens an arena for each of a few threads, and keeps ever larger buffers for the next who asks: megabytes
that come and go with every recording and encoder stay with the process, in as many places as there are threads.
"""

import ctypes

# malloc.h's.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
LARGE_BYTES = 128 * 1024
"""From here on a buffer is the kernel's again once it is freed. It is glibc's own figure, which then rises no more."""


def keep_little() -> bool:
    """One arena, and large buffers outside of it. Returns False where the C library is none that can be told."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    # The interpreter runs one thread at a time: hardly ever does one wait for another's arena.
    told = (M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, LARGE_BYTES), (M_TRIM_THRESHOLD, LARGE_BYTES)
    return all(mallopt(name, value) for name, value in told)
