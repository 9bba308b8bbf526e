"""How many descriptors this process may have open, and how many of them connections may take."""

import resource
from pathlib import Path

PER_CONNECTION = 2
"""Its socket, and the file that its upload may be in."""
PER_WORKER = 12
"""Pipes and sentinels, of a process that goes and of the one that replaces it."""
SPARE = 16
"""For files: voices, recordings, modules that are imported late."""


def raise_limit() -> int:
    """As far as the administrator lets us. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        # Some systems call a limit unlimited and allow less.
        return soft
    return hard


def room_for_connections(limit: int, workers: int) -> int:
    """How many connections leave room for everything else; at least one.

    limit: the limit in force; RLIM_INFINITY is any number. What is open now is taken to stay.
    """
    if limit == resource.RLIM_INFINITY:
        return 1 << 20
    taken = len([*Path("/proc/self/fd").iterdir()]) + workers * PER_WORKER + SPARE
    return max(1, (limit - taken) // PER_CONNECTION)
