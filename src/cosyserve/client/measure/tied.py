"""`python -m cosyserve.client.measure.tied PARENT ARGUMENT...`: `cosyserve ARGUMENT...`, which ends when PARENT does.

However PARENT ends, SIGKILL included, no server stays behind on somebody's GPU.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: str, *arguments: str) -> None:
    """The kernel keeps the promise; it outlives the exec."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == int(parent):
        os.execv(sys.executable, [sys.executable, "-P", "-m", "cosyserve", *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(*sys.argv[1:])
